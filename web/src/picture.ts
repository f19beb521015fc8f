/** A picture of 16-bit display values, and what the screen shows of it. */

import { refusal } from "./asking";

export interface Picture {
  readonly width: number;
  readonly height: number;
  /** Millimetres per pixel; null where unknown. */
  readonly spacing: number | null;
  /** Whether the server says that nobody was X-rayed for it. */
  readonly synthetic: boolean;
  /** The picture, then halves of it. */
  readonly levels: readonly Level[];
}

interface Level {
  readonly data: Uint16Array;
  readonly width: number;
  readonly height: number;
}

/** How a picture lies on a canvas: `x * scale + left` is a canvas pixel. */
export interface Placing {
  readonly scale: number;
  readonly left: number;
  readonly top: number;
}

/** Display values on the canvas's pixels, and the rectangle where there are any. */
export class Screen {
  width = 0;
  height = 0;
  values = new Uint16Array(0);
  x0 = 0;
  x1 = 0;
  y0 = 0;
  y1 = 0;

  resize(width: number, height: number): void {
    if (this.width === width && this.height === height) return;
    this.width = width;
    this.height = height;
    this.values = new Uint16Array(width * height);
  }
}

/** Fetches raw little-endian uint16 values, whose size stands in the headers. */
export async function fetchPicture(url: string, signal: AbortSignal): Promise<Picture> {
  const answer = await fetch(url, { signal, credentials: "same-origin" });
  if (!answer.ok) throw new Error(await refusal(answer));
  const width = Number(answer.headers.get("X-Width"));
  const height = Number(answer.headers.get("X-Height"));
  const spacing = Number(answer.headers.get("X-Spacing-Mm")) || null;
  const body = await answer.arrayBuffer();
  if (!width || !height || body.byteLength !== 2 * width * height) {
    throw new Error("The picture is not whole. Load the page again.");
  }
  const synthetic = answer.headers.get("X-Synthetic") === "YES";
  return { ...makePicture(new Uint16Array(body), width, height, spacing), synthetic };
}

export function makePicture(
  data: Uint16Array,
  width: number,
  height: number,
  spacing: number | null,
): Omit<Picture, "synthetic"> {
  const levels: Level[] = [{ data, width, height }];
  for (let last = levels[0]; Math.min(last.width, last.height) > 128; ) {
    last = halved(last);
    levels.push(last);
  }
  return { width, height, spacing, levels };
}

function halved({ data, width, height }: Level): Level {
  const w = width >> 1;
  const h = height >> 1;
  const half = new Uint16Array(w * h);
  for (let y = 0; y < h; y++) {
    let at = 2 * y * width;
    for (let x = 0, to = y * w; x < w; x++, to++, at += 2) {
      half[to] = (data[at] + data[at + 1] + data[at + width] + data[at + width + 1] + 2) >> 2;
    }
  }
  return { data: half, width: w, height: h };
}

/** Interpolates a picture on a screen's pixels; at scale 1 they are the picture's own. */
export function sample(picture: Picture, placing: Placing, screen: Screen): void {
  const { scale, left, top } = placing;
  let number = 0;
  while (number + 1 < picture.levels.length && scale * 2 ** (number + 1) <= 1) number++;
  const level = picture.levels[number];
  const across = axis(scale, left, screen.width, picture.width, level.width);
  const down = axis(scale, top, screen.height, picture.height, level.height);
  screen.x0 = across.first;
  screen.x1 = across.stop;
  screen.y0 = down.first;
  screen.y1 = down.stop;
  const data = level.data;
  const values = screen.values;
  const { low: xl, high: xh, share: xs } = across;
  for (let y = down.first; y < down.stop; y++) {
    const upper = down.low[y] * level.width;
    const lower = down.high[y] * level.width;
    const v = down.share[y];
    let to = y * screen.width + across.first;
    for (let x = across.first; x < across.stop; x++, to++) {
      const l = xl[x];
      const h = xh[x];
      const u = xs[x];
      const a = data[upper + l];
      const b = data[lower + l];
      const first = (a << 7) + (data[upper + h] - a) * u;
      const second = (b << 7) + (data[lower + h] - b) * u;
      values[to] = ((first << 7) + (second - first) * v + 8192) >> 14;
    }
  }
}

interface Axis {
  first: number;
  stop: number;
  low: Int32Array;
  high: Int32Array;
  share: Int32Array;
}

/** Neighbours and shares (of 128) of each screen pixel along one axis. */
function axis(scale: number, start: number, screen: number, whole: number, cells: number): Axis {
  const first = Math.max(0, Math.min(screen, Math.ceil(start - 0.5)));
  const stop = Math.max(first, Math.min(screen, Math.ceil(start + whole * scale - 0.5)));
  const low = new Int32Array(screen);
  const high = new Int32Array(screen);
  const share = new Int32Array(screen);
  const step = cells / whole / scale;
  for (let at = first; at < stop; at++) {
    const place = Math.max(0, Math.min(cells - 1, (at + 0.5 - start) * step - 0.5));
    low[at] = Math.floor(place);
    high[at] = Math.min(low[at] + 1, cells - 1);
    share[at] = Math.round((place - low[at]) * 128);
  }
  return { first, stop, low, high, share };
}
