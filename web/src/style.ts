/** What the viewer's parts look like; the colours are those of static/base.css. */

import { css } from "lit";

export const controls = css`
  :host {
    color: var(--text, #d5dbe3);
    font: 13px/1.35 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
  }
  button,
  select {
    min-height: 28px;
    padding: 2px 8px;
    border: 1px solid var(--line, #333b45);
    border-radius: 4px;
    background: var(--raised, #1b2027);
    color: inherit;
    font: inherit;
    cursor: pointer;
  }
  button:hover,
  select:hover {
    border-color: var(--quiet, #98a4b3);
  }
  button[aria-pressed="true"] {
    border-color: var(--accent, #6db3ff);
    background: var(--chosen, #163352);
    color: #fff;
  }
  button:disabled {
    color: var(--quiet, #98a4b3);
    cursor: default;
  }
  :focus-visible {
    outline: 2px solid var(--accent, #6db3ff);
    outline-offset: 1px;
  }
  input[type="range"] {
    width: 84px;
    height: 24px;
    accent-color: var(--accent, #6db3ff);
  }
  @media (pointer: coarse) {
    button,
    select {
      min-height: 40px;
      min-width: 40px;
    }
  }
`;
