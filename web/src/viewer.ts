/** `<rm-viewer>`: one radiograph of 16-bit display values. */

import { LitElement, css, html, nothing, type PropertyValues } from "lit";
import type { Bar } from "./bar";
import "./bar";
import { Hands, type Pane } from "./hands";
import { drawMarks, drawRegion, type Scene } from "./marks";
import { greyLevels, paintDifference, paintGrey } from "./paint";
import { Screen, fetchPicture, sample, type Picture, type Placing } from "./picture";
import { controls } from "./style";
import { View, viewOf, type Mode } from "./view";

/**
 * Attributes: `src` and `baseline` (pixels), `label`, `group` (viewers of one group share window,
 * place and tools), `synthetic` (shows the mark, as does
 * an answer that says so), `brush` (offers the region brush), `bar="none"`
 * (no tools of its own), `show="difference"` (always the difference from the baseline). Events: `rm-ready` once a picture is on the screen, `rm-error`,
 * `rm-strokes`.
 */
export class Viewer extends LitElement implements Pane {
  static override properties = {
    src: { type: String },
    baseline: { type: String },
    label: { type: String },
    group: { type: String },
    synthetic: { type: Boolean },
    brush: { type: Boolean },
    bar: { type: String },
    show: { type: String },
    message: { state: true },
    words: { state: true },
    marked: { state: true },
  };
  declare src: string;
  declare baseline: string;
  declare label: string;
  declare group: string | null;
  declare synthetic: boolean;
  declare brush: boolean;
  declare bar: string;
  declare show: string;
  declare message: string;
  declare words: string;
  declare marked: boolean;

  view = new View();
  private readonly hands = new Hands(this);
  private shown: Picture | null = null;
  private prior: Picture | null = null;
  private fetching: AbortController | null = null;
  private readonly screen = new Screen();
  private readonly under = new Screen();
  private sampled = "";
  private underSampled = "";
  private readonly greys = new Uint8Array(65536);
  private windowed = "";
  private image: ImageData | null = null;
  private frame = 0;
  private density = 1;
  private announced = false;
  private saying = 0;
  private readonly resized = new ResizeObserver((entries) => this.fitCanvas(entries[0]));

  constructor() {
    super();
    this.src = this.baseline = this.label = this.bar = this.show = this.message = this.words = "";
    this.group = null;
    this.synthetic = this.brush = this.marked = false;
  }

  static override styles = [
    controls,
    css`
      :host {
        display: flex;
        flex-direction: column;
        min-width: 0;
        min-height: 160px;
        background: #000;
      }
      .stage {
        position: relative;
        flex: 1;
        min-height: 0;
        overflow: hidden;
        background: #000;
        touch-action: none;
        user-select: none;
        -webkit-user-select: none;
        cursor: crosshair;
      }
      .stage:focus-visible {
        outline-offset: -2px;
      }
      canvas {
        position: absolute;
        inset: 0;
        width: 100%;
        height: 100%;
        pointer-events: none;
      }
      .region {
        opacity: 0.35;
      }
      .corner {
        position: absolute;
        max-width: 70%;
        padding: 2px 6px;
        background: rgb(0 0 0 / 62%);
        color: #e4e9ef;
        pointer-events: none;
      }
      .label {
        top: 0;
        left: 0;
      }
      .mark {
        top: 0;
        right: 0;
        color: #ffb22c;
        font-weight: 600;
        letter-spacing: 0.06em;
      }
      .numbers {
        bottom: 0;
        left: 0;
        font-variant-numeric: tabular-nums;
        font-size: 12px;
      }
      .message {
        position: absolute;
        inset: 45% 8px auto;
        margin: 0;
        text-align: center;
        color: #e4e9ef;
        pointer-events: none;
      }
      rm-bar {
        background: var(--panel, #14181d);
      }
      .hidden {
        position: absolute;
        width: 1px;
        height: 1px;
        overflow: hidden;
        clip-path: inset(50%);
        white-space: nowrap;
      }
    `,
  ];

  private readonly changed = (): void => this.redraw();
  private readonly stroked = (): void => {
    this.dispatchEvent(new CustomEvent("rm-strokes", { bubbles: true, composed: true }));
  };

  override connectedCallback(): void {
    super.connectedCallback();
    this.join(viewOf(this.group));
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.fetching?.abort();
    this.resized.disconnect();
    this.view.removeEventListener("change", this.changed);
    this.view.removeEventListener("strokes", this.stroked);
  }

  private join(view: View): void {
    this.view.removeEventListener("change", this.changed);
    this.view.removeEventListener("strokes", this.stroked);
    this.view = view;
    view.addEventListener("change", this.changed);
    view.addEventListener("strokes", this.stroked);
  }

  override firstUpdated(): void {
    this.observe();
  }

  override willUpdate(changed: PropertyValues): void {
    if (changed.has("group") && this.hasUpdated) this.join(viewOf(this.group));
  }

  override updated(changed: PropertyValues): void {
    if (changed.has("src") || changed.has("baseline")) void this.load(changed.has("src"));
    this.redraw();
  }

  private observe(): void {
    const stage = this.renderRoot.querySelector(".stage")!;
    try {
      this.resized.observe(stage, { box: "device-pixel-content-box" });
    } catch {
      this.resized.observe(stage);
    }
  }

  private fitCanvas(entry: ResizeObserverEntry): void {
    const device = entry.devicePixelContentBoxSize?.[0];
    const width = device?.inlineSize ?? Math.round(entry.contentRect.width * devicePixelRatio);
    const height = device?.blockSize ?? Math.round(entry.contentRect.height * devicePixelRatio);
    if (!width || !height) return;
    for (const canvas of this.renderRoot.querySelectorAll("canvas")) {
      canvas.width = width;
      canvas.height = height;
    }
    this.density = width / Math.max(1, entry.contentRect.width);
    this.screen.resize(width, height);
    this.under.resize(width, height);
    this.image = new ImageData(width, height);
    this.sampled = this.underSampled = "";
    this.paint();
  }

  private async load(fresh: boolean): Promise<void> {
    this.fetching?.abort();
    const fetching = (this.fetching = new AbortController());
    this.prior = null;
    this.underSampled = "";
    if (fresh) {
      this.announced = false;
      this.sampled = "";
      this.shown = null;
      if (!this.group) {
        this.view.change({ strokes: [], rulers: [] });
        this.view.reset();
      }
      this.redraw();
    }
    if (!this.src) return;
    try {
      if (!this.shown) {
        this.message = "Loading";
        this.shown = await fetchPicture(this.src, fetching.signal);
        this.marked = this.shown.synthetic;
      }
      this.message = "";
      this.redraw();
      if (this.baseline) {
        const before = await fetchPicture(this.baseline, fetching.signal);
        const same = before.width === this.shown.width && before.height === this.shown.height;
        if (!same) throw new Error("Baseline and picture differ in size.");
        this.prior = before;
        this.redraw();
      }
    } catch (error) {
      if (fetching.signal.aborted) return;
      this.message = (error as Error).message;
      this.dispatchEvent(new CustomEvent("rm-error", { bubbles: true, composed: true }));
    }
  }

  /** Whether the picture that `src` names is on the screen. */
  get ready(): boolean {
    return this.announced;
  }

  size(): { width: number; height: number; density: number } {
    return { width: this.screen.width || 1, height: this.screen.height || 1, density: this.density };
  }

  picture(): { width: number; height: number } {
    return this.shown ?? { width: 1, height: 1 };
  }

  placing(): Placing | null {
    if (!this.shown || !this.screen.width) return null;
    const { width, height } = this.shown;
    const fitted = Math.min(this.screen.width / width, this.screen.height / height);
    const scale = this.view.scale ?? fitted;
    // On whole pixels, so that nothing is interpolated at 1:1.
    const left = Math.round(this.screen.width / 2 - this.view.x * width * scale);
    const top = Math.round(this.screen.height / 2 - this.view.y * height * scale);
    return { scale, left, top };
  }

  redraw(): void {
    if (!this.frame) this.frame = requestAnimationFrame(() => this.paint());
  }

  help(): void {
    this.renderRoot.querySelector<Bar>("rm-bar")?.help();
    this.dispatchEvent(new CustomEvent("rm-help", { bubbles: true, composed: true }));
  }

  say(words: string): void {
    clearTimeout(this.saying);
    this.saying = window.setTimeout(() => (this.words = words), 400);
  }

  /** Paints what has changed; usually called once per frame. */
  paint(): void {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    const canvas = this.renderRoot.querySelector<HTMLCanvasElement>(".picture");
    const context = canvas?.getContext("2d", { alpha: false, willReadFrequently: true });
    const placing = this.placing();
    if (!canvas || !context || !this.image) return;
    if (!placing || !this.shown) {
      context.fillRect(0, 0, canvas.width, canvas.height);
      return;
    }
    this.refresh(placing, this.shown);
    const pixels = new Uint32Array(this.image.data.buffer);
    const { view } = this;
    const before = this.prior !== null;
    const mode = before ? this.mode : "picture";
    if (before && view.flicker) paintGrey(this.under, this.greys, pixels);
    else {
      const divider = mode === "swipe" ? view.divider * this.screen.width : 0;
      const column = Math.round(divider);
      if (column > 0) paintGrey(this.under, this.greys, pixels, 0, column);
      paintGrey(this.screen, this.greys, pixels, column);
      if (mode === "difference") {
        paintDifference(this.screen, this.under, view.opacity, pixels);
      }
    }
    context.putImageData(this.image, 0, 0);
    this.paintMarks(placing, this.shown);
    this.finish();
  }

  private get mode(): Mode {
    return this.show === "difference" ? "difference" : this.view.mode;
  }

  /** Brings sampled pixels and grey levels up to date. */
  private refresh(placing: Placing, picture: Picture): void {
    const { view } = this;
    const place = `${placing.scale} ${placing.left} ${placing.top}`;
    if (this.sampled !== place) {
      sample(picture, placing, this.screen);
      this.sampled = place;
    }
    const compared = view.flicker || this.mode !== "picture";
    if (this.prior && compared && this.underSampled !== place) {
      sample(this.prior, placing, this.under);
      this.underSampled = place;
    }
    const window = `${view.centre} ${view.width} ${view.invert}`;
    if (this.windowed !== window) {
      greyLevels(view, this.greys);
      this.windowed = window;
    }
  }

  private paintMarks(placing: Placing, picture: Picture): void {
    const { view, density } = this;
    const drawn = view.tool === "brush" || view.tool === "erase" || view.tool === "ruler";
    const cross = drawn ? this.hands.cross : null;
    const scene: Scene = { picture, placing, view, density, cross };
    const [, region, marks] = this.renderRoot.querySelectorAll("canvas");
    drawRegion(region, scene);
    drawMarks(marks, scene);
    const numbers = this.renderRoot.querySelector(".numbers")!;
    const percent = (value: number) => `${Math.round(100 * value)}`;
    const zoom = (100 * placing.scale).toFixed(placing.scale < 0.1 ? 1 : 0);
    numbers.textContent = `W ${percent(view.width)}  L ${percent(view.centre)}  ${zoom} %`;
    const name = this.renderRoot.querySelector(".label");
    const flickered = view.flicker && this.prior !== null;
    if (name) name.textContent = flickered ? "Baseline" : this.label;
    this.renderRoot.querySelector(".mark")?.toggleAttribute("hidden", flickered && !this.prior!.synthetic);
  }

  private finish(): void {
    if (this.announced) return;
    this.announced = true;
    this.dispatchEvent(new CustomEvent("rm-ready", { bubbles: true, composed: true }));
  }

  private readonly down = (event: PointerEvent): void => {
    const stage = event.currentTarget as HTMLElement;
    stage.focus({ preventScroll: true });
    stage.setPointerCapture(event.pointerId);
    event.preventDefault();
    this.hands.down(event);
  };

  private readonly key = (event: KeyboardEvent): void => {
    if (!this.hands.key(event)) return;
    event.preventDefault();
    event.stopPropagation();
  };

  override render() {
    const hands = this.hands;
    return html`<div
        class="stage"
        tabindex="0"
        role="application"
        aria-roledescription="radiograph viewer"
        aria-label=${`${this.label || "Radiograph"}${this.synthetic || this.marked ? ", synthetic" : ""}`}
        aria-describedby="how"
        @pointerdown=${this.down}
        @pointermove=${(e: PointerEvent) => hands.move(e)}
        @pointerup=${(e: PointerEvent) => hands.up(e)}
        @pointercancel=${(e: PointerEvent) => hands.up(e)}
        @pointerleave=${() => hands.leave()}
        @wheel=${(e: WheelEvent) => hands.wheel(e)}
        @dblclick=${() => this.view.fit()}
        @contextmenu=${(e: Event) => e.preventDefault()}
        @keydown=${this.key}
        @keyup=${(e: KeyboardEvent) => hands.keyUp(e)}
        @blur=${() => hands.blur()}
      >
        <canvas class="picture" aria-hidden="true"></canvas>
        <canvas class="region" aria-hidden="true"></canvas>
        <canvas class="marks" aria-hidden="true"></canvas>
        ${this.label ? html`<div class="corner label"></div>` : nothing}
        ${this.synthetic || this.marked ? html`<div class="corner mark">SYNTHETIC</div>` : nothing}
        <div class="corner numbers" aria-hidden="true"></div>
        <p class="message" role="status">${this.message}</p>
      </div>
      <div class="hidden" id="how">Press the question mark for the keys.</div>
      <div class="hidden" role="status" aria-live="polite">${this.words}</div>
      ${this.bar === "none"
        ? nothing
        : html`<rm-bar .view=${this.view} ?brush=${this.brush} ?compare=${!!this.baseline}></rm-bar>`}`;
  }
}

customElements.define("rm-viewer", Viewer);
