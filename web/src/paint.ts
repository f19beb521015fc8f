/** Display values become grey levels and colours. */

import type { Screen } from "./picture";

const LEVELS = 65536;
const OPAQUE = 0xff000000;
// Of the report: warm is brighter than the baseline, cold darker; stops at 0, 1/2 and 1 of the limit.
const WARM = [[150, 24, 24], [226, 72, 40], [255, 214, 102]];
const COLD = [[22, 50, 150], [40, 120, 226], [128, 226, 255]];
// The change that has the strongest colour, and the least that has one, in display values.
const LIMIT = 0.3 * 65535;
const LEAST = 0.004 * 65535;

export interface Window {
  /** Both in [0, 1] of the display range; the width is positive. */
  readonly centre: number;
  readonly width: number;
  readonly invert: boolean;
}

/** One grey level (0 to 255) per display value. */
export function greyLevels({ centre, width, invert }: Window, into: Uint8Array): void {
  const low = (centre - width / 2) * 65535;
  const gain = 255 / (width * 65535);
  for (let value = 0; value < LEVELS; value++) {
    const grey = Math.round(Math.max(0, Math.min(255, (value - low) * gain)));
    into[value] = invert ? 255 - grey : grey;
  }
}

/** Colour (as in a canvas, without opacity) and cover (of 256) per difference + 65535. */
interface Shades {
  readonly red: Uint8Array;
  readonly green: Uint8Array;
  readonly blue: Uint8Array;
  readonly cover: Uint16Array;
}

function differenceShades(): Shades {
  const count = 2 * LEVELS;
  const shades = {
    red: new Uint8Array(count),
    green: new Uint8Array(count),
    blue: new Uint8Array(count),
    cover: new Uint16Array(count),
  };
  for (let at = 0; at < count; at++) {
    const difference = at - 65535;
    const amount = Math.min(1, Math.abs(difference) / LIMIT);
    if (Math.abs(difference) < LEAST) continue;
    const [red, green, blue] = between(difference > 0 ? WARM : COLD, amount);
    shades.red[at] = red;
    shades.green[at] = green;
    shades.blue[at] = blue;
    shades.cover[at] = Math.round(256 * Math.min(1, amount * 2.5));
  }
  return shades;
}

function between(stops: number[][], amount: number): number[] {
  const first = amount < 0.5 ? 0 : 1;
  const share = amount * 2 - first;
  return stops[first].map((low, i) => Math.round(low + (stops[first + 1][i] - low) * share));
}

/** Paints columns `from` to `to` of a screen. */
export function paintGrey(
  screen: Screen,
  greys: Uint8Array,
  into: Uint32Array,
  from = 0,
  to = screen.width,
): void {
  const { width, values, y0, y1 } = screen;
  const x0 = Math.max(from, screen.x0);
  const x1 = Math.max(x0, Math.min(to, screen.x1));
  for (let y = 0; y < screen.height; y++) {
    const row = y * width;
    if (y < y0 || y >= y1) {
      into.fill(OPAQUE, row + from, row + to);
      continue;
    }
    if (x0 > from) into.fill(OPAQUE, row + from, row + Math.min(x0, to));
    for (let at = row + x0, stop = row + x1; at < stop; at++) {
      into[at] = OPAQUE | (greys[values[at]] * 0x010101);
    }
    if (x1 < to) into.fill(OPAQUE, row + Math.max(x1, from), row + to);
  }
}

let shades: Shades | null = null;

/** Lays the difference of two screens over what is painted, with an opacity in [0, 1]. */
export function paintDifference(
  screen: Screen,
  baseline: Screen,
  opacity: number,
  into: Uint32Array,
): void {
  const { width, values, x0, x1, y0, y1 } = screen;
  const before = baseline.values;
  shades ??= differenceShades();
  const { red, green, blue, cover } = shades;
  const most = Math.round(256 * opacity);
  for (let y = y0; y < y1; y++) {
    for (let at = y * width + x0, stop = y * width + x1; at < stop; at++) {
      const shade = values[at] - before[at] + 65535;
      const c = (cover[shade] * most) >> 8;
      if (c === 0) continue;
      const grey = into[at] & 0xff;
      const r = grey + (((red[shade] - grey) * c) >> 8);
      const g = grey + (((green[shade] - grey) * c) >> 8);
      const b = grey + (((blue[shade] - grey) * c) >> 8);
      into[at] = OPAQUE | (b << 16) | (g << 8) | r;
    }
  }
}
