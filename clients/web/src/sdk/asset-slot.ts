/**
 * One slot on a page: prepares what is to come, changes over on a frame edge at the time the server names, and keeps the
 * old until there is no way back to it. What is wanted comes in by `prepare`, `show` and `settle`; the page's own
 * functions do the rest.
 */

export interface AssetFile {
  readonly role: string;
  readonly format: string;
  readonly sha256: string;
  /** Bytes. */
  readonly size: number;
  readonly mime: string;
  readonly extensions: readonly string[];
  readonly triangles: number | null;
}

/** One version of one asset. */
export interface Ref {
  readonly asset: string;
  readonly version: number;
}

/** What this page can load; the finest level of detail that fits is taken, in its smallest variant. */
export interface Accept {
  readonly format?: string;
  readonly ext?: readonly string[];
  readonly maxTriangles?: number;
  readonly maxBytes?: number;
}

export interface Prepared extends Ref {
  readonly file: AssetFile;
  /** All files of this version, for whoever wants more than one. */
  readonly files: readonly AssetFile[];
  /** The file's bytes; their hash was checked. */
  readonly data: ArrayBuffer;
}

export interface Callbacks<R> {
  readonly accept?: Accept;
  /** Make something that can be shown. */
  prepare(asset: Prepared): R | Promise<R>;
  /** Show it; `old` stays alive until `dispose`. */
  commit(resource: R, old: R | null): void;
  /** Show the old one again; `commit` does it where this is left out. */
  rollback?(old: R): void;
  /** What was to be shown cannot be; what is shown stays. */
  failed?(reason: string): void;
  /** It will not be shown again. */
  dispose?(resource: R): void;
}

export interface Goal extends Ref {
  readonly rev: number;
  readonly files: readonly AssetFile[];
  /** When to show it: Unix ms of the server; 0 = at once. */
  readonly atMs: number;
  readonly isRollback: boolean;
}

export interface Surroundings {
  fetch(file: AssetFile, signal: AbortSignal): Promise<ArrayBuffer>;
  acknowledge(slot: string, rev: number, isReady: boolean, reason: string): void;
  /** How long until then on the server's clock. */
  waitMs(atMs: number): number;
  /** Calls back between two frames. */
  onFrame(callback: () => void): void;
}

const SHOWN = ["lod0", "lod1", "lod2"];

export class Binding<R> {
  private wanted: Goal | null = null;
  private coming: Goal | null = null;
  private settledRev = 0;
  private shownKey: string | null = null;
  private readonly have = new Map<string, { readonly ref: Ref; readonly resource: R }>();
  private readonly loading = new Map<string, AbortController>();
  private readonly failed = new Set<string>();
  private readonly told = new Set<number>();
  private timer: ReturnType<typeof setTimeout> | undefined;
  private isClosed = false;

  constructor(
    readonly slot: string,
    private readonly callbacks: Callbacks<R>,
    private readonly around: Surroundings,
  ) {}

  /** What is shown now. */
  get shown(): R | null {
    return this.shownKey === null ? null : (this.have.get(this.shownKey)?.resource ?? null);
  }

  get rev(): number {
    return this.wanted?.rev ?? 0;
  }

  /** Versions this page has in memory, or is about to. */
  get held(): readonly Ref[] {
    const goals = [this.wanted, this.coming].filter((goal) => goal !== null && !this.have.has(key(goal)));
    return [...[...this.have.values()].map(({ ref }) => ref), ...(goals as Ref[])];
  }

  prepare(goal: Goal): void {
    if (goal.rev <= Math.max(this.rev, this.coming?.rev ?? 0)) return;
    this.coming = goal;
    this.step();
  }

  show(goal: Goal): void {
    if (goal.rev <= this.rev) return;
    this.wanted = goal;
    if (this.coming !== null && this.coming.rev <= goal.rev) this.coming = null;
    this.step();
  }

  /** No way back from here: what is not shown can be freed. */
  settle(rev: number): void {
    this.settledRev = Math.max(this.settledRev, rev);
    this.step();
  }

  /** The server has forgotten what was acknowledged. */
  reconnected(): void {
    this.told.clear();
    this.step();
  }

  /** Revisions begin anew: the slot was removed, or this is another store. What is shown stays. */
  restarted(): void {
    this.wanted = this.coming = null;
    this.settledRev = 0;
    this.failed.clear();
  }

  close(): void {
    this.isClosed = true;
    clearTimeout(this.timer);
    for (const controller of this.loading.values()) controller.abort();
    for (const { resource } of this.have.values()) this.callbacks.dispose?.(resource);
    this.have.clear();
    this.shownKey = null;
  }

  /** Do what is due; called whenever something changed. */
  private step(): void {
    if (this.isClosed) return;
    for (const [name, controller] of this.loading) {
      if (![this.wanted, this.coming].some((goal) => goal !== null && key(goal) === name)) controller.abort();
    }
    const wanted = this.wanted;
    if (wanted !== null && this.get(wanted) && key(wanted) !== this.shownKey) this.showOnTime(wanted);
    if (this.coming !== null) this.get(this.coming);
    if (this.coming === null && wanted !== null && this.settledRev >= wanted.rev) this.freeOthers();
  }

  /** Whether it can be shown; what is missing is loaded. */
  private get(goal: Goal): boolean {
    const name = key(goal);
    if (this.failed.has(`${goal.rev} ${name}`)) return false;
    if (this.have.has(name)) {
      this.tell(goal.rev, true, "");
      return true;
    }
    if (!this.loading.has(name)) void this.load(goal, name);
    return false;
  }

  private async load(goal: Goal, name: string): Promise<void> {
    const controller = new AbortController();
    this.loading.set(name, controller);
    try {
      const file = choose(goal.files, this.callbacks.accept ?? {});
      if (file === null) throw new Error(`no file of ${name} can be loaded here`);
      const data = await this.around.fetch(file, controller.signal);
      const resource = await this.callbacks.prepare({ asset: goal.asset, version: goal.version, file, files: goal.files, data });
      if (controller.signal.aborted) this.callbacks.dispose?.(resource);
      else this.have.set(name, { ref: { asset: goal.asset, version: goal.version }, resource });
    } catch (error) {
      if (!controller.signal.aborted) this.fail(goal, error);
    } finally {
      this.loading.delete(name);
    }
    this.step();
  }

  private showOnTime(goal: Goal): void {
    clearTimeout(this.timer);
    const waitMs = this.around.waitMs(goal.atMs);
    if (waitMs > 0) this.timer = setTimeout(() => this.step(), waitMs);
    else this.around.onFrame(() => this.changeOver(goal));
  }

  private changeOver(goal: Goal): void {
    const [name, old] = [key(goal), this.shown];
    const entry = this.have.get(name);
    if (this.wanted !== goal || entry === undefined || name === this.shownKey) return;
    try {
      if (goal.isRollback && old !== null && this.callbacks.rollback) this.callbacks.rollback(entry.resource);
      else this.callbacks.commit(entry.resource, old);
      this.shownKey = name;
    } catch (error) {
      if (old !== null) this.callbacks.rollback?.(old);
      this.fail(goal, error);
    }
    this.step();
  }

  private fail(goal: Goal, error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error);
    this.failed.add(`${goal.rev} ${key(goal)}`);
    this.tell(goal.rev, false, reason);
    this.callbacks.failed?.(reason);
  }

  private tell(rev: number, isReady: boolean, reason: string): void {
    if (isReady && this.told.has(rev)) return;
    this.told.add(rev);
    this.around.acknowledge(this.slot, rev, isReady, reason.slice(0, 200));
  }

  private freeOthers(): void {
    for (const [name, { resource }] of this.have) {
      if (name === this.shownKey) continue;
      this.have.delete(name);
      this.callbacks.dispose?.(resource);
    }
  }
}

export function choose(files: readonly AssetFile[], accept: Accept): AssetFile | null {
  const { format = "glb", ext = [], maxTriangles = Infinity, maxBytes = Infinity } = accept;
  const fits = files.filter(
    (file) =>
      SHOWN.includes(file.role) &&
      file.format === format &&
      file.extensions.every((name) => ext.includes(name)) &&
      file.size <= maxBytes &&
      (maxTriangles === Infinity || (file.triangles ?? Infinity) <= maxTriangles),
  );
  fits.sort((a, b) => SHOWN.indexOf(a.role) - SHOWN.indexOf(b.role) || a.size - b.size);
  return fits[0] ?? null;
}

function key({ asset, version }: Ref): string {
  return `${asset} ${version}`;
}
