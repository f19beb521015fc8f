/** Pointers and keys become changes of a view. */

import type { Placing } from "./picture";
import type { Point, Ruler, Stroke, Tool, View } from "./view";

/** What hands need of the pane they act on. */
export interface Pane {
  readonly view: View;
  /** Whether a region can be painted. */
  readonly brush: boolean;
  /** Size in canvas pixels, and canvas pixels per CSS pixel. */
  size(): { width: number; height: number; density: number };
  /** How the picture lies; null until there is one. */
  placing(): Placing | null;
  /** Size of the picture. */
  picture(): { width: number; height: number };
  say(words: string): void;
  help(): void;
  redraw(): void;
}

type Action = Tool | "pinch" | "divider";
const STEP = 40;
const CROSS_STEP = 8;
const MOVES: Record<string, readonly [number, number]> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

export class Hands {
  /** Where the brush or the keyboard's cross is, in the picture's pixels. */
  cross: Point | null = null;
  private readonly pointers = new Map<number, { x: number; y: number }>();
  private action: Action | null = null;
  private space = false;
  private pinched = 0;
  /** A stroke or ruler that the keyboard has begun. */
  private begun: Stroke | Ruler | null = null;

  constructor(private readonly pane: Pane) {}

  down(event: PointerEvent): void {
    if (!this.pane.placing()) return;
    this.pointers.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
    if (this.pointers.size === 2) {
      this.dropStroke();
      this.action = "pinch";
      this.pinched = this.spread();
      return;
    }
    this.action = this.actionOf(event);
    const at = this.onPicture(event.offsetX, event.offsetY);
    const { view } = this.pane;
    if (this.action === "brush" || this.action === "erase") this.startStroke(at);
    if (this.action === "ruler") view.change({ rulers: [...view.rulers, { from: at, to: at }] });
  }

  move(event: PointerEvent): void {
    if (!this.pane.placing()) return;
    this.hover(event);
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const { view } = this.pane;
    const dx = event.offsetX - before.x;
    const dy = event.offsetY - before.y;
    const middle = this.middle();
    this.pointers.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
    const { width, height, density } = this.pane.size();
    switch (this.action) {
      case "window":
        view.turn((dx * density) / width, (dy * density) / height);
        break;
      case "pan":
        this.pan(dx, dy);
        break;
      case "zoom":
        this.zoom(Math.exp(-dy / 150), width / density / 2, height / density / 2);
        break;
      case "divider":
        view.change({ divider: Math.max(0, Math.min(1, (event.offsetX * density) / width)) });
        break;
      case "pinch": {
        const now = this.middle();
        this.pan(now.x - middle.x, now.y - middle.y);
        const spread = this.spread();
        this.zoom(spread / Math.max(1, this.pinched), now.x, now.y);
        this.pinched = spread;
        break;
      }
      case "ruler":
        this.stretch(this.onPicture(event.offsetX, event.offsetY));
        break;
      case "brush":
      case "erase":
        for (const one of event.getCoalescedEvents?.() ?? [event]) {
          this.extend(this.onPicture(one.offsetX, one.offsetY));
        }
        this.extend(this.onPicture(event.offsetX, event.offsetY));
        view.change();
    }
  }

  up(event: PointerEvent): void {
    if (!this.pointers.delete(event.pointerId)) return;
    if (this.action === "brush" || this.action === "erase") this.endStroke();
    if (this.action === "ruler") this.dropPointRuler();
    this.action = null;
  }

  leave(): void {
    if (this.cross && !this.begun) {
      this.cross = null;
      this.pane.redraw();
    }
  }

  wheel(event: WheelEvent): void {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 16 : 1;
    this.zoom(Math.exp((-event.deltaY * lines) / 400), event.offsetX, event.offsetY);
  }

  /** Returns whether the key has a meaning here. */
  key(event: KeyboardEvent): boolean {
    const { view } = this.pane;
    if (event.metaKey || event.altKey) return false;
    if (event.ctrlKey && event.key.toLowerCase() !== "z") return false;
    const move = MOVES[event.key];
    if (move) this.arrow(move, event.shiftKey);
    else if (!this.letter(event, view)) return false;
    return true;
  }

  private letter(event: KeyboardEvent, view: View): boolean {
    const { width, height, density } = this.pane.size();
    const [x, y] = [width / density / 2, height / density / 2];
    const choose = (tool: Tool) => () => view.change({ tool: view.tool === tool ? "window" : tool });
    const actions: Record<string, () => void> = {
      "+": () => this.zoom(1.25, x, y),
      "=": () => this.zoom(1.25, x, y),
      "-": () => this.zoom(0.8, x, y),
      a: () => view.fit(),
      t: () => view.change({ scale: 1 }),
      i: () => view.change({ invert: !view.invert }),
      p: () => view.preset(view.presetNumber + 1),
      r: () => view.reset(),
      f: () => view.change({ flicker: true }),
      s: () => view.toggle("swipe"),
      d: () => view.toggle("difference"),
      m: choose("ruler"),
      ...(this.pane.brush ? { b: choose("brush"), e: choose("erase") } : {}),
      z: () => view.undo(),
      v: () => view.change({ tool: "window" }),
      escape: () => view.change({ tool: "window" }),
      "[": () => view.adjust(-1),
      "]": () => view.adjust(1),
      "?": () => this.pane.help(),
      " ": () => void (this.space = true),
      enter: () => this.enter(),
    };
    const name = event.key.toLowerCase();
    if (!Object.hasOwn(actions, name)) return false;
    if (!(event.repeat && (name === "f" || name === " "))) actions[name]();
    return true;
  }

  keyUp(event: KeyboardEvent): void {
    if (event.key === " ") this.space = false;
    if (event.key.toLowerCase() === "f") this.pane.view.change({ flicker: false });
  }

  blur(): void {
    this.space = false;
    if (this.begun && "points" in this.begun) this.endStroke();
    this.begun = null;
    if (this.pane.view.flicker) this.pane.view.change({ flicker: false });
  }

  private actionOf(event: PointerEvent): Action {
    if (event.button === 1 || this.space) return "pan";
    if (event.button === 2) return "zoom";
    const { view } = this.pane;
    if (view.mode === "swipe") {
      const { width, density } = this.pane.size();
      if (Math.abs(event.offsetX - (view.divider * width) / density) < 14) return "divider";
    }
    return view.tool;
  }

  private hover(event: PointerEvent): void {
    const { tool } = this.pane.view;
    const drawing = tool === "brush" || tool === "erase" || tool === "ruler";
    this.cross = drawing ? this.onPicture(event.offsetX, event.offsetY) : null;
    if (drawing) this.pane.redraw();
  }

  private pan(dx: number, dy: number): void {
    const placing = this.pane.placing();
    if (!placing) return;
    const { view } = this.pane;
    const { width, height } = this.pane.picture();
    const { density } = this.pane.size();
    const within = (value: number) => Math.max(-0.25, Math.min(1.25, value));
    view.change({
      scale: placing.scale,
      x: within(view.x - (dx * density) / (width * placing.scale)),
      y: within(view.y - (dy * density) / (height * placing.scale)),
    });
  }

  /** Zooms around a point of the pane, in CSS pixels. */
  private zoom(factor: number, x: number, y: number): void {
    const placing = this.pane.placing();
    if (!placing) return;
    const { density, width, height } = this.pane.size();
    const scale = Math.max(0.02, Math.min(32, placing.scale * factor));
    const at = this.onPicture(x, y);
    const picture = this.pane.picture();
    this.pane.view.change({
      scale,
      x: (at.x + (width / 2 - x * density) / scale) / picture.width,
      y: (at.y + (height / 2 - y * density) / scale) / picture.height,
    });
  }

  private arrow([across, down]: readonly [number, number], shift: boolean): void {
    const { view } = this.pane;
    if (view.tool === "brush" || view.tool === "erase" || view.tool === "ruler") {
      this.moveCross(across, down, shift ? CROSS_STEP * 5 : CROSS_STEP);
    } else if (shift) {
      view.turn(across * 0.04, down * 0.04);
      const percent = (value: number) => `${Math.round(100 * value)} %`;
      this.pane.say(`Window ${percent(view.width)}, level ${percent(view.centre)}`);
    } else this.pan(-across * STEP, -down * STEP);
  }

  private moveCross(across: number, down: number, step: number): void {
    const { density, width, height } = this.pane.size();
    const scale = this.pane.placing()?.scale ?? 1;
    const picture = this.pane.picture();
    const from = this.cross ?? this.onPicture(width / density / 2, height / density / 2);
    const cut = (value: number, most: number) => Math.max(0, Math.min(most, value));
    this.cross = {
      x: cut(from.x + (across * step * density) / scale, picture.width),
      y: cut(from.y + (down * step * density) / scale, picture.height),
    };
    if (this.begun && "points" in this.begun) this.extend(this.cross);
    else if (this.begun) this.stretch(this.cross);
    this.pane.view.change();
    this.pane.say(`Cross at ${Math.round(this.cross.x)}, ${Math.round(this.cross.y)}`);
  }

  private enter(): void {
    const { view } = this.pane;
    const { width, height, density } = this.pane.size();
    const at = this.cross ?? this.onPicture(width / density / 2, height / density / 2);
    this.cross = at;
    if (this.begun) {
      if ("points" in this.begun) this.endStroke();
      else this.dropPointRuler();
      this.begun = null;
      this.pane.say("Ended");
    } else if (view.tool === "ruler") {
      this.begun = { from: at, to: at };
      view.change({ rulers: [...view.rulers, this.begun] });
      this.pane.say("Ruler begun");
    } else if (view.tool === "brush" || view.tool === "erase") {
      this.begun = this.startStroke(at);
      this.pane.say("Stroke begun");
    }
  }

  private startStroke(at: Point): Stroke {
    const { view } = this.pane;
    const stroke = { radius: view.radius, erase: view.tool === "erase", points: [at] };
    view.change({ strokes: [...view.strokes, stroke] });
    return stroke;
  }

  private extend(at: Point): void {
    const points = this.pane.view.strokes.at(-1)?.points;
    const last = points?.at(-1);
    if (last && Math.hypot(last.x - at.x, last.y - at.y) >= 1) points!.push(at);
  }

  private endStroke(): void {
    this.pane.view.setStrokes([...this.pane.view.strokes]);
  }

  /** Takes back what a first finger painted before the second came. */
  private dropStroke(): void {
    const { view } = this.pane;
    if (this.action === "brush" || this.action === "erase") {
      view.change({ strokes: view.strokes.slice(0, -1) });
    }
    if (this.action === "ruler") view.change({ rulers: view.rulers.slice(0, -1) });
  }

  private stretch(to: Point): void {
    const ruler = this.pane.view.rulers.at(-1);
    if (!ruler) return;
    ruler.to = to;
    this.pane.view.change();
  }

  private dropPointRuler(): void {
    const { view } = this.pane;
    const last = view.rulers.at(-1);
    if (last && Math.hypot(last.to.x - last.from.x, last.to.y - last.from.y) < 2) {
      view.change({ rulers: view.rulers.slice(0, -1) });
    }
  }

  private onPicture(x: number, y: number): Point {
    const { density } = this.pane.size();
    const placing = this.pane.placing() ?? { scale: 1, left: 0, top: 0 };
    return {
      x: (x * density - placing.left) / placing.scale,
      y: (y * density - placing.top) / placing.scale,
    };
  }

  private middle(): Point {
    const all = [...this.pointers.values()];
    const sum = all.reduce((a, b) => ({ x: a.x + b.x, y: a.y + b.y }), { x: 0, y: 0 });
    return { x: sum.x / Math.max(1, all.length), y: sum.y / Math.max(1, all.length) };
  }

  private spread(): number {
    const [a, b] = [...this.pointers.values()];
    return a && b ? Math.hypot(a.x - b.x, a.y - b.y) : 1;
  }
}
