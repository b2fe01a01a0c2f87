/**
 * Decides for one avatar when to ask for a way, and what to make of the answer. Pure: `nowMs` comes in, questions go out.
 *
 * A route rests on tiles. When one under the rest of the way changes, the avatar walks on and asks anew, after a short
 * silence (a keyframe changes several tiles), but not often. Where there is no way it waits for the map to change.
 */

import type { PathAnswer } from "../../sdk/queries.js";
import type { Key, Vector3 } from "../../sdk/protocol.js";
import { apply, type Similarity } from "../../sdk/transform.js";
import { Route } from "./route.js";
import { type Steer, Walker } from "./walker.js";

export const QUIET_MS = 150;
export const LONGEST_QUIET_MS = 600;
export const LEAST_GAP_MS = 300;
export const HOPELESS_GAP_MS = 1500;
const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 8000;
/** A correction of the map that the server knows and we do not is on its way to us. */
const EPOCH_RETRY_MS = 250;

export type Mood = "idle" | "planning" | "walking" | "arrived" | "blocked" | "offline";

export interface Plan {
  readonly id: number;
  readonly from: Vector3;
  readonly to: Vector3;
  readonly epoch: number;
}

/** Why there is no way, and how long to wait before asking again; null = it makes no sense to. */
export interface Failure {
  readonly text: string;
  readonly retryMs: number | null;
}

export class Pilot {
  mood: Mood = "idle";
  goal: Vector3 | null = null;
  /** What people are told when it is blocked or offline. */
  trouble = "";
  /** Routes taken since the last goal: tells a re-plan from a first plan. */
  plans = 0;
  readonly walker: Walker;
  private answer: PathAnswer | null = null;
  private askAtMs: number | null = null;
  private firstChangeMs: number | null = null;
  private inFlight: number | null = null;
  private lastAskMs = -Infinity;
  private retryMs = FIRST_RETRY_MS;
  private nextId = 1;

  constructor(
    place: Vector3,
    readonly agent: string,
    heightM: number,
    private epoch: number,
  ) {
    this.walker = new Walker(place, heightM);
  }

  /** Go there. */
  send(goal: Vector3, nowMs: number): void {
    this.goal = goal;
    this.plans = 0;
    this.trouble = "";
    this.retryMs = FIRST_RETRY_MS;
    this.inFlight = null; // its answer would lead elsewhere
    this.mood = "planning";
    this.askAt(nowMs);
  }

  /** The question to ask now, if it is time for one. */
  next(nowMs: number): Plan | null {
    if (this.goal === null || this.askAtMs === null || this.inFlight !== null || nowMs < this.askAtMs) return null;
    this.askAtMs = this.firstChangeMs = null;
    this.lastAskMs = nowMs;
    this.inFlight = this.nextId++;
    return { id: this.inFlight, from: this.walker.position, to: this.goal, epoch: this.epoch };
  }

  /** @param versionOf the newest version of a nav tile that we hold; null when we hold none */
  answered(id: number, answer: PathAnswer, nowMs: number, versionOf: (key: Key) => number | null): void {
    if (id !== this.inFlight) return;
    this.inFlight = null;
    if (answer.epoch !== this.epoch) return this.askAt(nowMs + EPOCH_RETRY_MS);
    this.retryMs = FIRST_RETRY_MS;
    this.answer = answer;
    if (!answer.found) {
      this.walker.stop();
      this.mood = "blocked";
      this.trouble = REASONS[answer.reason ?? ""] ?? "No way leads there.";
      return;
    }
    this.plans += 1;
    this.walker.follow(new Route(answer.points));
    this.mood = "walking";
    this.trouble = answer.partial ? (REASONS[answer.reason ?? ""] ?? "") : "";
    const changed = answer.tiles.filter(({ key, ver }) => (versionOf(key) ?? Infinity) > ver);
    for (const { key } of changed) this.tileChanged(key, nowMs);
  }

  failed(id: number, { text, retryMs }: Failure, nowMs: number): void {
    if (id !== this.inFlight) return;
    this.inFlight = null;
    if (retryMs === null) {
      this.walker.stop();
      this.mood = "blocked";
      this.trouble = text;
      return;
    }
    if (this.mood !== "walking") [this.mood, this.trouble] = ["offline", text];
    this.askAt(nowMs + Math.max(retryMs, this.retryMs));
    this.retryMs = Math.min(2 * this.retryMs, LAST_RETRY_MS);
  }

  /** A nav tile of this agent has a new version, or is gone. */
  tileChanged([x, z, agent]: Key, nowMs: number): void {
    if (agent !== this.agent || this.goal === null || this.mood === "arrived") return;
    if (this.isHopeless) return this.askNoSoonerThan(this.lastAskMs + HOPELESS_GAP_MS, nowMs);
    if (this.mood !== "walking" || this.answer === null) return;
    if (!this.walker.tilesAhead(this.answer.tileSizeM).has(`${x},${z}`)) return;
    this.askNoSoonerThan(this.lastAskMs + LEAST_GAP_MS, nowMs);
  }

  /** The whole map moved. */
  moved(by: Similarity, epoch: number, nowMs: number): void {
    this.epoch = epoch;
    this.walker.moved(by);
    if (this.goal === null) return;
    this.goal = apply(by, this.goal);
    if (this.mood !== "arrived") this.askAt(nowMs + QUIET_MS);
  }

  /** Walk on; returns whether it has just arrived where it was sent, or as near as it can get. */
  advance(seconds: number, steer?: Steer): boolean {
    if (this.mood !== "walking") return false;
    this.walker.advance(seconds, steer);
    if (!this.walker.isThere) return false;
    this.mood = this.answer?.partial ? "blocked" : "arrived";
    if (this.mood === "arrived") this.askAtMs = this.firstChangeMs = null;
    return true;
  }

  /** No way, or only a part of one: what is missing may yet be mapped. */
  private get isHopeless(): boolean {
    return this.mood === "blocked" || this.answer?.partial === true;
  }

  private askNoSoonerThan(earliestMs: number, nowMs: number): void {
    this.firstChangeMs ??= nowMs;
    const quietMs = Math.min(nowMs + QUIET_MS, this.firstChangeMs + LONGEST_QUIET_MS);
    this.askAt(Math.max(quietMs, earliestMs));
  }

  private askAt(atMs: number): void {
    this.askAtMs = atMs;
  }
}

const REASONS: Readonly<Record<string, string>> = {
  start_off_mesh: "The floor under it is gone.",
  goal_off_mesh: "There is no walkable floor there.",
  unreachable: "No known way leads there.",
  too_far: "That is too far to find a way.",
  out_of_time: "The server is busy.",
};
