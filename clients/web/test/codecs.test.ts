import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { CodecError, unpack } from "../src/sdk/codecs.js";
import { readDepth, readSurface } from "../src/sdk/layers.js";
import { decodeTriangles, decodeVertices, MeshoptError } from "../src/sdk/meshopt.js";
import { decode, ProtocolError } from "../src/sdk/protocol.js";
import { frame, message } from "./fixtures.js";

type Decoded = Record<string, Record<string, number[]>>;
/** What the Python SDK reads from the same frames. */
const expected = JSON.parse(readFileSync(new URL("./fixtures/decoded.json", import.meta.url), "utf8")) as Decoded;

describe("packed buffers", () => {
  it.each(["occluder", "occluder_large"])("%s: vertices and triangles as the reference decodes them", (name) => {
    const { arrays } = message(name, "delta");
    expect([...(arrays.vertices ?? [])]).toEqual(expected[name]?.vertices);
    expect([...(arrays.indices ?? [])]).toEqual(expected[name]?.indices);
    expect(arrays.vertices).toBeInstanceOf(Int16Array);
    expect(arrays.indices).toBeInstanceOf(name === "occluder" ? Uint16Array : Uint32Array);
    expect(readSurface(message(name, "delta")).indices).toHaveLength(expected[name]?.indices?.length ?? 0);
  });

  it("depth: pixels with all their jumps, and where they were seen from", () => {
    const depth = readDepth(message("depth", "delta"));
    expect([...depth.z]).toEqual(expected.depth?.z);
    expect([depth.width, depth.height, depth.step]).toEqual([9, 7, 0.001]);
    expect(depth.worldFromCamera.t).toEqual([1, 1.5, -2]);
  });

  it("refuses depth that does not fill its picture", () => {
    const delta = message("depth", "delta");
    const broken = { ...delta, body: { ...delta.body, K: [8, 8, 4.5, 3.5, 9, 8] } };
    expect(() => readDepth(broken)).toThrow(ProtocolError);
  });

  it("survives any changed byte: refuses it, or reads an array of the right size", () => {
    const whole = new Uint8Array(frame("occluder"));
    let refused = 0;
    for (let at = 4; at < whole.length; at++) {
      const spoiled = whole.slice();
      spoiled[at] = (spoiled[at] ?? 0) ^ (1 + ((at * 37) % 255));
      try {
        decode(spoiled.buffer);
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error;
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(50);
  });

  it("refuses what is cut short or too long, and codecs it does not know", () => {
    const triangle = Uint8Array.of(0xe1, 0xf0, ...new Array<number>(16).fill(0));
    decodeTriangles(triangle, new Uint32Array(3));
    expect(() => decodeTriangles(triangle.subarray(1), new Uint32Array(3))).toThrow(MeshoptError);
    expect(() => decodeTriangles(triangle, new Uint32Array(6))).toThrow(MeshoptError);
    expect(() => decodeTriangles(Uint8Array.of(...triangle, 0), new Uint32Array(3))).toThrow(MeshoptError);
    const vertex = Uint8Array.of(0xa0, 0, 0, 0, 0, ...new Array<number>(32).fill(7));
    const out = new Uint8Array(4);
    decodeVertices(vertex, 4, out);
    expect([...out]).toEqual([7, 7, 7, 7]);
    expect(() => decodeVertices(vertex.subarray(0, 36), 4, out)).toThrow(MeshoptError);
    expect(() => decodeVertices(vertex, 4, new Uint8Array(80 * 4))).toThrow(MeshoptError);
    expect(() => unpack("brotli", vertex, Uint8Array, [1, 4])).toThrow(CodecError);
    expect(() => unpack("planes", vertex, Uint8Array, [1, 4])).toThrow(CodecError);
    expect(() => unpack("meshopt_vertices", vertex, Uint8Array, [4])).toThrow(CodecError);
  });
});
