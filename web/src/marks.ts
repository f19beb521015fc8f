/** What is drawn over a picture: region, rulers, scale, divider, cross. */

import type { Picture, Placing } from "./picture";
import type { Point, Ruler, Stroke, View } from "./view";

const REGION = "rgb(64 196 255)";
const INK = "#ffd479";
const FAINT = "rgb(255 255 255 / 70%)";
const BARS_MM = [100, 50, 20, 10, 5, 2, 1];

export interface Scene {
  readonly picture: Picture;
  readonly placing: Placing;
  readonly view: View;
  /** Canvas pixels per CSS pixel. */
  readonly density: number;
  /** Where the keyboard's cross or the brush is, in the picture's pixels. */
  readonly cross: Point | null;
}

export function drawRegion(canvas: HTMLCanvasElement, scene: Scene): void {
  const context = canvas.getContext("2d")!;
  const { scale, left, top } = scene.placing;
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.globalCompositeOperation = "source-over";
  context.clearRect(0, 0, canvas.width, canvas.height);
  if (scene.view.strokes.length === 0) return;
  context.save();
  context.beginPath();
  context.rect(left, top, scene.picture.width * scale, scene.picture.height * scale);
  context.clip();
  context.setTransform(scale, 0, 0, scale, left, top);
  for (const stroke of scene.view.strokes) drawStroke(context, stroke);
  context.restore();
}

function drawStroke(context: CanvasRenderingContext2D, stroke: Stroke): void {
  context.globalCompositeOperation = stroke.erase ? "destination-out" : "source-over";
  context.strokeStyle = context.fillStyle = REGION;
  context.lineCap = context.lineJoin = "round";
  context.lineWidth = 2 * stroke.radius;
  const [first, ...rest] = stroke.points;
  context.beginPath();
  if (rest.length === 0) {
    context.arc(first.x, first.y, stroke.radius, 0, 2 * Math.PI);
    context.fill();
    return;
  }
  context.moveTo(first.x, first.y);
  for (const point of rest) context.lineTo(point.x, point.y);
  context.stroke();
}

export function drawMarks(canvas: HTMLCanvasElement, scene: Scene): void {
  const context = canvas.getContext("2d")!;
  const { view, density } = scene;
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.lineWidth = 1.5 * density;
  context.font = `${12 * density}px system-ui, sans-serif`;
  drawScale(context, canvas, scene);
  for (const ruler of view.rulers) drawRuler(context, scene, ruler);
  if (view.mode === "swipe") {
    const x = Math.round(view.divider * canvas.width) + 0.5;
    line(context, INK, [x, 0], [x, canvas.height]);
  }
  if (scene.cross) drawCross(context, scene, scene.cross);
}

/** Returns a length in words: in mm where the spacing is known, else in pixels. */
export function measured(ruler: Ruler, spacing: number | null): string {
  const pixels = Math.hypot(ruler.to.x - ruler.from.x, ruler.to.y - ruler.from.y);
  return spacing === null ? `${pixels.toFixed(0)} px` : `${(pixels * spacing).toFixed(1)} mm`;
}

function drawRuler(context: CanvasRenderingContext2D, scene: Scene, ruler: Ruler): void {
  const from = onCanvas(scene, ruler.from);
  const to = onCanvas(scene, ruler.to);
  line(context, INK, from, to);
  for (const [x, y] of [from, to]) {
    context.beginPath();
    context.arc(x, y, 3 * scene.density, 0, 2 * Math.PI);
    context.stroke();
  }
  const gap = 6 * scene.density;
  label(context, measured(ruler, scene.picture.spacing), to[0] + gap, to[1] - gap, scene.density);
}

function drawScale(
  context: CanvasRenderingContext2D,
  canvas: HTMLCanvasElement,
  { picture, placing, density }: Scene,
): void {
  if (picture.spacing === null) return;
  const perMm = placing.scale / picture.spacing;
  const length = BARS_MM.find((mm) => mm * perMm <= canvas.height * 0.4);
  if (length === undefined) return;
  const x = canvas.width - 10 * density;
  const middle = canvas.height / 2;
  const half = (length * perMm) / 2;
  line(context, FAINT, [x, middle - half], [x, middle + half]);
  for (let tick = 0; tick <= 10; tick++) {
    const y = middle - half + (tick / 10) * 2 * half;
    const reach = (tick % 5 === 0 ? 8 : 4) * density;
    line(context, FAINT, [x - reach, y], [x, y]);
  }
  const words = length >= 10 ? `${length / 10} cm` : `${length} mm`;
  context.textAlign = "right";
  label(context, words, x, middle + half + 16 * density, density);
  context.textAlign = "left";
}

function drawCross(context: CanvasRenderingContext2D, scene: Scene, cross: Point): void {
  const [x, y] = onCanvas(scene, cross);
  const { view, density, placing } = scene;
  if (view.tool === "brush" || view.tool === "erase") {
    context.strokeStyle = view.tool === "erase" ? INK : REGION;
    context.beginPath();
    context.arc(x, y, view.radius * placing.scale, 0, 2 * Math.PI);
    context.stroke();
  }
  const reach = 6 * density;
  line(context, INK, [x - reach, y], [x + reach, y]);
  line(context, INK, [x, y - reach], [x, y + reach]);
}

function label(
  context: CanvasRenderingContext2D,
  text: string,
  x: number,
  y: number,
  density: number,
): void {
  context.lineWidth = 3 * density;
  context.strokeStyle = "rgb(0 0 0 / 85%)";
  context.strokeText(text, x, y);
  context.fillStyle = INK;
  context.fillText(text, x, y);
  context.lineWidth = 1.5 * density;
}

function line(
  context: CanvasRenderingContext2D,
  ink: string,
  from: readonly [number, number],
  to: readonly [number, number],
): void {
  context.strokeStyle = ink;
  context.beginPath();
  context.moveTo(...(from as [number, number]));
  context.lineTo(...(to as [number, number]));
  context.stroke();
}

function onCanvas({ placing }: Scene, point: Point): [number, number] {
  return [point.x * placing.scale + placing.left, point.y * placing.scale + placing.top];
}
