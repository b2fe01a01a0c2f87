/**
 * Every message on the map's WebSocket and the framing they share: the TypeScript twin of `server/protocol/`.
 *
 * A message is one binary frame: `u32 header_len | msgpack header | zeros to the next multiple of 8 | buffers`,
 * little-endian. Buffers are 8-byte aligned, so uncompressed arrays are views of the frame and are never copied.
 */

import { Decoder, Encoder } from "@msgpack/msgpack";
import { ARRAY_TYPES, CodecError, unpack, type WireArray, type WireArrayType } from "./codecs.js";
import { lengthen, ShortError } from "./short.js";

export const SUBPROTOCOL = "commonground.map.v1";
export const CLOSE_BAD_MESSAGE = 4400;
export const CLOSE_UNAUTHORIZED = 4401;
export const CLOSE_UNSUPPORTED = 4406;
export const CLOSE_TOO_SLOW = 4008;
export const MAX_BUFFER_BYTES = 64 * 1024 * 1024;

export const LAYERS = [
  "pose",
  "thumbnail",
  "points",
  "mesh",
  "nav",
  "islands",
  "occluder",
  "culling",
  "depth",
  "asset",
  "event",
] as const;
export type Layer = (typeof LAYERS)[number];
/** What is asked for when nothing is said: all but what serves a special purpose. */
export const DEFAULT_LAYERS: readonly Layer[] = LAYERS.filter((layer) => layer !== "culling" && layer !== "depth");
/** What this SDK can undo besides the codecs that everybody can. */
export const CODECS = ["meshopt", "short"] as const;
/** What a nav tile can bring besides polygons. */
export type Part = "detail" | "blob";

export type Vector3 = readonly [number, number, number];
/** w, x, y, z. */
export type QuaternionWxyz = readonly [number, number, number, number];
export type Key = readonly (number | string)[];
export type Fields = Readonly<Record<string, unknown>>;
export type { WireArray };

/** A frame that does not follow this file. */
export class ProtocolError extends Error {
  override readonly name = "ProtocolError";
}

// -- client to server ---------------------------------------------------------------------------------------------------

/** Region of interest: a sphere in world metres, or around a stream's camera as it moves. */
export interface Roi {
  radius_m: number;
  center_m?: Vector3;
  follow?: string;
}

/** Where a client that comes back had got to, as the last `synced` said; the server sends only what is newer. */
export interface Resume {
  lineage: string;
  seq: number;
  /** The region that was complete then; null = the whole scene. */
  roi: Roi | null;
}

export type ClientMessage =
  | { t: "hello"; client: string; token?: string; max_message_bytes?: number }
  | {
      t: "subscribe";
      scene: string;
      layers: readonly Layer[];
      roi?: Roi;
      max_hz?: number;
      resume?: Resume;
      agents?: readonly string[];
      parts?: readonly Part[];
      codecs?: readonly (typeof CODECS)[number][];
    }
  | { t: "update_roi"; scene: string; roi: Roi | null }
  | { t: "unsubscribe"; scene: string }
  | { t: "ack"; seq: number; applied_ns: bigint }
  | { t: "ping"; t0_ns: bigint };

// -- server to client ---------------------------------------------------------------------------------------------------

export interface SceneInfo {
  scene: string;
  epoch: number;
  /** Changes when the server lost the scene's state: what the client holds is then void. */
  lineage: string;
  /** `posed`, `marker`, `camera_height`, `distance` or `none`: with `none`, lengths are not metres. */
  scale_source: string;
  gravity_source: string;
}

/** The newest version of one key of one layer; replaces whatever the client had for it. */
export interface Delta {
  t: "delta";
  scene: string;
  seq: number;
  epoch: number;
  layer: Layer;
  /** `[x, z]` of a tile (nav, islands: `[x, z, agent]`), `[stream]` of a pose or thumbnail, `[keyframe]` of points. */
  key: Key;
  ver: number;
  /** Newest pixels that went into it, server clock. */
  capture_ns: bigint;
  infer_ns: bigint;
  publish_ns: bigint;
  body: Fields;
  arrays: Readonly<Record<string, WireArray>>;
}

export interface Remove {
  t: "remove";
  scene: string;
  seq: number;
  layer: Layer;
  key: Key;
  ver: number;
}

/** The whole map moved: `new = scale * R(quat) * old + translation`. Applies to all of older epochs, also if it comes later. */
export interface Xform {
  t: "xform";
  scene: string;
  seq: number;
  epoch: number;
  scale: number;
  quat_wxyz: QuaternionWxyz;
  translation_m: Vector3;
  reason: string;
}

export interface Welcome {
  t: "welcome";
  session: string;
  server: string;
  clock_ns: bigint;
  scenes: SceneInfo[];
}

export type ServerMessage =
  | Welcome
  | { t: "snapshot_begin"; scene: SceneInfo; seq: number; entries: number; resumed: boolean }
  | { t: "snapshot_end"; scene: string; seq: number }
  | Delta
  | Remove
  | Xform
  | { t: "synced"; scene: string; resume: Resume | null }
  | { t: "event"; scene: string; seq: number; name: string; data: Fields }
  | { t: "pong"; t0_ns: bigint; t1_ns: bigint; t2_ns: bigint }
  | { t: "error"; code: string; detail: string };

// -- framing ------------------------------------------------------------------------------------------------------------

const encoder = new Encoder({ useBigInt64: true });
const decoder = new Decoder({ useBigInt64: true });

/** Frame a message for the server; client messages carry no buffers. */
export function encode(message: ClientMessage): Uint8Array<ArrayBuffer> {
  const header = encoder.encode(message);
  const frame = new Uint8Array(4 + header.length);
  new DataView(frame.buffer).setUint32(0, header.length, true);
  frame.set(header, 4);
  return frame;
}

/**
 * Decode one frame from the server; `null` for a kind of message that this version does not know (newer servers may
 * send some).
 *
 * @throws ProtocolError when the frame is cut short, malformed or announces sizes it does not have
 */
export function decode(frame: ArrayBuffer): ServerMessage | null {
  if (frame.byteLength < 4) throw new ProtocolError("shorter than its own length field");
  const headerBytes = new DataView(frame).getUint32(0, true);
  if (headerBytes > frame.byteLength - 4) {
    throw new ProtocolError(`header of ${headerBytes} bytes in a frame of ${frame.byteLength}`);
  }
  let header: unknown;
  try {
    header = decoder.decode(new Uint8Array(frame, 4, headerBytes));
  } catch (error) {
    throw new ProtocolError(`header is not msgpack: ${String(error)}`);
  }
  const end = 4 + headerBytes;
  const payloadStart = Math.min(end + (-end & 7), frame.byteLength);
  if (Array.isArray(header)) return readShort(header, frame, payloadStart);
  return readMessage(new Reader(asFields(header, "header")), frame, payloadStart);
}

function readShort(list: readonly unknown[], frame: ArrayBuffer, payloadStart: number): Delta {
  try {
    const { header, arrays } = lengthen(list);
    const delta = readDelta(new Reader(header), frame, payloadStart);
    return { ...delta, arrays: { ...arrays, ...delta.arrays } };
  } catch (error) {
    if (error instanceof ShortError) throw new ProtocolError(error.message);
    throw error;
  }
}

function readMessage(r: Reader, frame: ArrayBuffer, payloadStart: number): ServerMessage | null {
  const t = r.string("t");
  switch (t) {
    case "welcome":
      return {
        t,
        session: r.string("session"),
        server: r.string("server"),
        clock_ns: r.bigint("clock_ns"),
        scenes: r.list("scenes").map((scene, i) => readScene(asFields(scene, `scenes[${i}]`))),
      };
    case "snapshot_begin":
      return {
        t,
        scene: readScene(r.fields("scene")),
        seq: r.number("seq"),
        entries: r.number("entries"),
        resumed: r.value("resumed") === true,
      };
    case "snapshot_end":
      return { t, scene: r.string("scene"), seq: r.number("seq") };
    case "delta":
      return readDelta(r, frame, payloadStart);
    case "remove":
      return { t, ...readKeyed(r) };
    case "xform":
      return {
        t,
        scene: r.string("scene"),
        seq: r.number("seq"),
        epoch: r.number("epoch"),
        scale: r.number("scale"),
        quat_wxyz: r.numbers("quat_wxyz", 4) as unknown as QuaternionWxyz,
        translation_m: r.numbers("translation_m", 3) as unknown as Vector3,
        reason: r.string("reason"),
      };
    case "synced":
      return { t, scene: r.string("scene"), resume: r.value("resume") == null ? null : readResume(r.fields("resume")) };
    case "event":
      return { t, scene: r.string("scene"), seq: r.number("seq"), name: r.string("name"), data: r.fields("data") };
    case "pong":
      return { t, t0_ns: r.bigint("t0_ns"), t1_ns: r.bigint("t1_ns"), t2_ns: r.bigint("t2_ns") };
    case "error":
      return { t, code: r.string("code"), detail: r.string("detail") };
    default:
      return null;
  }
}

function readDelta(r: Reader, frame: ArrayBuffer, payloadStart: number): Delta {
  return {
    t: "delta",
    ...readKeyed(r),
    epoch: r.number("epoch"),
    capture_ns: r.bigint("capture_ns"),
    infer_ns: r.bigint("infer_ns"),
    publish_ns: r.bigint("publish_ns"),
    body: r.fields("body"),
    arrays: readArrays(r, frame, payloadStart),
  };
}

function readScene(fields: Fields): SceneInfo {
  const r = new Reader(fields);
  return {
    scene: r.string("scene"),
    epoch: r.number("epoch"),
    lineage: r.string("lineage"),
    scale_source: r.string("scale_source"),
    gravity_source: r.string("gravity_source"),
  };
}

function readResume(fields: Fields): Resume {
  const r = new Reader(fields);
  return { lineage: r.string("lineage"), seq: r.number("seq"), roi: r.value("roi") == null ? null : readRoi(r.fields("roi")) };
}

function readRoi(fields: Fields): Roi {
  const r = new Reader(fields);
  const center = r.value("center_m") == null ? null : (r.numbers("center_m", 3) as unknown as Vector3);
  return {
    radius_m: r.number("radius_m"),
    ...(center && { center_m: center }),
    ...(typeof r.value("follow") === "string" && { follow: r.string("follow") }),
  };
}

function readKeyed(r: Reader): { scene: string; seq: number; layer: Layer; key: Key; ver: number } {
  const key = r.list("key").map((part) => {
    if (typeof part === "number" || typeof part === "string") return part;
    if (typeof part === "bigint") return Number(part);
    throw new ProtocolError("key holds something that is neither a number nor a string");
  });
  return { scene: r.string("scene"), seq: r.number("seq"), layer: r.string("layer") as Layer, key, ver: r.number("ver") };
}

function isDtype(name: string): name is keyof typeof ARRAY_TYPES {
  return Object.hasOwn(ARRAY_TYPES, name);
}

function readArrays(message: Reader, frame: ArrayBuffer, payloadStart: number): Record<string, WireArray> {
  const arrays: Record<string, WireArray> = {};
  const described = message.value("buffers");
  if (described === undefined) return arrays;
  for (const item of message.list("buffers")) {
    const r = new Reader(asFields(item, "buffer"));
    const [name, dtype, off, len] = [r.string("name"), r.string("dtype"), r.count("off"), r.count("len")];
    if (!isDtype(dtype)) throw new ProtocolError(`buffer ${name}: dtype ${dtype} is not on the wire`);
    const ArrayType = ARRAY_TYPES[dtype];
    const shape = r.list("shape").map((n) => asCount(n, `shape of ${name}`));
    const length = shape.reduce((product, n) => product * n, 1);
    const rawBytes = length * ArrayType.BYTES_PER_ELEMENT;
    if (rawBytes > MAX_BUFFER_BYTES) throw new ProtocolError(`buffer ${name} of ${rawBytes} bytes`);
    if (off % 8 !== 0 || payloadStart + off + len > frame.byteLength) {
      throw new ProtocolError(`buffer ${name} lies outside its frame`);
    }
    const codec = r.value("codec") ?? "none";
    if (rawBytes === 0) {
      arrays[name] = new ArrayType(0); // a frame without payload is not padded: there may be no aligned place in it
    } else if (codec === "none" && len === rawBytes) {
      arrays[name] = new ArrayType(frame, payloadStart + off, length);
    } else if (codec !== "none") {
      arrays[name] = unpackOrRefuse(codec, new Uint8Array(frame, payloadStart + off, len), ArrayType, shape, name);
    } else {
      throw new ProtocolError(`buffer ${name}: ${len} bytes for ${rawBytes}`);
    }
  }
  return arrays;
}

function unpackOrRefuse(
  codec: unknown,
  packed: Uint8Array,
  ArrayType: WireArrayType,
  shape: readonly number[],
  name: string,
): WireArray {
  try {
    return unpack(codec, packed, ArrayType, shape);
  } catch (error) {
    if (error instanceof CodecError) throw new ProtocolError(`buffer ${name}: ${error.message}`);
    throw error;
  }
}

// -- typed access to untyped fields -------------------------------------------------------------------------------------

function asFields(value: unknown, what: string): Fields {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new ProtocolError(`${what} is not a map`);
  }
  return value as Fields;
}

function asCount(value: unknown, what: string): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) {
    throw new ProtocolError(`${what} is not a count`);
  }
  return value;
}

/** Reads fields of a decoded map and says which one is wrong. Layer bodies are read through it as well. */
export class Reader {
  constructor(private readonly source: Fields) {}

  value(name: string): unknown {
    return this.source[name];
  }

  string(name: string): string {
    const value = this.source[name];
    if (typeof value !== "string") throw new ProtocolError(`${name} is not a string`);
    return value;
  }

  number(name: string): number {
    const value = this.source[name];
    if (typeof value === "bigint") return Number(value);
    if (typeof value !== "number") throw new ProtocolError(`${name} is not a number`);
    return value;
  }

  count(name: string): number {
    return asCount(this.source[name], name);
  }

  bigint(name: string): bigint {
    const value = this.source[name];
    if (typeof value === "bigint") return value;
    if (typeof value !== "number" || !Number.isInteger(value)) throw new ProtocolError(`${name} is not an integer`);
    return BigInt(value);
  }

  list(name: string): readonly unknown[] {
    const value = this.source[name];
    if (!Array.isArray(value)) throw new ProtocolError(`${name} is not a list`);
    return value;
  }

  numbers(name: string, length: number): number[] {
    const list = this.list(name).map((n) => (typeof n === "bigint" ? Number(n) : n));
    if (list.length !== length || !list.every((n) => typeof n === "number")) {
      throw new ProtocolError(`${name} is not ${length} numbers`);
    }
    return list;
  }

  fields(name: string): Fields {
    return asFields(this.source[name], name);
  }
}
