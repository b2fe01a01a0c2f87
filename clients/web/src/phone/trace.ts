/** The phone's own path from above: a small canvas that always fits it, with a metre grid and the view direction. */

import type { Triple } from "./motion.js";

interface Spot {
  readonly x: number;
  readonly z: number;
}

const MAX_SPOTS = 1200;
const MIN_STEP_M = 0.03;
const MIN_EXTENT_M = 3;
const PADDING_PX = 26;

export class Trace {
  private readonly spots: Spot[] = [];
  private readonly context: CanvasRenderingContext2D | null;

  constructor(private readonly canvas: HTMLCanvasElement) {
    this.context = canvas.getContext("2d");
  }

  clear(): void {
    this.spots.length = 0;
  }

  add([x, , z]: Triple): void {
    const last = this.spots.at(-1);
    if (last !== undefined && Math.hypot(x - last.x, z - last.z) < MIN_STEP_M) return;
    this.spots.push({ x, z });
    if (this.spots.length > MAX_SPOTS) thin(this.spots);
  }

  /** Put what came before everything known; it is few. */
  precede(path: readonly Triple[]): void {
    const known = this.spots.splice(0);
    for (const place of path) this.add(place);
    this.spots.push(...known);
  }

  /** Draw with the camera at `here`, looking along `forward` (world axes; y is up and drops out). */
  draw(here: Triple, forward: Triple): void {
    const c = this.context;
    if (c === null) return;
    const { width, height } = this.canvas;
    const { x, z, pixelsPerM } = this.fit({ x: here[0], z: here[2] }, Math.min(width, height) - 2 * PADDING_PX);
    const toPixel = (spot: Spot): [number, number] => [
      width / 2 + (spot.x - x) * pixelsPerM,
      height / 2 + (spot.z - z) * pixelsPerM,
    ];
    c.clearRect(0, 0, width, height);
    this.drawGrid(c, toPixel({ x: 0, z: 0 }), pixelsPerM);
    c.strokeStyle = "#4fd6be";
    c.lineWidth = 4;
    c.lineJoin = c.lineCap = "round";
    c.beginPath();
    for (const spot of this.spots) c.lineTo(...toPixel(spot));
    c.stroke();
    this.drawSelf(c, toPixel({ x: here[0], z: here[2] }), Math.atan2(forward[2], forward[0]));
  }

  private fit(here: Spot, sizePx: number): { x: number; z: number; pixelsPerM: number } {
    const xs = [...this.spots.map((spot) => spot.x), here.x];
    const zs = [...this.spots.map((spot) => spot.z), here.z];
    const [left, right, back, front] = [Math.min(...xs), Math.max(...xs), Math.min(...zs), Math.max(...zs)];
    const extent = Math.max(right - left, front - back, MIN_EXTENT_M);
    return { x: (left + right) / 2, z: (back + front) / 2, pixelsPerM: sizePx / extent };
  }

  private drawGrid(c: CanvasRenderingContext2D, [ox, oy]: [number, number], pixelsPerM: number): void {
    const { width, height } = this.canvas;
    const step = pixelsPerM * (pixelsPerM > 12 ? 1 : 5);
    c.strokeStyle = "rgb(255 255 255 / 0.1)";
    c.lineWidth = 1;
    c.beginPath();
    for (let px = ox % step; px < width; px += step) c.rect(px, 0, 0, height);
    for (let py = oy % step; py < height; py += step) c.rect(0, py, width, 0);
    c.stroke();
  }

  private drawSelf(c: CanvasRenderingContext2D, [px, py]: [number, number], angle: number): void {
    const cone = c.createRadialGradient(px, py, 4, px, py, 60);
    cone.addColorStop(0, "rgb(255 255 255 / 0.65)");
    cone.addColorStop(1, "rgb(255 255 255 / 0)");
    c.fillStyle = cone;
    c.beginPath();
    c.moveTo(px, py);
    c.arc(px, py, 60, angle - 0.5, angle + 0.5);
    c.fill();
    c.fillStyle = "#fff";
    c.beginPath();
    c.arc(px, py, 8, 0, 2 * Math.PI);
    c.fill();
  }
}

/** Drop every second spot of the older half: the shape of a long walk stays, its memory does not grow. */
function thin(spots: Spot[]): void {
  const half = spots.length >> 1;
  spots.splice(0, half, ...spots.slice(0, half).filter((_, i) => i % 2 === 0));
}
