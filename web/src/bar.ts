/** The tools of a view as buttons, and the panel of keys. */

import { LitElement, css, html, nothing } from "lit";
import { controls } from "./style";
import { PRESETS, View, viewOf, type Mode, type Tool } from "./view";

const TOOLS: readonly [Tool, string, string][] = [
  ["window", "Window", "Window and level: drag across and down (V)"],
  ["pan", "Pan", "Move the picture; also middle drag or Space"],
  ["zoom", "Zoom", "Zoom: drag up and down; also wheel and right drag"],
  ["ruler", "Ruler", "Measure (M)"],
];
const BRUSHES: readonly [Tool, string, string][] = [
  ["brush", "Brush", "Paint the region that may change (B)"],
  ["erase", "Erase", "Take from the region (E)"],
];
const COMPARE: readonly [Mode, string, string][] = [
  ["swipe", "Swipe", "Baseline at the left of a divider (S)"],
  ["difference", "Difference", "Difference from the baseline in colour (D)"],
];
export const KEYS: readonly [string, string][] = [
  ["Left drag; Shift + arrows", "window (across) and level (down)"],
  ["Wheel, right drag, pinch; + and \u2212", "zoom"],
  ["Middle drag, Space + drag, two fingers; arrows", "move the picture"],
  ["Double click; A", "fit the whole picture"],
  ["T", "true pixels, 1:1"],
  ["I", "invert"],
  ["P", "next preset"],
  ["R", "reset"],
  ["hold F", "flicker: the baseline"],
  ["S", "swipe between baseline and picture"],
  ["D", "difference from the baseline"],
  ["[ and ]", "less and more: divider, opacity, radius"],
  ["M", "ruler; arrows move the cross, Enter sets both ends"],
  ["B, E", "brush, erase; arrows move the cross, Enter begins and ends a stroke"],
  ["Z", "undo the last stroke or ruler"],
  ["V or Escape", "back to window and level"],
  ["?", "this panel"],
];

export class Bar extends LitElement {
  static override properties = {
    group: { type: String },
    brush: { type: Boolean },
    compare: { type: Boolean },
    view: { attribute: false },
  };
  declare group: string | null;
  declare brush: boolean;
  declare compare: boolean;
  declare view: View | undefined;
  private watched: View | undefined;

  constructor() {
    super();
    this.group = null;
    this.brush = false;
    this.compare = false;
  }

  static override styles = [
    controls,
    css`
      :host {
        display: block;
      }
      .bar {
        display: flex;
        flex-wrap: wrap;
        align-items: center;
        gap: 4px;
        padding: 4px;
      }
      .gap {
        width: 6px;
      }
      label {
        display: inline-flex;
        align-items: center;
        gap: 4px;
        color: var(--quiet, #98a4b3);
      }
      dialog {
        max-width: min(620px, 92vw);
        border: 1px solid var(--line, #333b45);
        border-radius: 6px;
        background: var(--panel, #14181d);
        color: inherit;
      }
      dialog::backdrop {
        background: rgb(0 0 0 / 55%);
      }
      h2 {
        margin: 0 0 8px;
        font-size: 15px;
      }
      dl {
        display: grid;
        grid-template-columns: minmax(0, 1.1fr) minmax(0, 1fr);
        gap: 4px 16px;
        margin: 0 0 12px;
      }
      dt {
        color: #fff;
      }
      dd {
        margin: 0;
      }
    `,
  ];

  private readonly refresh = (): void => this.requestUpdate();

  override connectedCallback(): void {
    super.connectedCallback();
    this.watched?.addEventListener("change", this.refresh);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.watched?.removeEventListener("change", this.refresh);
  }

  private shared(): View {
    const view = this.view ?? this.watched ?? viewOf(this.group);
    if (view !== this.watched) {
      this.watched?.removeEventListener("change", this.refresh);
      this.watched = view;
      view.addEventListener("change", this.refresh);
    }
    return view;
  }

  help(): void {
    this.renderRoot.querySelector("dialog")?.showModal();
  }

  override render() {
    const view = this.shared();
    const pressed = (on: boolean) => (on ? "true" : "false");
    const tool = ([name, word, title]: readonly [Tool, string, string]) =>
      html`<button
        aria-pressed=${pressed(view.tool === name)}
        title=${title}
        @click=${() => view.change({ tool: view.tool === name ? "window" : name })}
      >
        ${word}
      </button>`;
    const mode = ([name, word, title]: readonly [Mode, string, string]) =>
      html`<button
        aria-pressed=${pressed(view.mode === name)}
        title=${title}
        @click=${() => view.toggle(name)}
      >
        ${word}
      </button>`;
    return html`<div class="bar" role="toolbar" aria-label="Viewer tools">
        ${TOOLS.map(tool)}<span class="gap"></span>
        <button title="Fit the whole picture (A)" @click=${() => view.fit()}>Fit</button>
        <button
          title="True pixels (T)"
          aria-pressed=${pressed(view.scale === 1)}
          @click=${() => view.change({ scale: 1 })}
        >
          1:1
        </button>
        <button
          title="Invert (I)"
          aria-pressed=${pressed(view.invert)}
          @click=${() => view.change({ invert: !view.invert })}
        >
          Invert
        </button>
        <select
          aria-label="Preset"
          title="Presets of window and level (P)"
          @change=${(e: Event) => view.preset((e.target as HTMLSelectElement).selectedIndex - 1)}
        >
          <option disabled ?selected=${view.presetNumber < 0}>Preset</option>
          ${PRESETS.map(
            (preset, i) =>
              html`<option .selected=${view.presetNumber === i}>${preset.name}</option>`,
          )}
        </select>
        <button title="Reset window, zoom and comparison (R)" @click=${() => view.reset()}>
          Reset
        </button>
        ${this.compare ? this.comparing(view, mode) : nothing}
        ${this.brush ? this.brushing(view, tool) : nothing}
        <span class="gap"></span>
        <button title="Take back the last stroke or ruler (Z)" @click=${() => view.undo()}>
          Undo
        </button>
        <button
          aria-haspopup="dialog"
          aria-label="Keys and mouse"
          title="Keys and mouse (?)"
          @click=${() => this.help()}
        >
          ?
        </button>
      </div>
      <dialog aria-labelledby="keys">
        <h2 id="keys">Keys and mouse</h2>
        <dl>${KEYS.map(([key, what]) => html`<dt>${key}</dt><dd>${what}</dd>`)}</dl>
        <p>Keys work while a picture has the focus: click it, or go to it with Tab.</p>
        <form method="dialog"><button>Close</button></form>
      </dialog>`;
  }

  private comparing(
    view: View,
    mode: (one: readonly [Mode, string, string]) => unknown,
  ) {
    const slider = (label: string, value: number, change: (value: number) => void) =>
      html`<label
        >${label}<input
          type="range"
          min="0"
          max="100"
          .value=${String(Math.round(value * 100))}
          @input=${(e: Event) => change(Number((e.target as HTMLInputElement).value) / 100)}
      /></label>`;
    const flicker = (on: boolean) => () => view.change({ flicker: on });
    return html`<span class="gap"></span>
      <button
        title="Hold to see the baseline (hold F)"
        @pointerdown=${flicker(true)}
        @pointerup=${flicker(false)}
        @pointerleave=${flicker(false)}
        @keydown=${(e: KeyboardEvent) => (e.key === "Enter" || e.key === " ") && flicker(true)()}
        @keyup=${flicker(false)}
        @blur=${flicker(false)}
      >
        Flicker
      </button>
      ${COMPARE.map(mode)}
      ${view.mode === "difference"
        ? slider("Opacity", view.opacity, (opacity) => view.change({ opacity }))
        : nothing}
      ${view.mode === "swipe"
        ? slider("Divider", view.divider, (divider) => view.change({ divider }))
        : nothing}`;
  }

  private brushing(view: View, tool: (one: readonly [Tool, string, string]) => unknown) {
    const active = view.tool === "brush" || view.tool === "erase";
    return html`<span class="gap"></span>${BRUSHES.map(tool)}
      ${active
        ? html`<label
            >Radius<input
              type="range"
              min="2"
              max="400"
              .value=${String(view.radius)}
              @input=${(e: Event) =>
                view.change({ radius: Number((e.target as HTMLInputElement).value) })}
          /></label>`
        : nothing}
      <button
        title="Take the whole region away"
        ?disabled=${view.strokes.length === 0}
        @click=${() => view.setStrokes([])}
      >
        Clear
      </button>`;
  }
}

customElements.define("rm-bar", Bar);
