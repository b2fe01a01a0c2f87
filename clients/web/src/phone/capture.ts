/**
 * Which instant an RTP timestamp stands for. Browsers derive it from the capture time, `rtp = 90 * capture_ms + C`; this
 * file finds C by pairing the stamps of encoded frames with the capture times of displayed ones.
 */

const TICKS_PER_MS = 90;
const RTP_WRAP = 2 ** 32;
const KEPT = 90;
/** How far behind the newest capture an encoded frame may be: an encoder holds a few frames at most. */
const MAX_FRAMES_BEHIND = 4;
const MIN_PAIRS = 8;
/** A later hypothesis must explain the stamps this much better, or regular frame intervals would make it a coin toss. */
const CLEARLY_BETTER = 0.5;

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
    let best: { offset: number; spread: number } | null = null;
    for (let behind = 0; behind <= MAX_FRAMES_BEHIND; behind++) {
      const offsets = this.offsetsIf(behind, newest.rtp);
      if (offsets.length < MIN_PAIRS) continue;
      const offset = median(offsets);
      const spread = median(offsets.map((value) => Math.abs(value - offset)));
      if (best === null || spread < CLEARLY_BETTER * best.spread - 0.05) best = { offset, spread };
    }
    return best && { rtp: newest.rtp, captureMs: newest.rtp / TICKS_PER_MS - best.offset };
  }

  /** `rtp / 90 - capture_ms` for every encoded frame, were each the `behind`-th newest capture before it was seen. */
  private offsetsIf(behind: number, newestRtp: number): number[] {
    const offsets: number[] = [];
    const captures = this.captured.toSorted((a, b) => a - b);
    for (const { rtp, seenMs } of this.encoded) {
      const later = captures.findLastIndex((captureMs) => captureMs <= seenMs);
      const captureMs = captures[later - behind];
      if (captureMs === undefined || later === captures.length - 1) continue; // the newer ones may not be in yet
      offsets.push((newestRtp - ticksBetween(rtp, newestRtp)) / TICKS_PER_MS - captureMs);
    }
    return offsets;
  }
}

/** Ticks from one 32-bit stamp to a later one, across the wrap. */
function ticksBetween(earlier: number, later: number): number {
  return (later - earlier + RTP_WRAP) % RTP_WRAP;
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? NaN;
}
