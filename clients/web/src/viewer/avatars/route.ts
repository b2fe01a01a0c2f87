/** A way on the ground as a polyline that is walked by arc length. Pure: no clock, no drawing. */

import type { Vector3 } from "../../sdk/protocol.js";
import { apply, type Similarity } from "../../sdk/transform.js";

export class Route {
  /** Arc length at each point. */
  private readonly alongM: readonly number[];

  constructor(readonly points: readonly Vector3[]) {
    if (points.length === 0) throw new RangeError("a route has at least one point");
    let total = 0;
    this.alongM = points.map((point, i) => (total += i === 0 ? 0 : distance(points[i - 1] ?? point, point)));
  }

  get lengthM(): number {
    return this.alongM.at(-1) ?? 0;
  }

  get end(): Vector3 {
    return this.points.at(-1) ?? [0, 0, 0];
  }

  /** The point at an arc length, ends included. */
  at(alongM: number): Vector3 {
    const leg = this.leg(alongM);
    const [from, to] = [this.points[leg] ?? this.end, this.points[leg + 1] ?? this.end];
    const [start, stop] = [this.alongM[leg] ?? 0, this.alongM[leg + 1] ?? this.lengthM];
    const share = stop > start ? Math.min(1, Math.max(0, (alongM - start) / (stop - start))) : 0;
    return mix(from, to, share);
  }

  /** Arc length of the point nearest to a place, not beyond `withinM`. */
  project(place: Vector3, withinM = Infinity): number {
    let [best, bestDistance] = [0, Infinity];
    for (let i = 0; i + 1 < this.points.length && (this.alongM[i] ?? 0) <= withinM; i++) {
      const [from, to] = [this.points[i] ?? place, this.points[i + 1] ?? place];
      const share = Math.min(1, Math.max(0, shareAlong(place, from, to)));
      const away = distance(place, mix(from, to, share));
      if (away >= bestDistance) continue;
      bestDistance = away;
      best = (this.alongM[i] ?? 0) + share * distance(from, to);
    }
    return best;
  }

  /** What is still to be walked: the place at an arc length and every point after it. */
  remaining(alongM: number): Vector3[] {
    return [this.at(alongM), ...this.points.filter((_, i) => (this.alongM[i] ?? 0) > alongM)];
  }

  /** Names `x,z` of the tiles that the rest of the way passes over. */
  tilesAhead(alongM: number, tileSizeM: number): Set<string> {
    const tiles = new Set<string>();
    const add = ([x, , z]: Vector3): void => void tiles.add(`${Math.floor(x / tileSizeM)},${Math.floor(z / tileSizeM)}`);
    const step = tileSizeM / 16;
    for (let along = alongM; along < this.lengthM; along += step) add(this.at(along));
    add(this.end);
    return tiles;
  }

  moved(by: Similarity): Route {
    return new Route(this.points.map((point) => apply(by, point)));
  }

  private leg(alongM: number): number {
    const next = this.alongM.findIndex((start) => start > alongM);
    return next < 0 ? Math.max(0, this.points.length - 2) : Math.max(0, next - 1);
  }
}

export function distance(a: Vector3, b: Vector3): number {
  return Math.hypot(b[0] - a[0], b[1] - a[1], b[2] - a[2]);
}

function mix(a: Vector3, b: Vector3, share: number): Vector3 {
  return [a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share, a[2] + (b[2] - a[2]) * share];
}

function shareAlong(place: Vector3, from: Vector3, to: Vector3): number {
  const [dx, dy, dz] = [to[0] - from[0], to[1] - from[1], to[2] - from[2]];
  const lengthSquared = dx * dx + dy * dy + dz * dz;
  if (lengthSquared === 0) return 0;
  return ((place[0] - from[0]) * dx + (place[1] - from[1]) * dy + (place[2] - from[2]) * dz) / lengthSquared;
}
