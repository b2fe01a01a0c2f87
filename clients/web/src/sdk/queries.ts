/**
 * Questions about a live map: ways, rays and lines of sight, alone or up to 64 at once. What is asked in vain is no
 * error: `found` is false then and `reason` says why. Errors are for questions that make no sense or come too often.
 */

import { type Access, Api } from "./api.js";
import { type Lens, type LocateAnswer, readLocateAnswer } from "./locate.js";
import type { SceneMap } from "./map.js";
import { type Key, type Layer, ProtocolError, Reader, type Vector3 } from "./protocol.js";

/** `[x, z, agent]` of a nav tile, `[x, z]` of a mesh tile; `ver` 0: it changed while the answer was found. */
export interface TileVersion {
  readonly layer: Layer;
  readonly key: Key;
  readonly ver: number;
}

export interface Agent {
  readonly name: string;
  readonly radiusM: number;
  readonly heightM: number;
  readonly maxClimbM: number;
  readonly maxSlopeDeg: number;
}

interface AnswerFacts {
  readonly found: boolean;
  /** `start_off_mesh`, `goal_off_mesh`, `unreachable`, `occluded`, `unseen`, ... or null. */
  readonly reason: string | null;
  /** Of the coordinates. */
  readonly epoch: number;
  readonly tileSizeM: number;
  /** What the answer rests on: see `isOutdated`. */
  readonly tiles: readonly TileVersion[];
  /** False while the map is being rebuilt after a correction: ask again in a second. */
  readonly settled: boolean;
}

export interface PathAnswer extends AnswerFacts {
  readonly kind: "path";
  readonly agent: string;
  /** Walk straight from one to the next. */
  readonly points: readonly Vector3[];
  readonly lengthM: number;
  /** It ends short of the goal, as near as one can get. */
  readonly partial: boolean;
}

export interface ReachableAnswer extends AnswerFacts {
  readonly kind: "reachable";
  readonly agent: string;
  readonly reachable: boolean;
}

/** `polygon` is a row of the `polys` of the tile at place `tile` of the answer's `tiles`. */
export interface ReachedPolygon {
  readonly tile: number;
  readonly polygon: number;
  /** About how far it is to the edge over which one enters it. */
  readonly walkM: number;
}

export interface ReachAnswer extends AnswerFacts {
  readonly kind: "reach";
  readonly agent: string;
  /** Nearest first; the polygon one stands on is the first. */
  readonly polygons: readonly ReachedPolygon[];
  /** There is more within reach than one search explores. */
  readonly partial: boolean;
}

export interface RaycastAnswer extends AnswerFacts {
  readonly kind: "raycast";
  readonly agent: string;
  readonly end: Vector3 | null;
  readonly blocked: boolean;
  readonly lengthM: number;
}

export interface NearestAnswer extends AnswerFacts {
  readonly kind: "nearest";
  readonly agent: string;
  readonly point: Vector3 | null;
  readonly distanceM: number | null;
}

export interface VisibleAnswer extends AnswerFacts {
  readonly kind: "visible";
  readonly state: "visible" | "occluded" | "unknown";
  /** The first surface on the way. */
  readonly hit: Vector3 | null;
}

export type Answer = PathAnswer | ReachableAnswer | ReachAnswer | RaycastAnswer | NearestAnswer | VisibleAnswer;
type AnswerTo<K extends Answer["kind"]> = Extract<Answer, { kind: K }>;

/** Whose NavMesh is asked (the scene's first agent if left out), and how far from a point ground is looked for. */
export interface Walk {
  readonly agent?: string;
  readonly withinM?: number;
}

export type Question =
  | ({ readonly kind: "path" | "reachable" | "raycast"; readonly from: Vector3; readonly to: Vector3 } & Walk)
  | ({ readonly kind: "reach"; readonly from: Vector3; readonly walkM: number } & Walk)
  | ({ readonly kind: "nearest"; readonly point: Vector3; readonly islands?: boolean } & Walk)
  | { readonly kind: "visible"; readonly point: Vector3; readonly from: Vector3 }
  | { readonly kind: "visible"; readonly point: Vector3; readonly camera: string };

export interface Asking {
  /** The epoch of the coordinates: the server refuses (409) once the map has moved on. */
  readonly epoch?: number;
  readonly signal?: AbortSignal;
}

export class MapQueries {
  private readonly api: Api;

  /**
   * @param server the server's page address, as for `connect`
   *
   * What the server refuses is an `ApiError`, one out of reach a TypeError.
   */
  constructor(server: string | URL, access: Access = {}) {
    this.api = new Api(server, access);
  }

  /** The shortest way over walkable ground, or to the nearest place that can be reached. */
  path(scene: string, from: Vector3, to: Vector3, how: Walk & Asking = {}): Promise<PathAnswer> {
    return this.one(scene, "path", { from, to }, how);
  }

  /** Whether there is any way. */
  reachable(scene: string, from: Vector3, to: Vector3, how: Walk & Asking = {}): Promise<ReachableAnswer> {
    return this.one(scene, "reachable", { from, to }, how);
  }

  /** Every polygon of the NavMesh that a walk of at most `walkM` leads to. */
  reach(scene: string, from: Vector3, walkM: number, how: Walk & Asking = {}): Promise<ReachAnswer> {
    return this.one(scene, "reach", { from, walk_m: walkM }, how);
  }

  /** How far one can walk straight ahead. */
  raycast(scene: string, from: Vector3, to: Vector3, how: Walk & Asking = {}): Promise<RaycastAnswer> {
    return this.one(scene, "raycast", { from, to }, how);
  }

  /** Where one can stand that is nearest to a point; `islands: false` passes over table tops and their like. */
  nearest(scene: string, point: Vector3, how: Walk & Asking & { islands?: boolean } = {}): Promise<NearestAnswer> {
    const { islands = true, ...rest } = how;
    return this.one(scene, "nearest", { point, ...(!islands && { islands: "false" }) }, rest);
  }

  /** Whether a point can be seen from a place, or by a stream's camera. */
  visible(
    scene: string,
    point: Vector3,
    by: { readonly from: Vector3 } | { readonly camera: string },
    how: Asking = {},
  ): Promise<VisibleAnswer> {
    return this.one(scene, "visible", { point, ...by }, how);
  }

  /** Where a JPEG or PNG (its type says which) was taken; without a lens it takes longer. */
  async locate(scene: string, picture: Blob, lens?: Lens, { signal }: { signal?: AbortSignal } = {}): Promise<LocateAnswer> {
    const query = new URLSearchParams(Object.entries(lens ?? {}).map(([name, value]) => [name, String(value)]));
    const init = { method: "POST", body: picture, headers: { "Content-Type": picture.type }, ...(signal && { signal }) };
    return readLocateAnswer(await this.fetch(`${sceneUrl(scene)}/locate?${query}`, init));
  }

  /** Several questions on one state of the map; answers come in order. */
  async ask(scene: string, questions: readonly Question[], { epoch, signal }: Asking = {}): Promise<readonly Answer[]> {
    const body = JSON.stringify({
      ...(epoch !== undefined && { epoch }),
      questions: questions.map((question) => {
        const { withinM, walkM, ...rest } = { withinM: undefined, walkM: undefined, ...question };
        return { ...rest, ...(withinM !== undefined && { within_m: withinM }), ...(walkM !== undefined && { walk_m: walkM }) };
      }),
    });
    const init = { method: "POST", body, headers: { "Content-Type": "application/json" }, ...(signal && { signal }) };
    const answer = await this.fetch(`${sceneUrl(scene)}/queries`, init);
    return new Reader(answer).list("answers").map((one) => readAnswer(one as Fields));
  }

  /** Who can walk on a map. */
  async agents(scene: string, { signal }: Asking = {}): Promise<readonly Agent[]> {
    const summary = await this.fetch(sceneUrl(scene), signal && { signal });
    return new Reader(summary).list("agents").map((one) => {
      const r = new Reader(one as Fields);
      return {
        name: r.string("name"),
        radiusM: r.number("radius_m"),
        heightM: r.number("height_m"),
        maxClimbM: r.number("max_climb_m"),
        maxSlopeDeg: r.number("max_slope_deg"),
      };
    });
  }

  private async one<K extends Answer["kind"]>(
    scene: string,
    kind: K,
    ends: Readonly<Record<string, Vector3 | string | number>>,
    { agent, withinM, epoch, signal }: Walk & Asking,
  ): Promise<AnswerTo<K>> {
    const query = new URLSearchParams();
    for (const [name, end] of Object.entries(ends)) query.set(name, String(end));
    if (agent) query.set("agent", agent);
    if (withinM !== undefined) query.set("within_m", String(withinM));
    if (epoch !== undefined) query.set("epoch", String(epoch));
    const answer = readAnswer(await this.fetch(`${sceneUrl(scene)}/${kind}?${query}`, signal && { signal }));
    if (answer.kind !== kind) throw new ProtocolError(`asked for ${kind}, got ${answer.kind}`);
    return answer as AnswerTo<K>;
  }

  private fetch(path: string, init: RequestInit = {}): Promise<Fields> {
    return this.api.json(path, (answer) => answer as Fields, init);
  }
}

/** Whether the map has changed under an answer since it was given. */
export function isOutdated({ epoch, tiles }: AnswerFacts, map: SceneMap): boolean {
  if (map.info !== null && map.info.epoch !== epoch) return true;
  return tiles.some(({ layer, key, ver }) => (map.get(layer, key)?.delta.ver ?? Infinity) > ver);
}

type Fields = Readonly<Record<string, unknown>>;

function sceneUrl(scene: string): string {
  return `v1/scenes/${encodeURIComponent(scene)}`;
}

function readAnswer(fields: Fields): Answer {
  const r = new Reader(fields);
  const flag = (name: string): boolean => r.value(name) === true;
  const facts = {
    found: flag("found"),
    reason: typeof r.value("reason") === "string" ? r.string("reason") : null,
    epoch: r.number("epoch"),
    tileSizeM: r.number("tile_size_m"),
    tiles: r.list("tiles").map(readTile),
    settled: r.value("settled") !== false,
  };
  const kind = r.string("kind");
  switch (kind) {
    case "path": {
      const points = r.list("points").map((value) => point(new Reader({ value }), "value"));
      const lengthM = r.number("length_m");
      return { ...facts, kind, agent: r.string("agent"), points, lengthM, partial: flag("partial") };
    }
    case "reachable":
      return { ...facts, kind, agent: r.string("agent"), reachable: flag("reachable") };
    case "reach": {
      const polygons = r.list("polygons").map((value) => {
        const [tile = 0, polygon = 0, walkM = 0] = new Reader({ value }).numbers("value", 3);
        return { tile, polygon, walkM };
      });
      return { ...facts, kind, agent: r.string("agent"), polygons, partial: flag("partial") };
    }
    case "raycast": {
      const [end, lengthM] = [maybePoint(r, "end"), r.number("length_m")];
      return { ...facts, kind, agent: r.string("agent"), end, blocked: flag("blocked"), lengthM };
    }
    case "nearest": {
      const distanceM = r.value("distance_m") === null ? null : r.number("distance_m");
      return { ...facts, kind, agent: r.string("agent"), point: maybePoint(r, "point"), distanceM };
    }
    case "visible":
      return { ...facts, kind, state: r.string("state") as VisibleAnswer["state"], hit: maybePoint(r, "hit") };
    default:
      throw new ProtocolError(`an answer of kind ${kind}`);
  }
}

function readTile(tile: unknown): TileVersion {
  const r = new Reader(tile as Fields);
  return { layer: r.string("layer") as Layer, key: r.list("key") as Key, ver: r.number("ver") };
}

function point(r: Reader, name: string): Vector3 {
  const [x = 0, y = 0, z = 0] = r.numbers(name, 3);
  return [x, y, z];
}

function maybePoint(r: Reader, name: string): Vector3 | null {
  return r.value(name) === null ? null : point(r, name);
}
