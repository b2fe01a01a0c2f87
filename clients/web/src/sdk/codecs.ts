/** From the packed bytes of one buffer to its array: zstd alone, or with a step that knows what the array holds. */

import { decodeTriangles, decodeVertices, MeshoptError } from "./meshopt.js";
import { joinPlanes } from "./planes.js";
import { contentSize, decompress, ZstdError } from "./zstd.js";

export const ARRAY_TYPES = {
  uint8: Uint8Array,
  uint16: Uint16Array,
  uint32: Uint32Array,
  int16: Int16Array,
  int32: Int32Array,
  float32: Float32Array,
} as const;
export type WireArrayType = (typeof ARRAY_TYPES)[keyof typeof ARRAY_TYPES];
export type WireArray = Uint8Array | Uint16Array | Uint32Array | Int16Array | Int32Array | Float32Array;

/** A buffer that is not what it says. */
export class CodecError extends Error {
  override readonly name = "CodecError";
}

/** @throws CodecError when the bytes are not an array of that type and shape, or the codec is not known */
export function unpack(
  codec: unknown,
  packed: Uint8Array,
  ArrayType: WireArrayType,
  shape: readonly number[],
): WireArray {
  try {
    return undo(codec, packed, ArrayType, shape);
  } catch (error) {
    if (error instanceof ZstdError || error instanceof MeshoptError) throw new CodecError(error.message);
    throw error;
  }
}

function undo(codec: unknown, packed: Uint8Array, ArrayType: WireArrayType, shape: readonly number[]): WireArray {
  const length = shape.reduce((product, n) => product * n, 1);
  if (codec === "zstd") return new ArrayType(inflate(packed, length * ArrayType.BYTES_PER_ELEMENT).buffer);
  const [rows, columns] = shape;
  if (rows === undefined || columns === undefined || shape.length !== 2) {
    throw new CodecError(`${String(codec)} of shape ${shape.join(" x ")}`);
  }
  if (codec === "planes" && ArrayType === Uint16Array) return picture(packed, rows, columns);
  if (codec === "meshopt_triangles" && columns === 3) return triangles(packed, rows, ArrayType);
  if (codec === "meshopt_vertices") return vertices(packed, rows, columns, ArrayType);
  throw new CodecError(`codec ${String(codec)} for ${ArrayType.name} of ${columns} columns`);
}

function picture(packed: Uint8Array, rows: number, columns: number): Uint16Array {
  const out = new Uint16Array(rows * columns);
  joinPlanes(inflate(packed, 2 * out.length), columns, out);
  return out;
}

function triangles(packed: Uint8Array, count: number, ArrayType: WireArrayType): Uint16Array | Uint32Array {
  const wide = new Uint32Array(3 * count);
  decodeTriangles(inflateBounded(packed, wide.byteLength), wide);
  if (ArrayType === Uint32Array) return wide;
  if (ArrayType !== Uint16Array || wide.some((index) => index > 0xffff)) throw new CodecError("index too large");
  return Uint16Array.from(wide);
}

function vertices(packed: Uint8Array, rows: number, columns: number, ArrayType: WireArrayType): WireArray {
  const rowBytes = columns * ArrayType.BYTES_PER_ELEMENT;
  const stride = rowBytes + (-rowBytes & 3); // the stream's rows are multiples of 4 bytes
  const padded = new Uint8Array(rows * stride);
  decodeVertices(inflateBounded(packed, padded.length), stride, padded);
  const own = new Uint8Array(rows * rowBytes);
  for (let row = 0; row < rows; row++) own.set(padded.subarray(row * stride, row * stride + rowBytes), row * rowBytes);
  return new ArrayType(own.buffer);
}

function inflate(packed: Uint8Array, rawBytes: number): Uint8Array<ArrayBuffer> {
  const raw = new Uint8Array(rawBytes);
  decompress(packed, raw);
  return raw;
}

/** Undo zstd where the result's size is not known, but what it can be at most is. */
function inflateBounded(packed: Uint8Array, decodedBytes: number): Uint8Array {
  const size = contentSize(packed);
  if (size > 4 * decodedBytes + 1024) throw new CodecError(`a stream of ${size} bytes for ${decodedBytes}`);
  return inflate(packed, size);
}
