/** A body on a route: speeds up, slows down before the end, turns its face. Pure: seconds come in. */

import type { Vector3 } from "../../sdk/protocol.js";
import { apply, rotate, type Similarity } from "../../sdk/transform.js";
import { distance, Route } from "./route.js";

const ACCELERATION_M_S2 = 2.5;
const TURN_RATE_PER_S = 9;
/** How far ahead it looks: corners are taken as a curve of the eyes, not of the feet. */
const LOOK_AHEAD_M = 0.18;
/** A new route seldom starts exactly under the feet: the difference is walked off in about this time. */
const SETTLE_S = 0.25;
const THERE_M = 0.01;
const STEP_LENGTH_PER_HEIGHT = 0.42;

export class Walker {
  speedMS = 0;
  /** Angle about +Y; 0 looks along +Z. */
  headingRad = 0;
  /** Half turns of the gait since the beginning: one per step. */
  steps = 0;
  private route: Route;
  private alongM = 0;
  private offset: Vector3 = [0, 0, 0];

  constructor(
    place: Vector3,
    private readonly heightM: number,
  ) {
    this.route = new Route([place]);
  }

  get position(): Vector3 {
    const [x, y, z] = this.route.at(this.alongM);
    return [x + this.offset[0], y + this.offset[1], z + this.offset[2]];
  }

  /** Tall ones walk faster (equal Froude numbers): 1.35 m/s at 1.7 m. */
  get cruiseMS(): number {
    return 1.35 * Math.sqrt(this.heightM / 1.7);
  }

  get toGoM(): number {
    return this.route.lengthM - this.alongM;
  }

  get isThere(): boolean {
    return this.toGoM <= THERE_M;
  }

  get ahead(): readonly Vector3[] {
    return this.route.remaining(this.alongM);
  }

  tilesAhead(tileSizeM: number): Set<string> {
    return this.route.tilesAhead(this.alongM, tileSizeM);
  }

  /** Go on along another route from where it is now, without a jump. */
  follow(route: Route): void {
    const here = this.position;
    const alongM = route.project(here, 2 * this.cruiseMS); // what was walked while the answer was on its way
    const there = route.at(alongM);
    this.offset = [here[0] - there[0], here[1] - there[1], here[2] - there[2]];
    this.route = route;
    this.alongM = alongM;
  }

  stop(): void {
    this.route = new Route([this.position]);
    this.offset = [0, 0, 0];
    this.alongM = this.speedMS = 0;
  }

  advance(seconds: number): void {
    const brakingMS = Math.sqrt(2 * ACCELERATION_M_S2 * Math.max(0, this.toGoM));
    const wanted = Math.min(this.cruiseMS, brakingMS);
    const change = ACCELERATION_M_S2 * seconds;
    this.speedMS = Math.min(wanted, this.speedMS + change);
    if (this.isThere) this.speedMS = 0;
    const stepM = Math.min(this.toGoM, this.speedMS * seconds);
    if (stepM > 0) this.turnTo(this.route.at(this.alongM + LOOK_AHEAD_M + stepM), seconds);
    this.alongM += stepM;
    this.steps += stepM / (STEP_LENGTH_PER_HEIGHT * this.heightM);
    const kept = Math.exp(-seconds / SETTLE_S);
    this.offset = [this.offset[0] * kept, this.offset[1] * kept, this.offset[2] * kept];
  }

  /** The whole map moved, and it with the map. */
  moved(by: Similarity): void {
    const here = apply(by, this.position);
    const [x, , z] = rotate(by.quatWxyz, [Math.sin(this.headingRad), 0, Math.cos(this.headingRad)]);
    this.headingRad = Math.atan2(x, z);
    const share = this.route.lengthM > 0 ? this.alongM / this.route.lengthM : 0;
    this.route = this.route.moved(by);
    this.alongM = share * this.route.lengthM;
    const there = this.route.at(this.alongM);
    this.offset = [here[0] - there[0], here[1] - there[1], here[2] - there[2]];
  }

  private turnTo(target: Vector3, seconds: number): void {
    const here = this.route.at(this.alongM);
    if (distance(here, target) < 1e-3) return;
    const wanted = Math.atan2(target[0] - here[0], target[2] - here[2]);
    const turn = Math.atan2(Math.sin(wanted - this.headingRad), Math.cos(wanted - this.headingRad));
    this.headingRad += turn * (1 - Math.exp(-TURN_RATE_PER_S * seconds));
  }
}
