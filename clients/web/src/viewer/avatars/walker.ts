/** A body on a route: speeds up, slows down before the end, turns its face. Pure: seconds come in. */

import type { Vector3 } from "../../sdk/protocol.js";
import { apply, rotate, type Similarity } from "../../sdk/transform.js";
import type { Vector2 } from "./avoidance.js";
import { distance, Route } from "./route.js";

const ACCELERATION_M_S2 = 2.5;
const TURN_RATE_PER_S = 9;
/** How far ahead it looks: corners are taken as a curve of the eyes, not of the feet. */
const LOOK_AHEAD_M = 0.18;
/** A new route seldom starts exactly under the feet: the difference is walked off in about this time. */
const SETTLE_S = 0.25;
const THERE_M = 0.01;
const STEP_LENGTH_PER_HEIGHT = 0.42;
/** Who was pushed aside heads for the route so far ahead, and comes back to it no faster than this. */
const REJOIN_M = 1;
const REJOIN_M_S = 1;
/** How far beside its route somebody else may push it. */
const MOST_ASIDE_M = 1.2;

/** Turns the velocity that is wanted into the one that is walked; the same object = nothing is in the way. */
export type Steer = (wanted: Vector2) => Vector2;

export class Walker {
  speedMS = 0;
  /** Angle about +Y; 0 looks along +Z. */
  headingRad = 0;
  /** Half turns of the gait since the beginning: one per step. */
  steps = 0;
  private route: Route;
  private alongM = 0;
  private offset: Vector3 = [0, 0, 0];
  private walked: Vector2 = [0, 0];

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
    this.walked = [0, 0];
  }

  /** Metres per second on the ground. */
  get velocity(): Vector2 {
    return this.walked;
  }

  advance(seconds: number, steer: Steer = (wanted) => wanted): void {
    const brakingMS = Math.sqrt(2 * ACCELERATION_M_S2 * Math.max(0, this.toGoM));
    this.speedMS = Math.min(this.cruiseMS, brakingMS, this.speedMS + ACCELERATION_M_S2 * seconds);
    if (this.isThere) this.speedMS = 0;
    const wanted = this.wanted();
    const chosen = steer(wanted);
    this.walked = chosen;
    if (chosen !== wanted) return this.dodge(chosen, seconds);
    const stepM = Math.min(this.toGoM, this.speedMS * seconds);
    if (stepM > 0) this.turnTo(this.route.at(this.alongM + LOOK_AHEAD_M + stepM), seconds);
    this.alongM += stepM;
    this.steps += stepM / (STEP_LENGTH_PER_HEIGHT * this.heightM);
    const aside = Math.max(Math.hypot(...this.offset), 1e-9);
    const kept = Math.max(Math.exp(-seconds / SETTLE_S), 1 - (REJOIN_M_S * seconds) / aside);
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

  /** Along the route, and slowly back to it. */
  private wanted(): Vector2 {
    const [here, ahead] = [this.position, this.route.at(this.alongM + REJOIN_M)];
    const [dx, dz] = [ahead[0] - here[0], ahead[2] - here[2]];
    const pace = this.speedMS / Math.max(Math.hypot(dx, dz), 1e-6);
    return [dx * pace, dz * pace];
  }

  private direction(): Vector2 {
    const [from, to] = [this.route.at(this.alongM), this.route.at(this.alongM + LOOK_AHEAD_M)];
    const length = Math.hypot(to[0] - from[0], to[2] - from[2]);
    return length > 0 ? [(to[0] - from[0]) / length, (to[2] - from[2]) / length] : [0, 0];
  }

  /** Go where there is room: what of it leads along the route is progress, the rest is offset. */
  private dodge([vx, vz]: Vector2, seconds: number): void {
    const [dx, dz] = this.direction();
    const stepM = Math.min(this.toGoM, Math.max(0, vx * dx + vz * dz) * seconds);
    const before = this.position;
    const speed = Math.hypot(vx, vz);
    this.alongM += stepM;
    const there = this.route.at(this.alongM);
    const [ox, oz] = [before[0] + vx * seconds - there[0], before[2] + vz * seconds - there[2]];
    const kept = Math.min(1, MOST_ASIDE_M / Math.max(Math.hypot(ox, oz), MOST_ASIDE_M));
    this.offset = [ox * kept, this.offset[1] * Math.exp(-seconds / SETTLE_S), oz * kept];
    this.speedMS = Math.min(this.speedMS, Math.max(speed, 0.2 * this.cruiseMS));
    this.steps += (speed * seconds) / (STEP_LENGTH_PER_HEIGHT * this.heightM);
    if (speed > 0.1) this.face(Math.atan2(vx, vz), seconds);
  }

  private turnTo(target: Vector3, seconds: number): void {
    const here = this.route.at(this.alongM);
    if (distance(here, target) < 1e-3) return;
    this.face(Math.atan2(target[0] - here[0], target[2] - here[2]), seconds);
  }

  private face(wanted: number, seconds: number): void {
    const turn = Math.atan2(Math.sin(wanted - this.headingRad), Math.cos(wanted - this.headingRad));
    this.headingRad += turn * (1 - Math.exp(-TURN_RATE_PER_S * seconds));
  }
}
