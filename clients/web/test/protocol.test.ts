import { readFileSync } from "node:fs";
import { Decoder } from "@msgpack/msgpack";
import { describe, expect, it } from "vitest";
import {
  CODECS,
  decode,
  DEFAULT_LAYERS,
  encode,
  LAYERS,
  MAX_BUFFER_BYTES,
  ProtocolError,
  SUBPROTOCOL,
} from "../src/sdk/protocol.js";
import { frame, message } from "./fixtures.js";

const CAPTURE_NS = 1_760_000_000_123_456_789n;

describe("golden frames of the server", () => {
  it("agree on the constants", () => {
    const constants: unknown = JSON.parse(readFileSync(new URL("./fixtures/constants.json", import.meta.url), "utf8"));
    expect(constants).toEqual({
      subprotocol: SUBPROTOCOL,
      layers: [...LAYERS],
      default_layers: [...DEFAULT_LAYERS],
      codecs: [...CODECS],
      max_buffer_bytes: MAX_BUFFER_BYTES,
    });
  });

  it("keep nanoseconds exact", () => {
    expect(message("welcome", "welcome").clock_ns).toBe(CAPTURE_NS);
    expect(message("pong", "pong")).toEqual({
      t: "pong",
      t0_ns: CAPTURE_NS,
      t1_ns: CAPTURE_NS + 5n,
      t2_ns: CAPTURE_NS + 7n,
    });
    expect(message("nav", "delta").infer_ns).toBe(CAPTURE_NS + 80_000_000n);
  });

  it("carry plain buffers as views of the frame", () => {
    const bytes = frame("nav");
    const nav = decode(bytes);
    if (nav?.t !== "delta") throw new Error("no delta");
    expect(nav.key).toEqual([-1, 2, "walker"]);
    expect(nav.arrays.verts).toBeInstanceOf(Uint16Array);
    expect(nav.arrays.verts?.buffer).toBe(bytes);
    expect([...(nav.arrays.verts?.subarray(3, 6) ?? [])]).toEqual([20, 1, 0]);
    expect([...(nav.arrays.blob ?? [])]).toEqual([0, 1, 2, 3, 4, 5, 6]);
  });

  it("inflate compressed buffers", () => {
    const { arrays } = message("mesh", "delta");
    expect(arrays.vertices).toBeInstanceOf(Int16Array);
    expect(arrays.vertices).toHaveLength(900);
    expect(arrays.vertices?.[0]).toBe(-450);
    expect(arrays.vertices?.[899]).toBe(449);
    expect([...(arrays.rgb?.subarray(897) ?? [])]).toEqual([200, 100, 50]);
  });

  it("decode every kind of message", () => {
    expect(message("snapshot_begin", "snapshot_begin").scene.scale_source).toBe("camera_height");
    expect(message("snapshot_end", "snapshot_end").seq).toBe(42);
    expect(message("remove", "remove").ver).toBe(8);
    expect(message("xform", "xform").scale).toBe(2);
    expect(message("synced", "synced").resume).toEqual({
      lineage: "lineage-a",
      seq: 41,
      roi: { radius_m: 4, center_m: [1, 0, 2] },
    });
    expect(message("event", "event").data).toEqual({ stream: "s1" });
    expect(message("error", "error").code).toBe("unknown_scene");
  });
});

describe("hostile frames", () => {
  it("survives every truncation with a ProtocolError", () => {
    for (const name of ["nav", "mesh", "welcome"]) {
      const whole = frame(name);
      for (let length = 0; length < whole.byteLength - 8; length += 3) {
        expect(() => decode(whole.slice(0, length)), `${name} cut to ${length}`).toThrow(ProtocolError);
      }
    }
  });

  it("never throws anything else, whatever byte is wrong", () => {
    for (const name of ["nav", "mesh"]) {
      const whole = frame(name);
      for (let at = 0; at < whole.byteLength; at++) {
        const bent = new Uint8Array(whole.slice(0));
        bent[at] = (bent[at] ?? 0) ^ 0xff;
        try {
          decode(bent.buffer);
        } catch (error) {
          expect(error, `${name}, byte ${at}`).toBeInstanceOf(ProtocolError);
        }
      }
    }
  });

  it("ignores kinds of a newer server", () => {
    const header = encode({ t: "ack", seq: 1, applied_ns: 1n });
    expect(decode(header.buffer)).toBeNull();
  });
});

describe("encode", () => {
  it("writes int64 where nanoseconds need them", () => {
    const bytes = encode({ t: "ack", seq: 7, applied_ns: CAPTURE_NS });
    const headerBytes = new DataView(bytes.buffer).getUint32(0, true);
    expect(headerBytes).toBe(bytes.length - 4);
    expect(new Decoder({ useBigInt64: true }).decode(bytes.subarray(4))).toEqual({ t: "ack", seq: 7, applied_ns: CAPTURE_NS });
  });
});
