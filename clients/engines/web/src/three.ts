/**
 * The walkable floor of a live scene as three.js meshes, one for each tile, kept up to date: to draw it, to click on it,
 * to stand things on it.
 */

import {
  type Change,
  type Entry,
  type Key,
  type NavTile,
  readNav,
  type Similarity,
  type Subscription,
} from "@commonground/sdk";
import { BufferAttribute, BufferGeometry, Group, type Material, Mesh, MeshBasicMaterial } from "three";

/** What a geometry of `navGeometry` carries in `userData`. */
export interface NavGeometryData {
  readonly agent: string;
  /** Per triangle: the polygon it belongs to. */
  readonly polygons: Uint16Array;
  /** Per polygon: what kind of ground it is; also the material index of the geometry's groups. */
  readonly areas: Uint8Array;
}

/** Triangles of a tile in metres: those with heights if the part `detail` was asked for, else fans of the polygons. */
export function navGeometry(tile: NavTile): BufferGeometry {
  const { vertices, indices, polygons } = tile.detail ?? fans(tile);
  const geometry = new BufferGeometry();
  geometry.setAttribute("position", new BufferAttribute(vertices, 3));
  geometry.setIndex(new BufferAttribute(new Uint16Array(indices), 1));
  for (const [start, count] of runs(polygons, tile.areas)) {
    geometry.addGroup(3 * start, 3 * count, tile.areas[polygons[start] ?? 0] ?? 0);
  }
  const data: NavGeometryData = { agent: tile.agent, polygons, areas: tile.areas };
  geometry.userData = { ...data };
  return geometry;
}

export interface NavMeshGroupOptions {
  /** Whose NavMesh; every agent's if left out. */
  agent?: string;
  /** One material for all, or a material for each kind of ground, found by its number. */
  material?: Material | Material[];
}

/** Add `group` to your scene; subscribe with `layers: ["nav"]`, and with `parts: ["detail"]` for exact heights. */
export class NavMeshGroup {
  readonly group = new Group();
  private readonly meshes = new Map<string, Mesh>();
  private readonly material: Material | Material[];
  private readonly stop: () => void;

  constructor(
    private readonly subscription: Subscription,
    private readonly options: NavMeshGroupOptions = {},
  ) {
    this.group.name = "navmesh";
    this.material = options.material ?? new MeshBasicMaterial({ color: 0x2fbfa6, transparent: true, opacity: 0.5 });
    this.stop = subscription.on("change", (change) => this.apply(change));
    for (const entry of subscription.map.entries("nav")) this.set(entry);
  }

  /** Stop following the scene and free the geometries; the materials are yours. */
  dispose(): void {
    this.stop();
    for (const name of [...this.meshes.keys()]) this.remove(name);
  }

  private apply(change: Change): void {
    if (change.kind === "moved") this.place();
    else if (change.kind === "set" && change.layer === "nav") this.set(change.entry);
    else if (change.kind === "removed" && change.layer === "nav") this.remove(nameOf(change.key));
  }

  private set({ delta, worldFromEntry }: Entry): void {
    const tile = readNav(delta);
    if (this.options.agent !== undefined && tile.agent !== this.options.agent) return;
    const name = nameOf(delta.key);
    this.remove(name);
    const mesh = new Mesh(navGeometry(tile), this.material);
    mesh.name = name;
    putAt(mesh, worldFromEntry);
    this.meshes.set(name, mesh);
    this.group.add(mesh);
  }

  private remove(name: string): void {
    const mesh = this.meshes.get(name);
    if (mesh === undefined) return;
    this.meshes.delete(name);
    this.group.remove(mesh);
    mesh.geometry.dispose();
  }

  /** The map was corrected: what stands here moves along, until its tiles come anew. */
  private place(): void {
    for (const { delta, worldFromEntry } of this.subscription.map.entries("nav")) {
      const mesh = this.meshes.get(nameOf(delta.key));
      if (mesh !== undefined) putAt(mesh, worldFromEntry);
    }
  }
}

function putAt(mesh: Mesh, { scale, quatWxyz: [w, x, y, z], translation }: Similarity): void {
  mesh.position.set(...translation);
  mesh.quaternion.set(x, y, z, w);
  mesh.scale.setScalar(scale);
}

function nameOf(key: Key): string {
  return key.join(",");
}

function fans({ vertices, polygons }: NavTile): { vertices: Float32Array; indices: number[]; polygons: Uint16Array } {
  const indices: number[] = [];
  const owners: number[] = [];
  polygons.forEach(([first = 0, ...rest], polygon) => {
    for (let i = 0; i + 1 < rest.length; i++) {
      indices.push(first, rest[i] ?? first, rest[i + 1] ?? first);
      owners.push(polygon);
    }
  });
  return { vertices, indices, polygons: Uint16Array.from(owners) };
}

/** Stretches of triangles, [first, how many], that lie on the same kind of ground. */
function* runs(polygons: Uint16Array, areas: Uint8Array): Generator<[number, number]> {
  let start = 0;
  for (let i = 1; i <= polygons.length; i++) {
    if (i < polygons.length && areas[polygons[i] ?? 0] === areas[polygons[start] ?? 0]) continue;
    yield [start, i - start];
    start = i;
  }
}
