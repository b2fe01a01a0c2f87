/**
 * The bodies of the layers as plain values. Coordinates come quantised (origin and step in metres); the functions here
 * give metres in the epoch of the message: apply `entry.worldFromEntry` to bring them up to date.
 */

import { type Delta, type Fields, ProtocolError, type QuaternionWxyz, Reader, type Vector3 } from "./protocol.js";

/** A rigid placement: `x_world = R(q) x_camera + t`, OpenCV camera axes. */
export interface Placement {
  readonly t: Vector3;
  readonly qWxyz: QuaternionWxyz;
}

/** fx, fy, cx, cy, width, height in pixels of that image size. */
export type Intrinsics = readonly [number, number, number, number, number, number];

export interface Pose {
  readonly stream: string;
  readonly frame: number;
  /** `tracked`, `lost` or another word of the tracker's. */
  readonly state: string;
  /** null while the camera is not placed. */
  readonly worldFromCamera: Placement | null;
  /** null while unknown. */
  readonly intrinsics: Intrinsics | null;
  readonly scaleSource: string;
}

export interface Thumbnail {
  readonly stream: string;
  readonly width: number;
  readonly height: number;
  readonly jpeg: Uint8Array<ArrayBuffer>;
}

export interface PointCloud {
  readonly stream: string;
  readonly worldFromCamera: Placement;
  /** 3 per point, metres, camera axes. */
  readonly xyz: Float32Array;
  readonly rgb: Uint8Array;
}

export interface Surface {
  /** 3 per vertex, metres. */
  readonly vertices: Float32Array;
  /** 3 per triangle, counter-clockwise from the free side. */
  readonly indices: Uint16Array | Uint32Array;
  readonly rgb: Uint8Array | null;
}

/** How far a camera saw in its newest keyframe. */
export interface DepthMap {
  readonly stream: string;
  readonly worldFromCamera: Placement;
  /** Of this picture's size. */
  readonly intrinsics: Intrinsics;
  readonly width: number;
  readonly height: number;
  /** Row after row: `z * step` is the distance along the optical axis in metres, 0 = unknown. */
  readonly z: Uint16Array;
  readonly step: number;
}

export interface NavTile {
  readonly agent: string;
  /** 3 per vertex, metres. */
  readonly vertices: Float32Array;
  /** Convex polygons as lists of vertex numbers. */
  readonly polygons: readonly (readonly number[])[];
  /** Per polygon and edge: the neighbouring polygon, or what lies there instead. */
  readonly edges: readonly (readonly NavEdge[])[];
  /** Per polygon: what kind of ground it is, see `Ground`. */
  readonly areas: Uint8Array;
  /** The floor with its heights; null unless the part `detail` was asked for. */
  readonly detail: NavDetail | null;
  /** The same tile for Detour (version 7); empty unless the part `blob` was asked for. */
  readonly detour: Uint8Array;
}

export interface NavDetail {
  /** 3 per vertex, metres: those of the tile first, then the detail's own. */
  readonly vertices: Float32Array;
  /** 3 per triangle. */
  readonly indices: Uint16Array;
  /** Per triangle: the polygon it belongs to. */
  readonly polygons: Uint16Array;
}

/** Kinds of ground in `NavTile.areas`; take any other value for ground of a kind yet to be named. */
export const Ground = { floor: 63, stairs: 62, ramp: 61 } as const;

/** `portal` continues in the neighbouring tile. */
export type NavEdge = number | "wall" | "portal";

/** Cells along a side of a tile: tile [x, z] begins at `TILE_CELLS * cell_size_m` times x and z. */
export const TILE_CELLS = 64;

const UNUSED = 0xffff;
const BORDER = 0x8000;
const MAX_POLY_VERTS = 6;

export function readPose({ body }: Delta): Pose {
  const r = new Reader(body);
  return {
    stream: r.string("stream"),
    frame: r.number("frame"),
    state: r.string("state"),
    worldFromCamera: r.value("t") == null ? null : readPlacement(body),
    intrinsics: r.value("K") == null ? null : (r.numbers("K", 6) as unknown as Intrinsics),
    scaleSource: r.string("scale_source"),
  };
}

export function readThumbnail({ body, arrays }: Delta): Thumbnail {
  const r = new Reader(body);
  const jpeg = need(arrays.jpeg, Uint8Array, "jpeg");
  return { stream: r.string("stream"), width: r.number("width"), height: r.number("height"), jpeg };
}

export function readPoints({ body, arrays }: Delta): PointCloud {
  const r = new Reader(body);
  const step = r.number("step_m");
  const xyz = Float32Array.from(need(arrays.xyz, Int16Array, "xyz"), (n) => n * step);
  const rgb = need(arrays.rgb, Uint8Array, "rgb");
  if (rgb.length !== xyz.length) throw new ProtocolError("points and colours differ in number");
  return { stream: r.string("stream"), worldFromCamera: readPlacement(r.fields("world_from_camera")), xyz, rgb };
}

export function readSurface({ body, arrays }: Delta): Surface {
  const r = new Reader(body);
  const [ox, oy, oz] = r.numbers("origin_m", 3) as [number, number, number];
  const step = r.number("step_m");
  const quantised = need(arrays.vertices, Int16Array, "vertices");
  const vertices = dequantise(quantised, [ox, oy, oz], [step, step, step]);
  const indices = arrays.indices;
  if (!(indices instanceof Uint16Array || indices instanceof Uint32Array)) throw new ProtocolError("indices missing");
  checkBelow(indices, vertices.length / 3);
  const rgb = arrays.rgb instanceof Uint8Array && arrays.rgb.length === vertices.length ? arrays.rgb : null;
  return { vertices, indices, rgb };
}

export function readDepth({ body, arrays }: Delta): DepthMap {
  const r = new Reader(body);
  const intrinsics = r.numbers("K", 6) as unknown as Intrinsics;
  const [width, height] = [intrinsics[4], intrinsics[5]];
  const z = need(arrays.z, Uint16Array, "z");
  if (z.length !== width * height) throw new ProtocolError(`${z.length} depths for ${width} x ${height} pixels`);
  const worldFromCamera = readPlacement(r.fields("world_from_camera"));
  return { stream: r.string("stream"), worldFromCamera, intrinsics, width, height, z, step: r.number("step_m") };
}

export function readNav({ body, arrays }: Delta): NavTile {
  const r = new Reader(body);
  const [cell, height] = [r.number("cell_size_m"), r.number("cell_height_m")];
  const origin = r.numbers("origin_m", 3) as [number, number, number];
  const vertices = dequantise(need(arrays.verts, Uint16Array, "verts"), origin, [cell, height, cell]);
  const polys = need(arrays.polys, Uint16Array, "polys");
  const neighbours = need(arrays.neighbours, Uint16Array, "neighbours");
  if (neighbours.length !== polys.length) throw new ProtocolError("polygons and neighbours differ in number");
  const polygons: number[][] = [];
  const edges: NavEdge[][] = [];
  for (let start = 0; start < polys.length; start += MAX_POLY_VERTS) {
    const slots = polys.subarray(start, start + MAX_POLY_VERTS);
    const used = slots.indexOf(UNUSED);
    const polygon = [...slots.subarray(0, used < 0 ? MAX_POLY_VERTS : used)];
    checkBelow(polygon, vertices.length / 3);
    polygons.push(polygon);
    edges.push(polygon.map((_, i) => edgeOf(neighbours[start + i] ?? UNUSED)));
  }
  const areas = need(arrays.areas, Uint8Array, "areas");
  if (areas.length !== polygons.length) throw new ProtocolError("polygons and areas differ in number");
  const detail = arrays.detail_tris === undefined ? null : readDetail(arrays, vertices, polygons.length);
  const blob = arrays.blob instanceof Uint8Array ? arrays.blob : new Uint8Array();
  return { agent: r.string("agent"), vertices, polygons, edges, areas, detail, detour: blob };
}

/** Rows of the polygons of the nav tile of the same key that lie on islands: table tops and their like. */
export function readIslands({ arrays }: Delta): ReadonlySet<number> {
  return new Set(need(arrays.polygons, Uint16Array, "polygons"));
}

function readDetail(arrays: Delta["arrays"], own: Float32Array, numPolygons: number): NavDetail {
  const further = need(arrays.detail_verts, Float32Array, "detail_verts");
  const rows = need(arrays.detail_tris, Uint16Array, "detail_tris");
  const vertices = new Float32Array(own.length + further.length);
  vertices.set(own);
  vertices.set(further, own.length);
  const polygons = rows.filter((_, i) => i % 4 === 0);
  const indices = rows.filter((_, i) => i % 4 !== 0);
  checkBelow(polygons, numPolygons);
  checkBelow(indices, vertices.length / 3);
  return { vertices, indices, polygons };
}

function edgeOf(neighbour: number): NavEdge {
  if (neighbour === UNUSED) return "wall";
  return neighbour & BORDER ? "portal" : neighbour;
}

function readPlacement(fields: Fields): Placement {
  const r = new Reader(fields);
  return {
    t: r.numbers("t", 3) as unknown as Vector3,
    qWxyz: r.numbers("q_wxyz", 4) as unknown as QuaternionWxyz,
  };
}

function dequantise(grid: ArrayLike<number>, origin: Vector3, step: Vector3): Float32Array {
  const out = new Float32Array(grid.length);
  for (let i = 0; i < out.length; i++) out[i] = (origin[i % 3] ?? 0) + (grid[i] ?? 0) * (step[i % 3] ?? 0);
  return out;
}

function checkBelow(indices: ArrayLike<number>, count: number): void {
  for (let i = 0; i < indices.length; i++) {
    if ((indices[i] ?? 0) >= count) throw new ProtocolError(`index ${indices[i]} of ${count} vertices`);
  }
}

function need<T>(array: unknown, type: { new (...args: never[]): T; name: string }, name: string): T {
  if (!(array instanceof type)) throw new ProtocolError(`${name} is missing or not ${type.name}`);
  return array;
}
