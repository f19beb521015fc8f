/** The studio's page: pictures and history at the left, panes, settings or a run's findings. */

import { LitElement, html, nothing, type TemplateResult } from "lit";
import { api, drop } from "./asking";
import "./run";
import { viewOf } from "./view";
import "./viewer";

export interface Reading {
  readonly reader: string;
  readonly finding: string;
  readonly [arm: string]: string | number;
}
export interface Edit {
  readonly number: number;
  readonly source: string;
  readonly title: string;
  readonly state: "waiting" | "editing" | "shown" | "done" | "failed";
  readonly message: string;
  readonly status: string;
  readonly seconds: number;
  readonly painted: boolean;
  readonly arms: readonly string[];
  readonly options: Record<string, unknown>;
  readonly readings: readonly Reading[];
  readonly words: string;
}
interface State {
  readonly sources: readonly { id: string; name: string }[];
  readonly editors: readonly string[];
  readonly findings: readonly { name: string; sided: boolean; place: boolean }[];
  readonly severities: readonly string[];
  readonly regions: readonly string[];
  readonly run: boolean;
  readonly edits: readonly Edit[];
}

const GROUP = "studio";
const PANES = ["Baseline", "Counterfactual", "Sham", "Difference"] as const;
type PaneName = (typeof PANES)[number];
const SHORT: Record<string, string> = { counterfactual: "edited" };
const LISTED = 300;
const WAIT_MS = 250;

export class Studio extends LitElement {
  static override properties = {
    state: { state: true },
    edits: { state: true },
    source: { state: true },
    current: { state: true },
    compared: { state: true },
    panes: { state: true },
    message: { state: true },
    filter: { state: true },
    running: { state: true },
    spelled: { state: true },
    all: { state: true },
  };
  declare state: State | null;
  declare edits: readonly Edit[];
  declare source: string;
  declare current: number;
  declare compared: readonly number[];
  declare panes: readonly PaneName[];
  declare message: string;
  declare filter: string;
  declare running: boolean;
  declare spelled: { command: string; python: string } | null;
  declare all: boolean;
  private readonly view = viewOf(GROUP);
  private polling = 0;
  private awaited = 0;

  constructor() {
    super();
    this.state = this.spelled = null;
    this.edits = this.compared = [];
    this.source = this.message = this.filter = "";
    this.current = 0;
    this.panes = PANES;
    this.running = this.all = false;
  }

  protected override createRenderRoot(): HTMLElement {
    return this;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.replaceChildren();
    void this.begin();
    this.view.addEventListener("strokes", () => this.requestUpdate());
    document.addEventListener("dragover", (event) => event.preventDefault());
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      void this.open(event.dataTransfer?.files);
    });
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey && event.key === "Enter") this.querySelector("form")?.requestSubmit();
    });
    this.addEventListener("rm-case", (event) => this.await((event as CustomEvent<Edit>).detail));
  }

  private async begin(): Promise<void> {
    await this.attempt(async () => {
      this.state = await api<State>("/state");
      this.edits = this.state.edits;
      this.running = this.state.run;
      if (this.state.sources.length && !this.running) this.choose(this.state.sources[0].id);
    });
  }

  private async attempt(work: () => Promise<void>): Promise<void> {
    this.message = "";
    try {
      await work();
    } catch (error) {
      this.message = (error as Error).message;
    }
  }

  private choose(source: string): void {
    if (source !== this.source) {
      this.view.setStrokes([]);
      this.view.change({ rulers: [] });
      this.view.reset();
    }
    this.source = source;
    this.current = 0;
    this.compared = [];
    this.spelled = null;
  }

  private show(edit: Edit): void {
    if (edit.source && edit.source !== this.source) this.choose(edit.source);
    this.current = edit.number;
    this.compared = [];
    this.spelled = null;
  }

  private async open(files: FileList | undefined | null): Promise<void> {
    await this.attempt(async () => {
      for (const file of files ?? []) {
        this.message = "Reading the file";
        const { id } = await drop(file);
        this.state = await api<State>("/state");
        this.running = false;
        this.choose(id);
      }
      this.message = "";
    });
  }

  private readonly submit = (event: Event): void => {
    event.preventDefault();
    const options = optionsOf(event.target as HTMLFormElement);
    const strokes = this.view.strokes;
    void this.attempt(async () => {
      this.await(await api<Edit>("/edit", { source: this.source, options, strokes }));
    });
  };

  /** Shows an edit as soon as it has pictures. */
  private await(edit: Edit): void {
    this.awaited = edit.number;
    this.edits = [...this.edits.filter((one) => one.number !== edit.number), edit];
    clearTimeout(this.polling);
    this.polling = window.setTimeout(() => void this.poll(), WAIT_MS);
  }

  private async poll(): Promise<void> {
    await this.attempt(async () => {
      this.edits = await api<Edit[]>("/edits");
      const wanted = this.edits.find((one) => one.number === this.awaited);
      if (wanted && wanted.arms.length > 0) {
        this.awaited = 0;
        this.show(wanted);
      } else if (wanted?.state === "failed") this.awaited = 0;
      const failed = wanted?.state === "failed" ? wanted.message || wanted.status : "";
      if (failed) this.message = failed;
    });
    const busy = this.edits.some((one) => one.state !== "done" && one.state !== "failed");
    if (busy) this.polling = window.setTimeout(() => void this.poll(), WAIT_MS);
  }

  private get edit(): Edit | undefined {
    return this.edits.find((one) => one.number === this.current);
  }

  private async save(edit: Edit): Promise<void> {
    await this.attempt(async () => {
      const { folder } = await api<{ folder: string }>(`/edits/${edit.number}/save`, {});
      this.message = `Saved in ${folder}`;
    });
  }

  private async spell(edit: Edit, form: "command" | "python"): Promise<void> {
    await this.attempt(async () => {
      this.spelled = await api(`/edits/${edit.number}/spelling`);
      await navigator.clipboard?.writeText(this.spelled![form]).catch(() => undefined);
      this.message = "Copied";
    });
  }

  override render(): TemplateResult {
    const { state } = this;
    return html`<div class="page">
      <header class="topbar">
        <h1>RoentMod studio</h1>
        ${state?.run
          ? html`<div class="row" role="group" aria-label="View">
              ${[true, false].map(
                (run) =>
                  html`<button
                    aria-pressed=${this.running === run ? "true" : "false"}
                    @click=${() => (this.running = run)}
                  >
                    ${run ? "Run" : "Edit"}
                  </button>`,
              )}
            </div>`
          : nothing}
        <span class="quiet">Edited pictures are <b class="mark">SYNTHETIC</b>. Research software,
          not for clinical use.</span>
        <span class="grow"></span>
        <span role="status" aria-live="polite" class="said">${this.message}</span>
        <label class="button open"
          >Open a picture<input
            type="file"
            multiple
            class="visually-hidden"
            @change=${(e: Event) => void this.open((e.target as HTMLInputElement).files)}
        /></label>
      </header>
      <div class="columns">
        ${this.running
          ? html`<rm-run class="findings" aria-label="Run"></rm-run>`
          : html`<nav class="list" aria-label="Pictures and history">${this.lists()}</nav>`}
        <main class="work">
          <rm-bar group=${GROUP} ?brush=${!this.running} compare></rm-bar>
          ${this.paneButtons()}
          <div class="panes n${this.shown().length}">${this.shown()}</div>
        </main>
        <aside class="side" aria-label="Settings and readings">
          ${!this.running && state ? this.settings(state) : nothing}
          ${this.edit ? this.outcome(this.edit) : nothing}
        </aside>
      </div>
    </div>`;
  }

  private lists(): TemplateResult {
    const words = this.filter.toLowerCase();
    const sources = (this.state?.sources ?? []).filter((s) => s.name.toLowerCase().includes(words));
    const many = (this.state?.sources.length ?? 0) > 12;
    return html`<h2>Pictures</h2>
      ${many
        ? html`<input
            type="search"
            aria-label="Filter pictures"
            placeholder="Filter"
            @input=${(e: Event) => (this.filter = (e.target as HTMLInputElement).value)}
          />`
        : nothing}
      <ul>
        ${sources.slice(0, LISTED).map(
          (one) =>
            html`<li>
              <button
                class="plain"
                title=${one.name}
                aria-pressed=${one.id === this.source ? "true" : "false"}
                @click=${() => this.choose(one.id)}
              >
                ${one.name}
              </button>
            </li>`,
        )}
      </ul>
      ${sources.length === 0
        ? html`<p class="quiet">Drop a DICOM, PNG, JPEG or TIFF here, or open one.</p>`
        : nothing}
      ${sources.length > LISTED
        ? html`<p class="quiet">And ${sources.length - LISTED} more: filter them.</p>`
        : nothing}
      <h2>History</h2>
      <ol class="history">
        ${[...this.edits].reverse().map((one) => this.past(one))}
      </ol>`;
  }

  private past(one: Edit): TemplateResult {
    const busy = one.state === "waiting" || one.state === "editing";
    const notes = { waiting: "waiting", editing: "editing", shown: "reading", done: "", failed: "failed" };
    return html`<li>
      <input
        type="checkbox"
        aria-label=${`Compare ${one.number}`}
        title="Compare"
        .checked=${this.compared.includes(one.number)}
        ?disabled=${one.arms.length === 0}
        @change=${() => this.compare(one.number)}
      />
      <button
        class="plain"
        title=${one.title}
        aria-pressed=${one.number === this.current ? "true" : "false"}
        ?disabled=${busy || one.arms.length === 0}
        @click=${() => this.show(one)}
      >
        ${one.number} ${one.title}${one.painted ? " (painted)" : ""}
        <span class=${one.state === "failed" ? "bad" : "quiet"}>${notes[one.state]}</span>
      </button>
      ${busy ? html`<progress aria-label="Editing"></progress>` : nothing}
    </li>`;
  }

  private compare(number: number): void {
    const chosen = this.compared.filter((one) => one !== number);
    this.compared = chosen.length < this.compared.length ? chosen : [...chosen, number].slice(-6);
  }

  private paneButtons(): TemplateResult | typeof nothing {
    if (!this.edit || this.compared.length > 1) return nothing;
    const turn = (name: PaneName) => {
      const rest = this.panes.filter((one) => one !== name);
      const more = PANES.filter((one) => this.panes.includes(one) || one === name);
      this.panes = rest.length === this.panes.length ? more : rest.length ? rest : this.panes;
    };
    return html`<div class="row chosen" role="group" aria-label="Panes">
      ${PANES.map(
        (name) =>
          html`<button
            aria-pressed=${this.panes.includes(name) ? "true" : "false"}
            @click=${() => turn(name)}
          >
            ${name}
          </button>`,
      )}
    </div>`;
  }

  private shown(): TemplateResult[] {
    const { edit } = this;
    const pane = (label: string, src: string, baseline: string, synthetic: boolean, show = "") =>
      html`<rm-viewer
        group=${GROUP}
        bar="none"
        label=${label}
        src=${src}
        baseline=${baseline}
        show=${show}
        ?brush=${!this.running}
        ?synthetic=${synthetic}
      ></rm-viewer>`;
    const of = (one: Edit, arm: string) => `/pixels/edit/${one.number}/${arm}`;
    if (this.compared.length > 1) {
      return this.edits
        .filter((one) => this.compared.includes(one.number))
        .map((one) =>
          pane(`${one.number} ${one.title}`, of(one, "counterfactual"), of(one, "baseline"), true),
        );
    }
    if (edit) {
      const before = of(edit, "baseline");
      const after = of(edit, "counterfactual");
      const panes: Record<PaneName, () => TemplateResult> = {
        Baseline: () => pane("Baseline", before, "", false),
        Counterfactual: () => pane("Counterfactual", after, before, true),
        Sham: () => pane("Sham", of(edit, "sham"), before, true),
        Difference: () => pane("Difference", after, before, true, "difference"),
      };
      const has = { Baseline: "baseline", Counterfactual: "counterfactual", Sham: "sham" };
      return this.panes
        .filter((name) => edit.arms.includes(name === "Difference" ? "counterfactual" : has[name]))
        .map((name) => panes[name]());
    }
    if (this.source) return [pane("Baseline", `/pixels/source/${this.source}/baseline`, "", false)];
    return [];
  }

  private settings(state: State): TemplateResult {
    const options = (values: readonly string[], none?: string) => [
      none === undefined ? nothing : html`<option value="">${none}</option>`,
      ...values.map((value) => html`<option>${value}</option>`),
    ];
    const names = state.findings.map((one) => one.name);
    const number = (name: string, label: string, value: string, min: string, max: string, step: string) =>
      html`<div class="field">
        <label for=${name}>${label}</label
        ><input id=${name} name=${name} type="number" value=${value} min=${min} max=${max} step=${step} />
      </div>`;
    const strokes = this.view.strokes.length;
    return html`<form @submit=${this.submit} aria-label="Edit">
      <h2>Edit</h2>
      <div class="pair">
        <div class="field">
          <label for="action">Action</label
          ><select id="action" name="action">
            <option value="add">add</option>
            <option value="remove">remove</option>
          </select>
        </div>
        <div class="field">
          <label for="editor">Editor</label
          ><select id="editor" name="editor">${options(state.editors)}</select>
        </div>
      </div>
      <div class="field">
        <label for="findings">Findings (several are one edit)</label
        ><select id="findings" name="findings" multiple size="4">${options(names)}</select>
      </div>
      <div class="pair">
        <div class="field">
          <label for="side">Side, the patient's</label
          ><select id="side" name="side">${options(["left", "right", "both"], "any")}</select>
        </div>
        <div class="field">
          <label for="severity">Severity</label
          ><select id="severity" name="severity">${options(state.severities, "any")}</select>
        </div>
      </div>
      <div class="field">
        <label for="region">Region in words; or paint it with the brush</label
        ><input id="region" name="region" type="text" list="places" placeholder="anywhere" />
        <datalist id="places">
          ${["usual", ...state.regions].map((one) => html`<option value=${one}></option>`)}
        </datalist>
        ${strokes
          ? html`<span>Painted with ${strokes} ${strokes === 1 ? "stroke" : "strokes"}.</span>`
          : nothing}
      </div>
      <div class="pair three">
        ${number("strength", "Strength", "0.4", "0.05", "1", "0.05")}
        ${number("guidance_scale", "Guidance", "4", "0", "100", "0.5")}
        ${number("seed", "Seed", "0", "0", "999999999", "1")}
      </div>
      <details>
        <summary>Hold, one way, prompt, files</summary>
        <div class="field">
          <label for="hold">Hold (must not come along)</label
          ><select id="hold" name="hold" multiple size="3">${options(["linked", ...names])}</select>
        </div>
        <label class="row"
          ><input type="checkbox" name="one_way" /> One way: opacities take no density away</label
        >
        <div class="field">
          <label for="prompt">Free prompt, instead of our wording</label
          ><input id="prompt" name="prompt" type="text" />
        </div>
        <div class="pair">
          <div class="field">
            <label for="format">Format</label
            ><select id="format" name="format">${options(["same", "png", "dicom"])}</select>
          </div>
          <label class="row"><input type="checkbox" name="burn_in" /> SYNTHETIC in the pixels</label>
        </div>
      </details>
      <button class="primary wide" ?disabled=${!this.source}>Edit <kbd>Ctrl Enter</kbd></button>
    </form>`;
  }

  private outcome(edit: Edit): TemplateResult {
    const done = edit.state === "done" && edit.source !== "";
    return html`<section class="outcome" aria-label="Outcome">
      <h2>${edit.number} ${edit.title}</h2>
      <p class="quiet">
        ${edit.status === "ok" ? "" : `${edit.status}. `}${edit.message} Pictures after
        ${edit.seconds.toFixed(2)} s.${edit.words ? html` Judge: ${edit.words}.` : nothing}
      </p>
      ${edit.readings.length ? this.readings(edit) : html`<p class="quiet">Reading</p>`}
      ${edit.source
        ? html`<div class="row">
            <button ?disabled=${!done} @click=${() => void this.save(edit)}>Save</button>
            <button @click=${() => void this.spell(edit, "command")}>Copy command</button>
            <button @click=${() => void this.spell(edit, "python")}>Copy Python</button>
          </div>`
        : nothing}
      ${this.spelled
        ? html`<pre tabindex="0">${this.spelled.command}</pre>
            <pre tabindex="0">${this.spelled.python}</pre>`
        : nothing}
    </section>`;
  }

  private readings(edit: Edit): TemplateResult {
    const arms = edit.arms;
    const change = (one: Reading) => Number(one.counterfactual) - Number(one.baseline);
    const asked = (one: Reading) => edit.title.includes(one.finding.toLowerCase().replaceAll(" ", "-"));
    const shown = edit.readings.filter((one) => this.all || asked(one) || Math.abs(change(one)) >= 0.1);
    const many = new Set(edit.readings.map((one) => one.reader)).size > 1;
    const chance = (value: string | number) => Number(value).toFixed(2);
    return html`<table class="readings">
        <caption class="quiet">Probabilities read in each picture</caption>
        <thead>
          <tr>
            <th scope="col">Finding</th>
            ${arms.map((arm) => html`<th scope="col" class="number">${SHORT[arm] ?? arm}</th>`)}
            <th scope="col" class="number">change</th>
          </tr>
        </thead>
        <tbody>
          ${shown.map(
            (one) =>
              html`<tr class=${asked(one) ? "asked" : ""}>
                <th scope="row">${one.finding}${many ? html` <i>${one.reader}</i>` : nothing}</th>
                ${arms.map((arm) => html`<td class="number">${chance(one[arm])}</td>`)}
                <td class="number">
                  ${change(one) >= 0 ? "+" : "\u2212"}${Math.abs(change(one)).toFixed(2)}
                </td>
              </tr>`,
          )}
        </tbody>
      </table>
      <label class="row"
        ><input
          type="checkbox"
          .checked=${this.all}
          @change=${() => (this.all = !this.all)}
        />all findings (${edit.readings.length})</label
      >`;
  }
}

/** Returns the options that a form sets, as `roentmod.edit` takes them. */
function optionsOf(form: HTMLFormElement): Record<string, unknown> {
  const values = new FormData(form);
  const text = (name: string) => String(values.get(name) ?? "").trim();
  const options: Record<string, unknown> = { editor: text("editor") };
  const findings = values.getAll("findings").join(" + ");
  if (findings) options[text("action")] = [findings];
  for (const name of ["prompt", "side", "severity", "region"]) {
    if (text(name)) options[name] = text(name);
  }
  const hold = values.getAll("hold");
  if (hold.length) options.hold = hold;
  if (values.get("one_way")) options.composite = "one-way";
  const defaults: Record<string, number> = { strength: 0.4, guidance_scale: 4, seed: 0 };
  for (const [name, value] of Object.entries(defaults)) {
    if (text(name) && Number(text(name)) !== value) options[name] = Number(text(name));
  }
  if (text("format") !== "same") options.format = [text("format")];
  if (values.get("burn_in")) options.burn_in = true;
  return options;
}

customElements.define("rm-studio", Studio);
