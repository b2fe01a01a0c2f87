/** The walkable floor: filled polygons, thin lines between them, bright lines where walking ends; islands are grey. */

import * as THREE from "three";
import { type NavTile, readNav } from "../../sdk/layers.js";
import { nameOf } from "../../sdk/map.js";
import type { Key } from "../../sdk/protocol.js";
import { KeyedGroup } from "./keyed.js";

/** Above the floor by as much as the voxels are uncertain, so that the mesh does not swallow it. */
const LIFT_M = 0.015;
const INNER: readonly [number, number, number] = [0.31, 0.84, 0.75];
const NONE: ReadonlySet<number> = new Set();
const WALL: readonly [number, number, number] = [0.78, 1.0, 0.95];

export class NavLayer {
  readonly keyed: KeyedGroup;
  private readonly areaByMesh = new Map<THREE.Object3D, number>();
  private readonly islands = new Map<string, ReadonlySet<number>>();
  private shownAgent: string | null = null;

  constructor() {
    const fills = [fillMaterial(0x2fbfa6, 0.42), fillMaterial(0x9aa4ad, 0.3)];
    const line = new THREE.LineBasicMaterial({ vertexColors: true, transparent: true, opacity: 0.85 });
    this.keyed = new KeyedGroup(({ delta }) => {
      const tile = readNav(delta);
      if (tile.polygons.length === 0) return null;
      const islands = this.islands.get(nameOf("nav", delta.key)) ?? NONE;
      const mesh = new THREE.Mesh(fillOf(tile, islands), fills);
      mesh.renderOrder = 1;
      mesh.userData.agent = tile.agent;
      mesh.visible = this.shownAgent === null || tile.agent === this.shownAgent;
      mesh.add(new THREE.LineSegments(linesOf(tile), line));
      this.areaByMesh.set(mesh, areaOf(tile, islands));
      return mesh;
    });
  }

  /** Which polygons of a tile no way leads to; the tile itself is to be set again. */
  setIslands(key: Key, rows: ReadonlySet<number>): void {
    if (rows.size > 0) this.islands.set(nameOf("nav", key), rows);
    else this.islands.delete(nameOf("nav", key));
  }

  clearIslands(): void {
    this.islands.clear();
  }

  /** Show where this agent can walk; null = every agent. */
  showAgent(agent: string | null): void {
    this.shownAgent = agent;
    for (const mesh of this.keyed.group.children) mesh.visible = agent === null || mesh.userData.agent === agent;
  }

  /** What a click can hit: the floor of one agent, or the one on show. */
  floors(agent = this.shownAgent): THREE.Object3D[] {
    const floors = this.keyed.group.children;
    return agent === null ? floors : floors.filter((mesh) => mesh.userData.agent === agent);
  }

  /** Walkable square metres now on show; islands are not counted, since nobody walks there. */
  get areaM2(): number {
    const present = new Set(this.keyed.group.children);
    let total = 0;
    for (const [mesh, area] of this.areaByMesh) {
      if (!present.has(mesh)) this.areaByMesh.delete(mesh);
      else if (mesh.visible) total += area;
    }
    return total;
  }
}

function fillMaterial(color: number, opacity: number): THREE.MeshBasicMaterial {
  return new THREE.MeshBasicMaterial({
    color,
    transparent: true,
    opacity,
    side: THREE.DoubleSide,
    depthWrite: false,
    polygonOffset: true,
    polygonOffsetFactor: -2,
    polygonOffsetUnits: -4,
  });
}

/** Two groups: ground, and islands. */
function fillOf({ vertices, polygons }: NavTile, islands: ReadonlySet<number>): THREE.BufferGeometry {
  const geometry = new THREE.BufferGeometry();
  geometry.setAttribute("position", new THREE.BufferAttribute(lifted(vertices), 3));
  const ground = polygons.filter((_, row) => !islands.has(row)).flatMap(fan);
  const apart = polygons.filter((_, row) => islands.has(row)).flatMap(fan);
  geometry.setIndex([...ground, ...apart]);
  geometry.addGroup(0, ground.length, 0);
  geometry.addGroup(ground.length, apart.length, 1);
  return geometry;
}

function linesOf({ vertices, polygons, edges }: NavTile): THREE.BufferGeometry {
  const raised = lifted(vertices);
  const positions: number[] = [];
  const colors: number[] = [];
  polygons.forEach((polygon, p) => {
    polygon.forEach((from, i) => {
      const edge = edges[p]?.[i] ?? "wall";
      if (typeof edge === "number" && edge < p) return; // the neighbour drew it
      const to = polygon[(i + 1) % polygon.length] ?? from;
      positions.push(...raised.subarray(3 * from, 3 * from + 3), ...raised.subarray(3 * to, 3 * to + 3));
      const color = edge === "wall" ? WALL : INNER;
      colors.push(...color, ...color);
    });
  });
  const geometry = new THREE.BufferGeometry();
  geometry.setAttribute("position", new THREE.Float32BufferAttribute(positions, 3));
  geometry.setAttribute("color", new THREE.Float32BufferAttribute(colors, 3));
  return geometry;
}

function lifted(vertices: Float32Array): Float32Array {
  return vertices.map((value, i) => (i % 3 === 1 ? value + LIFT_M : value));
}

/** A convex polygon as triangles around its first vertex. */
function fan(polygon: readonly number[]): number[] {
  const [first = 0, ...rest] = polygon;
  return rest.slice(1).flatMap((vertex, i) => [first, rest[i] ?? first, vertex]);
}

function areaOf({ vertices, polygons }: NavTile, islands: ReadonlySet<number>): number {
  const at = (i: number): readonly [number, number] => [vertices[3 * i] ?? 0, vertices[3 * i + 2] ?? 0];
  const shoelace = (polygon: readonly number[]): number =>
    polygon.reduce((sum, vertex, i) => {
      const [[x0, z0], [x1, z1]] = [at(vertex), at(polygon[(i + 1) % polygon.length] ?? vertex)];
      return sum + x0 * z1 - x1 * z0;
    }, 0);
  const ground = polygons.filter((_, row) => !islands.has(row));
  return ground.reduce((sum, polygon) => sum + Math.abs(shoelace(polygon)) / 2, 0);
}
