/** How often to draw while much is still to come: where frames are slow, half of the time is for reading. */

const SLOW_FRAME_MS = 50;
const LONGEST_REST_MS = 1000;

export class DrawPace {
  private drawnAtMs: number | null = null;
  private restUntilMs = -Infinity;

  /** A frame begins; until when the last drawing kept the page is known only now. */
  begin(nowMs: number): void {
    if (this.drawnAtMs === null) return;
    const costMs = nowMs - this.drawnAtMs;
    this.drawnAtMs = null;
    this.restUntilMs = nowMs + (costMs > SLOW_FRAME_MS ? Math.min(costMs, LONGEST_REST_MS) : 0);
  }

  mayDraw(nowMs: number, isLoading: boolean): boolean {
    return !isLoading || nowMs >= this.restUntilMs;
  }

  drew(nowMs: number): void {
    this.drawnAtMs = nowMs;
  }
}
