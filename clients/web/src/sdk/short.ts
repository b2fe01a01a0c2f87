/** Deltas with a list for a header, which says by place what a plain one says by name: see `server/protocol/short.py`. */

import { PolygonsError, unpackPolygons } from "./polygons.js";

export const DTYPES = ["uint8", "uint16", "uint32", "int16", "int32", "float32"] as const;
const CODECS = ["none", "zstd", "meshopt_vertices", "meshopt_triangles", "planes"] as const;
const NAMES = ["scene", "seq", "epoch", "layer", "key", "ver", "capture_ns"] as const;
const LENGTH = 11;

/** A list that is no short delta. */
export class ShortError extends Error {
  override readonly name = "ShortError";
}

export interface Lengthened {
  /** The header of the plain delta, not yet checked. */
  readonly header: Record<string, unknown>;
  /** Those that a nav tile's body held. */
  readonly arrays: Record<string, Uint8Array | Uint16Array>;
}

/** @throws ShortError */
export function lengthen(list: readonly unknown[]): Lengthened {
  if (list.length !== LENGTH) throw new ShortError(`a short delta has ${LENGTH} parts, not ${list.length}`);
  const header: Record<string, unknown> = { t: "delta" };
  NAMES.forEach((name, i) => (header[name] = list[i]));
  const began = integer(list[6]);
  header.infer_ns = began + integer(list[7]);
  header.publish_ns = began + integer(list[8]);
  header.buffers = buffersOf(list[10]);
  if (!(list[9] instanceof Uint8Array)) return { header: { ...header, body: list[9] }, arrays: {} };
  const { origin, cellSize, cellHeight, ...arrays } = unpacked(list[9]);
  const agent = Array.isArray(header.key) ? header.key.at(-1) : undefined;
  const body = { agent, origin_m: origin, cell_size_m: cellSize, cell_height_m: cellHeight };
  return { header: { ...header, body }, arrays };
}

function buffersOf(described: unknown): unknown[] {
  if (!Array.isArray(described)) throw new ShortError("buffers are not a list");
  let off = 0;
  return described.map((item: unknown) => {
    if (!Array.isArray(item)) throw new ShortError("a buffer is not a list");
    const [name, dtype, codec, len, ...shape] = item as unknown[];
    const buffer = { name, dtype: DTYPES[dtype as number], codec: CODECS[codec as number], len, off, shape };
    if (typeof len !== "number" || buffer.dtype === undefined || buffer.codec === undefined) {
      throw new ShortError(`buffer ${String(name)} is not described`);
    }
    off += len + (-len & 7);
    return buffer;
  });
}

function integer(value: unknown): bigint {
  if (typeof value === "bigint") return value;
  if (typeof value !== "number" || !Number.isInteger(value)) throw new ShortError("a time is not an integer");
  return BigInt(value);
}

function unpacked(data: Uint8Array): ReturnType<typeof unpackPolygons> {
  try {
    return unpackPolygons(data);
  } catch (error) {
    if (error instanceof PolygonsError) throw new ShortError(error.message);
    throw error;
  }
}
