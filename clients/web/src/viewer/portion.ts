/** How much of a map this page asks for: less, once it could not keep up. A pure policy; times are in milliseconds. */

import type { SubscribeOptions } from "../sdk/client.js";
import { CLOSE_TOO_SLOW, DEFAULT_LAYERS } from "../sdk/protocol.js";

/** What a browser reports when a connection was cut: the server's own word does not get through a full line. */
const CLOSE_CUT = 1006;
const STALL_MS = 2000;
/** Whoever is away for longer slept: that says nothing about what this page can show. */
const SLEEP_MS = 60_000;
/** The server waits 10 s for a page that does not read, then a little longer for it to take the close. */
const STALL_COUNTS_MS = 20_000;

const WITHOUT_POINTS = DEFAULT_LAYERS.filter((layer) => layer !== "points");
/** From all there is to the least that is worth showing. */
const PORTIONS: readonly SubscribeOptions[] = [{}, { layers: WITHOUT_POINTS }, { layers: WITHOUT_POINTS, maxHz: 1 }];

export class Portion {
  private step = 0;
  private lastBeatMs: number | null = null;
  private lastStallMs = -Infinity;

  get request(): SubscribeOptions {
    return PORTIONS[this.step] ?? {};
  }

  get hasPoints(): boolean {
    return this.step === 0;
  }

  /** To be called some times a second while the page is in view. */
  beat(nowMs: number): void {
    if (this.isStalled(nowMs)) this.lastStallMs = nowMs;
    this.lastBeatMs = nowMs;
  }

  /** The page went out of view: browsers wake it rarely there, which is no stall. */
  rest(): void {
    this.lastBeatMs = null;
  }

  /** The connection was lost; whether that was this page's own fault. If so, the next request is for less. */
  lost(closeCode: number, nowMs: number): boolean {
    const wasBusy = this.isStalled(nowMs) || nowMs - this.lastStallMs < STALL_COUNTS_MS;
    if (closeCode !== CLOSE_TOO_SLOW && !(closeCode === CLOSE_CUT && wasBusy)) return false;
    this.step = Math.min(this.step + 1, PORTIONS.length - 1);
    return true;
  }

  /** The person asks for everything again. */
  restore(): void {
    this.step = 0;
    this.lastStallMs = -Infinity;
  }

  private isStalled(nowMs: number): boolean {
    const gapMs = this.lastBeatMs === null ? 0 : nowMs - this.lastBeatMs;
    return gapMs > STALL_MS && gapMs < SLEEP_MS;
  }
}
