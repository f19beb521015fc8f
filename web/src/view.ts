/** What linked panes share: window, place, tool, strokes, rulers. */

export type Tool = "window" | "pan" | "zoom" | "brush" | "erase" | "ruler";
export type Mode = "picture" | "swipe" | "difference";
export interface Point {
  /** In the picture's pixels; the upper left corner is 0, 0. */
  readonly x: number;
  readonly y: number;
}
export interface Stroke {
  readonly radius: number;
  readonly erase: boolean;
  readonly points: Point[];
}
export interface Ruler {
  readonly from: Point;
  to: Point;
}
export interface Preset {
  readonly name: string;
  readonly centre: number;
  readonly width: number;
}

/** Parts of the display range, which the file's own window has set. */
export const PRESETS: readonly Preset[] = [
  { name: "Full range", centre: 0.5, width: 1 },
  { name: "Lungs", centre: 0.3, width: 0.6 },
  { name: "Mediastinum", centre: 0.7, width: 0.6 },
  { name: "Bones", centre: 0.65, width: 0.45 },
  { name: "High contrast", centre: 0.5, width: 0.5 },
];

export class View extends EventTarget {
  centre = 0.5;
  width = 1;
  invert = false;
  /** Canvas pixels per picture pixel; null fits the picture in. */
  scale: number | null = null;
  /** The picture's point in the middle of the canvas, of its width and height. */
  x = 0.5;
  y = 0.5;
  tool: Tool = "window";
  mode: Mode = "picture";
  divider = 0.5;
  opacity = 0.7;
  /** Whether the baseline is shown instead, while a key is held. */
  flicker = false;
  radius = 40;
  strokes: Stroke[] = [];
  rulers: Ruler[] = [];

  change(values: Partial<View> = {}): void {
    Object.assign(this, values);
    this.dispatchEvent(new Event("change"));
  }

  /** Window and place as they are at first; strokes and rulers stay. */
  reset(): void {
    const mode: Mode = "picture";
    this.change({ centre: 0.5, width: 1, invert: false, mode, flicker: false, ...FITTED });
  }

  fit(): void {
    this.change(FITTED);
  }

  /** Turns the window by shares of its width, as a drag over the whole canvas is one. */
  turn(across: number, down: number): void {
    const width = Math.max(0.01, Math.min(2, this.width * Math.exp(across * 1.6)));
    const centre = Math.max(-0.5, Math.min(1.5, this.centre + down * Math.max(0.1, this.width)));
    this.change({ width, centre });
  }

  preset(number: number): void {
    const { centre, width } = PRESETS[number % PRESETS.length];
    this.change({ centre, width });
  }

  get presetNumber(): number {
    return PRESETS.findIndex((p) => p.centre === this.centre && p.width === this.width);
  }

  undo(): void {
    if (this.tool === "ruler") this.change({ rulers: this.rulers.slice(0, -1) });
    else this.setStrokes(this.strokes.slice(0, -1));
  }

  setStrokes(strokes: Stroke[]): void {
    this.change({ strokes });
    this.dispatchEvent(new Event("strokes"));
  }

  /** Less or more of the tool in hand: radius, divider, opacity. */
  adjust(sign: number): void {
    if (this.tool === "brush" || this.tool === "erase") {
      this.change({ radius: Math.max(2, Math.min(400, Math.round(this.radius * 1.25 ** sign))) });
    } else if (this.mode === "swipe") {
      this.change({ divider: Math.max(0, Math.min(1, this.divider + 0.02 * sign)) });
    } else if (this.mode === "difference") {
      this.change({ opacity: Math.max(0, Math.min(1, this.opacity + 0.1 * sign)) });
    }
  }

  toggle(mode: Mode): void {
    this.change({ mode: this.mode === mode ? "picture" : mode });
  }
}

const FITTED = { scale: null, x: 0.5, y: 0.5 };
const groups = new Map<string, View>();

/** The view that all viewers of a group share; viewers without one have one each. */
export function viewOf(group: string | null): View {
  if (!group) return new View();
  const known = groups.get(group) ?? new View();
  groups.set(group, known);
  return known;
}
