/** How old what is on the screen is, and which hop took how much of it. */

import type { Delta } from "../sdk/protocol.js";

export const HOPS = ["infer", "publish", "receive", "draw"] as const;
export type Hop = (typeof HOPS)[number];
/** Poses are answered by the tracker at once; everything else goes through the engine and the map. */
export type Track = "pose" | "map";

export interface Waterfall {
  readonly track: Track;
  /** Median milliseconds of each hop, counted from the one before (the first from the capture). */
  readonly hopMs: Readonly<Record<Hop, number>>;
  readonly totalMs: number;
}

interface Stamps {
  readonly captureNs: bigint;
  readonly inferNs: bigint;
  readonly publishNs: bigint;
  readonly receivedNs: bigint;
}

const SAMPLES = 90;
const MAP_LAYERS: ReadonlySet<string> = new Set(["points", "mesh", "nav", "occluder"]);

export class LatencyMeter {
  private readonly samples: Readonly<Record<Track, Record<Hop, number>[]>> = { pose: [], map: [] };
  private readonly newestCaptureNs = new Map<Track, bigint>();
  private waiting: { track: Track; stamps: Stamps }[] = [];

  /** A message arrived; what an old snapshot holds says nothing about the present and is left out. */
  received({ layer, capture_ns, infer_ns, publish_ns }: Delta, receivedNs: bigint, isLive: boolean): void {
    const track = layer === "pose" ? "pose" : MAP_LAYERS.has(layer) ? "map" : null;
    if (track === null || capture_ns === 0n) return;
    const newest = this.newestCaptureNs.get(track) ?? 0n;
    if (capture_ns > newest) this.newestCaptureNs.set(track, capture_ns);
    if (!isLive || this.waiting.length >= SAMPLES) return;
    this.waiting.push({ track, stamps: { captureNs: capture_ns, inferNs: infer_ns, publishNs: publish_ns, receivedNs } });
  }

  /** A frame was drawn: everything received before it is now on the screen. */
  drawn(drawnNs: bigint): void {
    for (const { track, stamps } of this.waiting) {
      const samples = this.samples[track];
      samples.push({
        infer: ms(stamps.inferNs - stamps.captureNs),
        publish: ms(stamps.publishNs - stamps.inferNs),
        receive: ms(stamps.receivedNs - stamps.publishNs),
        draw: ms(drawnNs - stamps.receivedNs),
      });
      if (samples.length > SAMPLES) samples.shift();
    }
    this.waiting = [];
  }

  /** Age of the newest pixels behind what is shown, in seconds; null before the first. */
  ageS(track: Track, nowNs: bigint): number | null {
    const newest = this.newestCaptureNs.get(track);
    return newest === undefined ? null : ms(nowNs - newest) / 1000;
  }

  waterfall(track: Track): Waterfall | null {
    const samples = this.samples[track];
    if (samples.length === 0) return null;
    const hopMs = Object.fromEntries(HOPS.map((hop) => [hop, median(samples.map((s) => s[hop]))])) as Record<Hop, number>;
    return { track, hopMs, totalMs: HOPS.reduce((sum, hop) => sum + hopMs[hop], 0) };
  }

  clear(): void {
    this.samples.pose.length = this.samples.map.length = 0;
    this.newestCaptureNs.clear();
    this.waiting = [];
  }
}

/** Clocks of two machines agree to a millisecond or so: a hop is never shown as negative. */
function ms(ns: bigint): number {
  return Math.max(0, Number(ns) / 1e6);
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? 0;
}
