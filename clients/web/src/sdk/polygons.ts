/** The polygons of a NavMesh tile: undo what `server/protocol/polygons.py` packs, and says how. */

const FRAME_BYTES = 28;
const SIDE_CELLS = 64;
const FLOOR = 63;
const [UNUSED, WALL, PORTAL] = [0xffff, 0xffff, 0x8000];
const MAX_CORNERS = 6;
const MAX_NUMBER = 0xffff;

/** Bytes that are no such tile. */
export class PolygonsError extends Error {
  override readonly name = "PolygonsError";
}

export interface PackedTile {
  readonly origin: readonly [number, number, number];
  readonly cellSize: number;
  readonly cellHeight: number;
  /** x, y, z in cells. */
  readonly verts: Uint16Array;
  /** 6 per polygon, 0xffff = unused; `neighbours` likewise. */
  readonly polys: Uint16Array;
  readonly neighbours: Uint16Array;
  readonly areas: Uint8Array;
}

/** @throws PolygonsError */
export function unpackPolygons(data: Uint8Array): PackedTile {
  if (data.length < FRAME_BYTES) throw new PolygonsError("shorter than its own frame");
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const next = numbers(data);
  const verts = new Uint16Array(3 * next.count());
  for (let i = 0, y = 0; i < verts.length; i += 3) {
    [verts[i], verts[i + 2]] = [next.upTo(MAX_NUMBER), next.upTo(MAX_NUMBER)];
    const zigzag = next.upTo(2 * MAX_NUMBER + 1);
    y += (zigzag >> 1) ^ -(zigzag & 1);
    if (y < 0 || y > MAX_NUMBER) throw new PolygonsError("a number is too large");
    verts[i + 1] = y;
  }
  const count = next.count();
  const polys = new Uint16Array(MAX_CORNERS * count).fill(UNUSED);
  const areas = new Uint8Array(count);
  for (let row = 0, area = FLOOR; row < count; row++) {
    const head = next.upTo(2 * MAX_CORNERS + 1);
    if (head < 6) throw new PolygonsError(`a polygon of ${head >> 1} corners`);
    if (head & 1) area = next.upTo(255);
    areas[row] = area;
    for (let slot = 0; slot < head >> 1; slot++) polys[MAX_CORNERS * row + slot] = next.upTo(verts.length / 3 - 1);
  }
  next.end();
  return {
    origin: [view.getFloat32(0, true), view.getFloat32(4, true), view.getFloat32(8, true)],
    cellSize: view.getFloat64(12, true),
    cellHeight: view.getFloat64(20, true),
    verts,
    polys,
    neighbours: neighboursOf(verts, polys),
    areas,
  };
}

/** What lies behind each edge follows from who shares its ends. */
function neighboursOf(verts: Uint16Array, polys: Uint16Array): Uint16Array {
  const owner = new Map<number, number>();
  forEachEdge(polys, (row, _, a, b) => owner.set(a * (MAX_NUMBER + 1) + b, row));
  const out = new Uint16Array(polys.length).fill(WALL);
  forEachEdge(polys, (row, slot, a, b) => {
    const shared = sidesOf(verts, a) & sidesOf(verts, b);
    const portal = shared ? PORTAL | (31 - Math.clz32(shared & -shared)) : WALL;
    out[MAX_CORNERS * row + slot] = owner.get(b * (MAX_NUMBER + 1) + a) ?? portal;
  });
  return out;
}

function sidesOf(verts: Uint16Array, corner: number): number {
  const [x, z] = [verts[3 * corner], verts[3 * corner + 2]];
  return Number(x === 0) | (Number(z === SIDE_CELLS) << 1) | (Number(x === SIDE_CELLS) << 2) | (Number(z === 0) << 3);
}

function forEachEdge(polys: Uint16Array, visit: (row: number, slot: number, a: number, b: number) => void): void {
  for (let row = 0; MAX_CORNERS * row < polys.length; row++) {
    const corners = polys.subarray(MAX_CORNERS * row, MAX_CORNERS * (row + 1)).filter((corner) => corner !== UNUSED);
    corners.forEach((a, slot) => visit(row, slot, a, corners[(slot + 1) % corners.length] ?? a));
  }
}

/** Reads LEB128 numbers behind the frame. */
function numbers(data: Uint8Array): { upTo(most: number): number; count(): number; end(): void } {
  let at = FRAME_BYTES;
  function upTo(most: number): number {
    let number = 0;
    for (let shift = 0; shift <= 28; shift += 7) {
      const byte = data[at++];
      if (byte === undefined) throw new PolygonsError("cut short");
      number += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) {
        if (number > most) throw new PolygonsError(`${number} where at most ${most} can be`);
        return number;
      }
    }
    throw new PolygonsError("a number has no end");
  }
  return {
    upTo,
    count: () => upTo(data.length), // nothing takes less than a byte
    end: () => {
      if (at !== data.length) throw new PolygonsError("longer than it says");
    },
  };
}
