/** What a client holds of one scene: the newest version of every key, moved along when the map is corrected. */

import type { Delta, Key, Layer, Remove, Resume, SceneInfo, ServerMessage, Xform } from "./protocol.js";
import { compose, IDENTITY, type Similarity } from "./transform.js";

/** One key's newest content. `worldFromEntry` maps the coordinates it was sent in to the current epoch's. */
export interface Entry {
  readonly delta: Delta;
  readonly worldFromEntry: Similarity;
}

export type Change =
  | { kind: "set"; layer: Layer; key: Key; entry: Entry }
  | { kind: "removed"; layer: Layer; key: Key }
  | { kind: "moved"; xform: Xform }
  | { kind: "scene"; info: SceneInfo; reset: boolean }
  | { kind: "complete"; entries: number }
  | { kind: "event"; name: string; data: Readonly<Record<string, unknown>> };

/** How many corrections are remembered for tiles that were still on their way in older coordinates. */
const XFORM_HISTORY = 256;

export class SceneMap {
  private readonly byKey = new Map<string, Entry>();
  private readonly xforms: Xform[] = [];
  /** During a full snapshot: what the server has not named yet, and so no longer has. */
  private stale: Set<string> | null = null;
  /** The epoch in which the stale entries stand: a full snapshot retells the moves that led there. */
  private staleEpoch = 0;
  private resumeToken: Resume | null = null;
  private sceneInfo: SceneInfo | null = null;
  private newestSeq = 0;

  get info(): SceneInfo | null {
    return this.sceneInfo;
  }

  /** What to give back after a loss, so that only what changed is sent; null = start over. */
  get resume(): Resume | null {
    return this.resumeToken;
  }

  /** The newest sequence number applied: what acknowledgements carry. */
  get seq(): number {
    return this.newestSeq;
  }

  get size(): number {
    return this.byKey.size;
  }

  get(layer: Layer, key: Key): Entry | undefined {
    return this.byKey.get(nameOf(layer, key));
  }

  *entries(layer?: Layer): IterableIterator<Entry> {
    for (const entry of this.byKey.values()) if (layer === undefined || entry.delta.layer === layer) yield entry;
  }

  /** Apply a message of this scene; returns what changed (nothing, for a version that is already superseded). */
  apply(message: ServerMessage): Change[] {
    switch (message.t) {
      case "snapshot_begin":
        return this.beginSnapshot(message.scene, message.resumed);
      case "snapshot_end":
        return this.endSnapshot();
      case "delta":
        return this.set(message);
      case "remove":
        return this.remove(message);
      case "xform":
        return this.move(message);
      case "synced":
        this.resumeToken = message.resume;
        return [];
      case "event":
        this.advance(message.seq);
        return [{ kind: "event", name: message.name, data: message.data }];
      default:
        return [];
    }
  }

  private beginSnapshot(info: SceneInfo, resumed: boolean): Change[] {
    const before = this.sceneInfo;
    const reset = before !== null && before.lineage !== info.lineage;
    const changes: Change[] = [];
    if (reset) {
      for (const { delta } of this.byKey.values()) changes.push({ kind: "removed", layer: delta.layer, key: delta.key });
      this.byKey.clear();
      this.newestSeq = 0;
    }
    if (resumed) {
      this.sceneInfo = { ...info, epoch: Math.max(info.epoch, before?.epoch ?? 0) };
      this.stale = null;
    } else {
      this.sceneInfo = info;
      this.stale = new Set(this.byKey.keys());
      this.staleEpoch = before?.epoch ?? 0;
      this.xforms.length = 0;
      this.resumeToken = null;
    }
    changes.push({ kind: "scene", info: this.sceneInfo, reset });
    return changes;
  }

  private endSnapshot(): Change[] {
    const changes: Change[] = [];
    for (const name of this.stale ?? []) {
      const entry = this.byKey.get(name);
      if (entry === undefined) continue;
      this.byKey.delete(name);
      changes.push({ kind: "removed", layer: entry.delta.layer, key: entry.delta.key });
    }
    this.stale = null;
    changes.push({ kind: "complete", entries: this.byKey.size });
    return changes;
  }

  private set(delta: Delta): Change[] {
    const name = nameOf(delta.layer, delta.key);
    this.advance(delta.seq);
    const unconfirmed = this.stale?.delete(name) ?? false;
    const held = this.byKey.get(name);
    if (held !== undefined && !unconfirmed && delta.ver <= held.delta.ver) return [];
    const entry = { delta, worldFromEntry: this.correctionSince(delta.epoch) };
    this.byKey.set(name, entry);
    return [{ kind: "set", layer: delta.layer, key: delta.key, entry }];
  }

  private remove(message: Remove): Change[] {
    const name = nameOf(message.layer, message.key);
    this.advance(message.seq);
    this.stale?.delete(name);
    const held = this.byKey.get(name);
    if (held === undefined || held.delta.ver > message.ver) return [];
    this.byKey.delete(name);
    return [{ kind: "removed", layer: message.layer, key: message.key }];
  }

  private move(xform: Xform): Change[] {
    this.advance(xform.seq);
    if (this.sceneInfo === null || xform.epoch <= this.sceneInfo.epoch) return [];
    this.sceneInfo = { ...this.sceneInfo, epoch: xform.epoch };
    this.xforms.push(xform);
    if (this.xforms.length > XFORM_HISTORY) this.xforms.shift();
    for (const [name, entry] of this.byKey) {
      if (this.stale?.has(name) && xform.epoch <= this.staleEpoch) continue;
      this.byKey.set(name, { ...entry, worldFromEntry: compose(similarityOf(xform), entry.worldFromEntry) });
    }
    return [{ kind: "moved", xform }];
  }

  private correctionSince(epoch: number): Similarity {
    return this.xforms
      .filter((xform) => xform.epoch > epoch)
      .reduce<Similarity>((total, xform) => compose(similarityOf(xform), total), IDENTITY);
  }

  private advance(seq: number): void {
    this.newestSeq = Math.max(this.newestSeq, seq);
  }
}

export function nameOf(layer: Layer, key: Key): string {
  return `${layer}/${key.join(",")}`;
}

function similarityOf(xform: Xform): Similarity {
  return { scale: xform.scale, quatWxyz: xform.quat_wxyz, translation: xform.translation_m };
}
