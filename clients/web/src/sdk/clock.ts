/** The server's clock, seen from here: an NTP-style offset taken from the ping that travelled fastest. */

export interface ClockSample {
  offsetNs: bigint;
  rttNs: bigint;
}

const QUICK_SAMPLES = 8;
const QUICK_INTERVAL_MS = 100;
const UNSURE_INTERVAL_MS = 500;
const STEADY_INTERVAL_MS = 5000;
const UNSURE_RTT_NS = 40_000_000n;

export class ClockEstimate {
  private readonly window: ClockSample[] = [];

  /** @param windowSize pings kept; an old lucky ping must not outlive the drift of a crystal (24 x 5 s = 2 min) */
  constructor(private readonly windowSize = 24) {}

  /**
   * Take a ping sent at t0 (local), received at t1 and answered at t2 (server), heard at t3 (local); Unix ns. Returns what
   * it says; null when one of the clocks was set between two readings.
   */
  add(t0: bigint, t1: bigint, t2: bigint, t3: bigint): ClockSample | null {
    const rttNs = t3 - t0 - (t2 - t1);
    if (rttNs < 0n) return null;
    const sample = { offsetNs: (t1 - t0 + (t2 - t3)) / 2n, rttNs };
    this.window.push(sample);
    if (this.window.length > this.windowSize) this.window.shift();
    return sample;
  }

  get samples(): number {
    return this.window.length;
  }

  /** Server minus local; zero error is bounded by half the round trip. `null` before the first answer. */
  get best(): ClockSample | null {
    return this.window.reduce<ClockSample | null>((a, b) => (a !== null && a.rttNs <= b.rttNs ? a : b), null);
  }

  /**
   * When to ping again after the `sent`-th ping: quickly at the start, every five seconds later, and more often while
   * every answer so far had to wait (a page that compiles or draws hears pongs late).
   */
  nextPingMs(sent: number): number {
    if (sent < QUICK_SAMPLES) return QUICK_INTERVAL_MS;
    return (this.best?.rttNs ?? 0n) > UNSURE_RTT_NS ? UNSURE_INTERVAL_MS : STEADY_INTERVAL_MS;
  }

  toServer(localNs: bigint): bigint {
    return localNs + (this.best?.offsetNs ?? 0n);
  }
}

/** Unix ns of the local clock; monotonic within a page, since `performance` never steps back. */
export function localNowNs(): bigint {
  return BigInt(Math.round((performance.timeOrigin + performance.now()) * 1000)) * 1000n;
}
