/** All avatars of the page: brings pilots, figures, the server's answers and the map's changes together. */

import * as THREE from "three";
import { ApiError } from "../../sdk/api.js";
import type { Change, SceneMap } from "../../sdk/map.js";
import type { Key, Vector3, Xform } from "../../sdk/protocol.js";
import type { Agent, MapQueries } from "../../sdk/queries.js";
import type { Similarity } from "../../sdk/transform.js";
import type { Stage } from "../stage.js";
import type { Obstacle } from "../things/things.js";
import { type Body, placeBeside, steer, type Vector2 } from "./avoidance.js";
import { Figure } from "./figure.js";
import { type Failure, Pilot, type Plan } from "./pilot.js";

/** Each tab's own; a crowd belongs into a game. */
export const MOST_AVATARS = 8;
const COLORS = [0xff8a5c, 0x6ec1ff, 0xb8e36b, 0xf58fb5, 0xc9a5ff, 0xffd166, 0x5eead4, 0xff6b6b];
/** The straight line between two corners of a way may pass above or below the floor by this much. */
const GROUND_REACH_M = 0.5;
const GROUND_PULL_PER_S = 14;
/** How far ahead there must be ground to dodge to. */
const STEP_AHEAD_S = 0.25;
/** Two in a narrow place make themselves as slim as this, in so many seconds. */
const SLIMMEST = 0.35;
const SLIM_IN_S = 2.5;
/** Others on the same storey are at most so far above or below. */
const STOREY_M = 1;
/** Things stand still: those so near are looked for only now and then. */
const LOOK_M = 5;
const LOOK_EVERY_MS = 500;

export interface Avatar {
  readonly number: number;
  readonly pilot: Pilot;
  readonly figure: Figure;
  readonly radiusM: number;
  groundOffsetM: number;
  /** How long others have kept it from getting on. */
  heldUpS: number;
  /** Things to be walked around, as seen when it looked last. */
  obstacles: readonly Body[];
  lookAgainMs: number;
}

interface Surroundings {
  readonly stage: Stage;
  readonly queries: MapQueries;
  /** The scene on show. */
  readonly scene: () => string;
  readonly map: () => SceneMap | null;
  readonly floors: (agent: string) => THREE.Object3D[];
  /** Virtual things, wherever they stand. */
  readonly obstacles: () => readonly Obstacle[];
}

export class Party {
  chosen: Avatar | null = null;
  /** Something happened that people are told. */
  onNews: (text: string) => void = () => undefined;
  private avatars: Avatar[] = [];
  private readonly group = new THREE.Group();
  private readonly down = new THREE.Raycaster();
  private clockMs = 0;

  constructor(private readonly around: Surroundings) {
    around.stage.scene.add(this.group);
  }

  get all(): readonly Avatar[] {
    return this.avatars;
  }

  get isFull(): boolean {
    return this.avatars.length >= MOST_AVATARS;
  }

  add(place: Vector3, agent: Agent): Avatar {
    const used = new Set(this.avatars.map(({ figure }) => figure.color));
    const color = COLORS.find((one) => !used.has(one)) ?? 0xffffff;
    const figure = new Figure(color, agent.heightM, agent.radiusM);
    const pilot = new Pilot(place, agent.name, agent.heightM, this.around.map()?.info?.epoch ?? 0);
    const { x, z } = this.around.stage.camera.position;
    pilot.walker.headingRad = Math.atan2(x - place[0], z - place[2]); // it looks at who made it
    const numbers = new Set(this.avatars.map(({ number }) => number));
    let number = 1;
    while (numbers.has(number)) number += 1;
    const state = { groundOffsetM: 0, heldUpS: 0, obstacles: [], lookAgainMs: 0 };
    const avatar: Avatar = { number, pilot, figure, radiusM: agent.radiusM, ...state };
    this.avatars.push(avatar);
    this.group.add(figure.group);
    this.choose(avatar);
    return avatar;
  }

  remove(avatar: Avatar): void {
    this.avatars = this.avatars.filter((one) => one !== avatar);
    avatar.figure.dispose();
    if (this.chosen === avatar) this.choose(this.avatars.at(-1) ?? null);
    this.around.stage.invalidate();
  }

  clear(): void {
    for (const avatar of [...this.avatars]) this.remove(avatar);
  }

  choose(avatar: Avatar | null): void {
    this.chosen = avatar;
    for (const one of this.avatars) one.figure.showChosen(one === avatar);
    this.draw(0);
  }

  /** To a place, or beside it where another stands or is about to. */
  send(avatar: Avatar, [x, y, z]: Vector3): void {
    const others = this.avatars.filter((one) => one !== avatar);
    const standing = others.map((one) => ({ ...bodyOf(one), at: one.pilot.goal ?? one.pilot.walker.position }));
    const people = standing.filter(({ at }) => isLevel(at, y)).map(({ at, ...body }) => ({ ...body, place: flat(at) }));
    const taken = [...people, ...this.obstaclesNear([x, y, z], avatar.pilot.agent)];
    const isGround = ([gx, gz]: Vector2): boolean => this.heightUnder([gx, y, gz], avatar.pilot.agent) !== null;
    const [freeX, freeZ] = placeBeside([x, z], taken, avatar.radiusM, isGround);
    const goal: Vector3 = [freeX, this.heightUnder([freeX, y, freeZ], avatar.pilot.agent) ?? y, freeZ];
    avatar.pilot.send(goal, this.clockMs);
    this.ask(avatar);
  }

  /** The avatar under a pixel of the page. */
  at(clientX: number, clientY: number): Avatar | null {
    const targets = this.avatars.map(({ figure }) => figure.target);
    const hit = this.around.stage.pick(clientX, clientY, targets, true);
    return this.avatars.find(({ figure }) => figure === hit?.object.userData.figure) ?? null;
  }

  mapChanged(change: Change): void {
    if (change.kind === "moved") this.moved(change.xform);
    if (change.kind === "scene" && change.reset) this.clear();
    if ((change.kind !== "set" && change.kind !== "removed") || change.layer !== "nav") return;
    for (const { pilot } of this.avatars) pilot.tileChanged(change.key, this.clockMs);
  }

  tick(seconds: number): void {
    this.clockMs += seconds * 1000;
    let isMoving = false;
    for (const avatar of this.avatars) {
      const { pilot } = avatar;
      this.ask(avatar);
      if (pilot.advance(seconds, (wanted) => this.steer(avatar, wanted, seconds))) this.onNews(arrivalNews(avatar));
      isMoving ||= pilot.mood === "walking" || pilot.mood === "planning";
    }
    if (isMoving || this.avatars.some(({ figure }) => !figure.isAtRest)) this.draw(seconds);
  }

  /** Out of the others' way, but not off the floor. */
  private steer(avatar: Avatar, wanted: Vector2, seconds: number): Vector2 {
    const [x, y, z] = avatar.pilot.walker.position;
    if (this.clockMs >= avatar.lookAgainMs) {
      avatar.lookAgainMs = this.clockMs + LOOK_EVERY_MS;
      avatar.obstacles = this.obstaclesNear([x, y, z], avatar.pilot.agent);
    }
    const level = this.avatars.filter((one) => one !== avatar && isLevel(one.pilot.walker.position, y));
    const mayGo = ([vx, vz]: Vector2): boolean =>
      this.heightUnder([x + vx * STEP_AHEAD_S, y, z + vz * STEP_AHEAD_S], avatar.pilot.agent) !== null;
    const chosen = steer(bodyOf(avatar), wanted, [...level.map(bodyOf), ...avatar.obstacles], mayGo);
    const isHeldUp = chosen !== wanted && Math.hypot(...chosen) < 0.5 * Math.hypot(...wanted);
    avatar.heldUpS = Math.max(0, avatar.heldUpS + (isHeldUp ? seconds : -seconds));
    return chosen;
  }

  private draw(seconds: number): void {
    for (const avatar of this.avatars) {
      const { pilot, figure } = avatar;
      const { walker } = pilot;
      const [x, y, z] = walker.position;
      const offset = this.groundUnder([x, y, z], pilot.agent) - y;
      const pull = seconds > 0 ? 1 - Math.exp(-GROUND_PULL_PER_S * seconds) : 1;
      avatar.groundOffsetM += (offset - avatar.groundOffsetM) * pull;
      figure.place([x, y + avatar.groundOffsetM, z], walker.headingRad, walker.steps, walker.speedMS / walker.cruiseMS);
      const isUnderWay = pilot.mood === "walking" || pilot.mood === "planning";
      figure.showWay(pilot.mood === "walking" ? walker.ahead : []);
      figure.showGoal(isUnderWay ? pilot.goal : null, this.clockMs / 1000);
    }
    this.around.stage.invalidate();
  }

  /** Things on the same storey, where this agent's floor goes on below them. */
  private obstaclesNear([x, y, z]: Vector3, agent: string): Body[] {
    const near = this.around.obstacles().filter(({ foot }) => isLevel(foot, y) && Math.hypot(foot[0] - x, foot[2] - z) < LOOK_M);
    const inTheWay = near.filter(({ foot }) => this.heightUnder(foot, agent) !== null);
    return inTheWay.map(({ foot, radiusM }) => ({ place: flat(foot), velocity: [0, 0], radiusM }));
  }

  /** Height of the floor at a place, or the place's own where there is none. */
  private groundUnder(place: Vector3, agent: string): number {
    return this.heightUnder(place, agent) ?? place[1];
  }

  /** Height of the floor at a place; null where there is none. */
  private heightUnder([x, y, z]: Vector3, agent: string): number | null {
    this.down.set(new THREE.Vector3(x, y + GROUND_REACH_M, z), new THREE.Vector3(0, -1, 0));
    this.down.far = 2 * GROUND_REACH_M;
    const hits = this.down.intersectObjects(this.around.floors(agent), false);
    const heights = hits.map(({ point }) => point.y).sort((a, b) => Math.abs(a - y) - Math.abs(b - y));
    return heights[0] ?? null;
  }

  private moved({ scale, quat_wxyz: quatWxyz, translation_m: translation, epoch }: Xform): void {
    const by: Similarity = { scale, quatWxyz, translation };
    for (const { pilot } of this.avatars) pilot.moved(by, epoch, this.clockMs);
    this.draw(0);
  }

  private ask(avatar: Avatar): void {
    const plan = avatar.pilot.next(this.clockMs);
    if (plan !== null) void this.fetchRoute(avatar, plan);
  }

  private async fetchRoute(avatar: Avatar, { id, from, to, epoch }: Plan): Promise<void> {
    const { pilot } = avatar;
    const moodBefore = pilot.mood;
    try {
      const answer = await this.around.queries.path(this.around.scene(), from, to, { agent: pilot.agent, epoch });
      pilot.answered(id, answer, this.clockMs, (key: Key) => this.around.map()?.get("nav", key)?.delta.ver ?? null);
    } catch (error) {
      pilot.failed(id, failureOf(error), this.clockMs);
    }
    if (pilot.mood === "blocked" && moodBefore !== "blocked") this.onNews(`Avatar ${avatar.number}: ${pilot.trouble}`);
    this.draw(0);
  }
}

function bodyOf({ pilot, radiusM, heldUpS }: Avatar): Body {
  const slim = Math.max(SLIMMEST, 1 - heldUpS / SLIM_IN_S);
  const velocity: Vector2 = pilot.mood === "walking" ? pilot.walker.velocity : [0, 0];
  return { place: flat(pilot.walker.position), velocity, radiusM: slim * radiusM };
}

function isLevel(place: Vector3, y: number): boolean {
  return Math.abs(place[1] - y) < STOREY_M;
}

function flat([x, , z]: Vector3): Vector2 {
  return [x, z];
}

function failureOf(error: unknown): Failure {
  if (!(error instanceof ApiError)) return { text: "The server is out of reach.", retryMs: 0 };
  const mayPass = error.status === 409 || error.mayPass;
  return { text: error.message, retryMs: mayPass ? (error.retryAfterS ?? 0) * 1000 : null };
}

function arrivalNews({ number, pilot }: Avatar): string {
  if (pilot.mood === "arrived") return `Avatar ${number} has arrived. Click where it should go next.`;
  return `Avatar ${number} can get no nearer. ${pilot.trouble}`;
}
