/**
 * Which instant an RTP timestamp stands for. Browsers derive it from the capture time, `rtp = 90 * capture_ms + C`; this
 * file finds C by pairing the stamps of encoded frames with the capture times of displayed ones.
 */

const TICKS_PER_MS = 90;
const RTP_WRAP = 2 ** 32;
const KEPT = 90;
/** An encoder holds a frame no longer than this. */
const MAX_ENCODE_MS = 250;
const MIN_VOTES = 8;
/** Stamps are rounded to whole milliseconds, and so are the votes for C. */
const TOLERANCE_MS = 1.5;
/**
 * Pairing every frame with its neighbour instead gives a C that fits nearly as well when frames come evenly. Of all that
 * fit about as well as the best, the least delay is the likeliest: phones encode a frame well before the next.
 */
const AS_GOOD = 0.92;

export interface CaptureFix {
  /** RTP timestamp of the newest encoded frame. */
  readonly rtp: number;
  /** When that frame was captured, this phone's Unix ms. */
  readonly captureMs: number;
}

interface EncodedFrame {
  readonly rtp: number;
  readonly seenMs: number;
}

export class CaptureClock {
  private readonly encoded: EncodedFrame[] = [];
  private readonly captured: number[] = [];

  addEncoded(rtp: number, seenMs: number): void {
    if (this.encoded.at(-1)?.rtp === rtp) return; // the same picture in another layer
    this.encoded.push({ rtp, seenMs });
    if (this.encoded.length > KEPT) this.encoded.shift();
  }

  addCaptured(captureMs: number): void {
    this.captured.push(captureMs);
    if (this.captured.length > KEPT) this.captured.shift();
  }

  /** The newest encoded frame with its capture time, or null while there is too little to tell. */
  fix(): CaptureFix | null {
    const newest = this.encoded.at(-1);
    if (newest === undefined) return null;
    const clusters = clustersOf(this.votes(newest.rtp), 2 * TOLERANCE_MS);
    const best = Math.max(0, ...clusters.map(({ length }) => length));
    const chosen = clusters.find(({ length }) => length >= AS_GOOD * best);
    if (best < MIN_VOTES || chosen === undefined) return null;
    return { rtp: newest.rtp, captureMs: newest.rtp / TICKS_PER_MS - median(chosen) };
  }

  /** `rtp / 90 - capture_ms` of every pair that could belong together, least delay first. */
  private votes(newestRtp: number): number[] {
    return this.encoded
      .flatMap(({ rtp, seenMs }) => {
        const rtpMs = (newestRtp - ticksBetween(rtp, newestRtp)) / TICKS_PER_MS;
        const possible = this.captured.filter((ms) => ms <= seenMs && ms >= seenMs - MAX_ENCODE_MS);
        return possible.map((captureMs) => rtpMs - captureMs);
      })
      .toSorted((a, b) => a - b);
  }
}

/** For every value of a rising list, those from it on that lie within `width`. */
function clustersOf(rising: readonly number[], width: number): number[][] {
  let end = 0;
  return rising.map((value, start) => {
    while ((rising[end] ?? Infinity) - value <= width) end++;
    return rising.slice(start, end);
  });
}

/** Ticks from one 32-bit stamp to a later one, across the wrap. */
function ticksBetween(earlier: number, later: number): number {
  return (later - earlier + RTP_WRAP) % RTP_WRAP;
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? NaN;
}
