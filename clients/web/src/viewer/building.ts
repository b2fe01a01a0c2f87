/** Work that can wait for the next frames, a slice in each, so that the page never stops reading for long. */

export class BuildQueue {
  private readonly waiting = new Map<string, () => void>();

  /** Queue the building of one thing; while it waits, a newer order for it takes its place in the queue. */
  put(name: string, build: () => void): void {
    this.waiting.set(name, build);
  }

  drop(name: string): void {
    this.waiting.delete(name);
  }

  clear(): void {
    this.waiting.clear();
  }

  get size(): number {
    return this.waiting.size;
  }

  /** Build in the order of arrival until the time is up, one thing at least; returns how many. */
  run(budgetMs: number, now: () => number = () => performance.now()): number {
    const endMs = now() + budgetMs;
    let built = 0;
    for (const [name, build] of this.waiting) {
      if (built > 0 && now() >= endMs) break;
      this.waiting.delete(name);
      built += 1;
      build();
    }
    return built;
  }
}
