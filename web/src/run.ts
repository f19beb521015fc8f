/** `<rm-run>`: what a finished run found, and the cases behind it. */

import { LitElement, html, nothing, type TemplateResult } from "lit";
import { api } from "./asking";
import type { Edit } from "./studio";

interface Cell {
  readonly edited: string;
  readonly read: string;
  readonly edited_at: number;
  readonly read_at: number;
  readonly on_target: boolean;
  readonly n: number;
  readonly effect: number | null;
  readonly verdict: string;
  readonly reason: string;
}
interface Facts {
  readonly kind: string;
  readonly name: string;
  readonly words: string;
  readonly report: boolean;
  readonly shows: boolean;
  readonly pictures: readonly string[];
  readonly stages: readonly string[];
  readonly matrices: readonly { name: string; verdict: string; cells: readonly Cell[] }[];
  readonly tables: readonly {
    name: string;
    columns: readonly string[];
    rows: readonly (readonly unknown[])[];
    count: number;
  }[];
}
interface Case {
  readonly baseline_id: string;
  readonly pair_id: string;
  readonly baseline: number | null;
  readonly sham: number | null;
  readonly counterfactual: number | null;
  readonly net: number | null;
}
interface Chosen {
  readonly classifier: number;
  readonly edited: string;
  readonly read: string;
}

const LISTED = 200;

export class Run extends LitElement {
  static override properties = {
    number: { state: true },
    facts: { state: true },
    chosen: { state: true },
    cases: { state: true },
    at: { state: true },
    message: { state: true },
  };
  declare number: number;
  declare facts: Facts | null;
  declare chosen: Chosen | null;
  declare cases: readonly Case[];
  declare at: number;
  declare message: string;

  constructor() {
    super();
    this.number = 0;
    this.facts = this.chosen = null;
    this.cases = [];
    this.at = -1;
    this.message = "";
  }

  protected override createRenderRoot(): HTMLElement {
    return this;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    void this.load(0);
  }

  private async attempt(work: () => Promise<void>): Promise<void> {
    this.message = "";
    try {
      await work();
    } catch (error) {
      this.message = (error as Error).message;
    }
  }

  private async load(number: number): Promise<void> {
    await this.attempt(async () => {
      this.facts = await api<Facts>(`/run/${number}`);
      this.number = number;
      this.chosen = null;
      this.cases = [];
      this.at = -1;
    });
  }

  private async open(classifier: number, cell: Cell): Promise<void> {
    await this.attempt(async () => {
      const chosen = { classifier, edited: cell.edited, read: cell.read };
      this.cases = await api<Case[]>(`/run/${this.number}/cases`, chosen);
      this.chosen = chosen;
      this.at = -1;
    });
  }

  /** Shows a case, or a picture that the run wrote; `at` goes through them. */
  private async show(at: number): Promise<void> {
    const count = this.chosen ? this.cases.length : (this.facts?.pictures.length ?? 0);
    if (at < 0 || at >= count) return;
    this.at = at;
    if (!this.chosen || !this.facts?.shows) return;
    const { baseline_id: baseline, pair_id: pair } = this.cases[at];
    await this.attempt(async () => {
      const detail = await api<Edit>(`/run/${this.number}/case`, { baseline, pair });
      this.dispatchEvent(new CustomEvent("rm-case", { detail, bubbles: true }));
    });
  }

  override render(): TemplateResult {
    const { facts } = this;
    if (!facts) return html`<p role="status">${this.message || "Reading the run"}</p>`;
    return html`<h2>${facts.name}</h2>
      <p class="quiet">${facts.words}</p>
      <p role="status" class="bad">${this.message}</p>
      <div class="row">
        ${this.number > 0
          ? html`<button @click=${() => void this.load(0)}>Back to the study</button>`
          : nothing}
        ${facts.report
          ? html`<a class="button" href=${`/run/${this.number}/report`} target="_blank" rel="noopener"
              >Report</a
            >`
          : nothing}
        ${facts.stages.map(
          (name, i) => html`<button @click=${() => void this.load(i + 1)}>${name}</button>`,
        )}
      </div>
      ${facts.matrices.map((one, i) => this.matrix(one.name, one.verdict, one.cells, i))}
      ${this.chosen ? this.caseList(facts) : nothing}
      ${facts.pictures.length ? this.pictureList(facts) : nothing}
      ${facts.tables.map((one) => table(one))}`;
  }

  private matrix(name: string, verdict: string, cells: readonly Cell[], at: number): TemplateResult {
    const edited = [...new Set(cells.map((one) => one.edited))];
    const read = [...new Set(cells.map((one) => one.read))];
    const of = (row: string, column: string) =>
      cells.find((one) => one.edited === row && one.read === column);
    return html`<section class="matrix">
      <h3>${name}: ${verdict}</h3>
      <div class="scroll" tabindex="0" role="region" aria-label=${`Effects of ${name}`}>
        <table>
          <caption class=${at ? "visually-hidden" : "quiet"}>Mean net effect on the logit read (across) of the finding edited (down); \u25b2 shortcut</caption>
          <thead>
            <tr>
              <td></td>
              ${read.map((one) => html`<th scope="col"><span>${one}</span></th>`)}
            </tr>
          </thead>
          <tbody>
            ${edited.map(
              (row) =>
                html`<tr>
                  <th scope="row">${row}</th>
                  ${read.map((column) => html`<td>${this.cell(of(row, column), at)}</td>`)}
                </tr>`,
            )}
          </tbody>
        </table>
      </div>
    </section>`;
  }

  private cell(cell: Cell | undefined, classifier: number): TemplateResult | string {
    if (!cell) return "";
    const { chosen } = this;
    const own =
      chosen?.classifier === classifier && chosen.edited === cell.edited && chosen.read === cell.read;
    const kind = cell.on_target ? "own" : cell.verdict === "shortcut" ? "shortcut" : "";
    const effect = cell.effect === null ? "\u2013" : signed(cell.effect);
    return html`<button
      class="cell ${kind}"
      aria-pressed=${own ? "true" : "false"}
      aria-label=${`${cell.edited} edited, ${cell.read} read: ${effect}, ${cell.verdict}`}
      title=${`${cell.reason} ${cell.n} patients`}
      @click=${() => void this.open(classifier, cell)}
    >
      ${kind === "shortcut" ? "\u25b2" : ""}${effect}
    </button>`;
  }

  private steps(count: number): TemplateResult {
    return html`<div class="row">
      <button ?disabled=${this.at <= 0} @click=${() => void this.show(this.at - 1)}>Previous</button>
      <button ?disabled=${this.at + 1 >= count} @click=${() => void this.show(this.at + 1)}>
        Next
      </button>
      <span class="quiet">${this.at < 0 ? count : `${this.at + 1} of ${count}`}</span>
    </div>`;
  }

  private caseList(facts: Facts): TemplateResult {
    const { edited, read } = this.chosen!;
    const number = (value: number | null) =>
      html`<td class="number">${value === null ? "" : value.toFixed(2)}</td>`;
    return html`<section aria-label="Cases">
      <h3>${edited} edited, ${read} read</h3>
      ${facts.shows
        ? nothing
        : html`<p class="notice">
            To see the pictures of cases, start the studio with the audit's data: --data.
          </p>`}
      ${this.steps(this.cases.length)}
      <div class="scroll cases">
        <table>
          <thead>
            <tr>
              <th scope="col">Case</th>
              ${["baseline", "sham", "edited", "net"].map(
                (one) => html`<th scope="col" class="number">${one}</th>`,
              )}
            </tr>
          </thead>
          <tbody>
            ${this.cases.slice(0, LISTED).map(
              (one, i) =>
                html`<tr class=${i === this.at ? "asked" : ""}>
                  <td>
                    <button class="plain" @click=${() => void this.show(i)}>${one.baseline_id}</button>
                  </td>
                  ${[one.baseline, one.sham, one.counterfactual, one.net].map(number)}
                </tr>`,
            )}
          </tbody>
        </table>
      </div>
    </section>`;
  }

  private pictureList(facts: Facts): TemplateResult {
    const own = `/run/${this.number}/pixels/${this.at}/counterfactual`;
    return html`<section aria-label="Pictures">
      <h3>Pictures</h3>
      ${this.steps(facts.pictures.length)}
      ${this.at >= 0 && !this.chosen
        ? html`<rm-viewer
            class="single"
            group="studio"
            bar="none"
            synthetic
            label=${facts.pictures[this.at]}
            src=${own}
          ></rm-viewer>`
        : nothing}
    </section>`;
  }
}

function signed(value: number): string {
  return `${value < 0 ? "\u2212" : "+"}${Math.abs(value).toFixed(2)}`;
}

function table(one: Facts["tables"][number]): TemplateResult {
  const shown = (value: unknown) => {
    if (value === null || value === undefined) return "";
    return typeof value === "number" && !Number.isInteger(value) ? value.toFixed(3) : String(value);
  };
  return html`<details>
    <summary>${one.name} (${one.count})</summary>
    <div class="scroll" tabindex="0" role="region" aria-label=${one.name}>
      <table>
        <thead>
          <tr>
            ${one.columns.map((name) => html`<th scope="col">${name}</th>`)}
          </tr>
        </thead>
        <tbody>
          ${one.rows.map((row) => html`<tr>${row.map((v) => html`<td>${shown(v)}</td>`)}</tr>`)}
        </tbody>
      </table>
    </div>
  </details>`;
}

customElements.define("rm-run", Run);
