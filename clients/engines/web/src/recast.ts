/**
 * The live NavMesh of a scene in recast-navigation-js: the server's own Detour tiles, so that paths found here equal
 * those of the server. Call recast's `init()` first.
 */

import { type Change, type Delta, type Entry, Reader, readNav, type Subscription, TILE_CELLS } from "@commonground/sdk";
import { NavMesh, NavMeshParams, NavMeshQuery, statusSucceed, UnsignedCharArray } from "@recast-navigation/core";

export interface LiveNavMeshOptions {
  agent?: string;
  /** How many tiles, and how many polygons in each, there is room for; powers of two, at most 2^22 together. */
  maxTiles?: number;
  maxPolysPerTile?: number;
  /** A search visits no more polygons than this. */
  maxNodes?: number;
}

const DETOUR_FREES_THE_DATA = 1;

/**
 * Subscribe with `layers: ["nav"], parts: ["blob"]` and hand the subscription over. `navMesh` and `query` are null until
 * the first tile is here. Do not keep polygon references across changes: a tile that is replaced gets new ones.
 */
export class LiveNavMesh {
  navMesh: NavMesh | null = null;
  query: NavMeshQuery | null = null;
  private readonly agent: string;
  private readonly tiles = new Map<string, { x: number; z: number }>();
  private readonly stop: () => void;

  constructor(
    private readonly subscription: Subscription,
    private readonly options: LiveNavMeshOptions = {},
  ) {
    this.agent = options.agent ?? "human";
    this.stop = subscription.on("change", (change) => this.apply(change));
    for (const entry of subscription.map.entries("nav")) this.set(entry);
  }

  /** How many tiles are in. */
  get size(): number {
    return this.tiles.size;
  }

  /** Stop following the scene and free what recast holds. */
  dispose(): void {
    this.stop();
    this.query?.destroy();
    this.navMesh?.destroy();
    this.query = this.navMesh = null;
    this.tiles.clear();
  }

  private apply(change: Change): void {
    if (change.kind === "moved") {
      // Detour's tiles cannot turn: those of the old world go, the new ones follow.
      for (const { x, z } of this.tiles.values()) this.take(x, z);
      this.tiles.clear();
    } else if (change.kind === "set" && change.layer === "nav") this.set(change.entry);
    else if (change.kind === "removed" && change.layer === "nav") this.remove(change.key);
  }

  private set({ delta }: Entry): void {
    const [x, z, agent] = delta.key as [number, number, string];
    if (agent !== this.agent || delta.epoch !== this.subscription.map.info?.epoch) return;
    const { detour } = readNav(delta);
    if (detour.length === 0) throw new Error('tiles come without Detour data: subscribe with parts: ["blob"]');
    const navMesh = this.opened(delta);
    this.take(x, z);
    const data = new UnsignedCharArray();
    data.copy(detour); // Detour writes into it
    if (!statusSucceed(navMesh.addTile(data, DETOUR_FREES_THE_DATA, 0).status)) {
      throw new Error(`no room for tile ${x}, ${z}: raise maxTiles or maxPolysPerTile`);
    }
    this.tiles.set(`${x},${z}`, { x, z });
  }

  private remove([x, z, agent]: readonly (number | string)[]): void {
    if (agent !== this.agent) return;
    this.take(x as number, z as number);
    this.tiles.delete(`${x},${z}`);
  }

  private take(x: number, z: number): void {
    const ref = this.navMesh?.getTileRefAt(x, z, 0);
    if (ref) this.navMesh?.removeTile(ref);
  }

  private opened({ body }: Delta): NavMesh {
    if (this.navMesh !== null) return this.navMesh;
    const { maxTiles = 1 << 12, maxPolysPerTile = 1 << 10, maxNodes = 1 << 14 } = this.options;
    const reader = new Reader(body);
    const side = TILE_CELLS * reader.number("cell_size_m");
    const [, base = 0] = reader.numbers("origin_m", 3);
    const navMesh = new NavMesh();
    const params = { orig: { x: 0, y: base, z: 0 }, tileWidth: side, tileHeight: side, maxTiles, maxPolys: maxPolysPerTile };
    if (!navMesh.initTiled(NavMeshParams.create(params))) throw new Error("maxTiles * maxPolysPerTile is beyond 2^22");
    this.navMesh = navMesh;
    this.query = new NavMeshQuery(navMesh, { maxNodes });
    return navMesh;
  }
}
