import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { readNav } from "../src/sdk/layers.js";
import { PolygonsError, unpackPolygons } from "../src/sdk/polygons.js";
import { decode, ProtocolError } from "../src/sdk/protocol.js";
import { lengthen, ShortError } from "../src/sdk/short.js";
import { frame, message } from "./fixtures.js";

/** As in `make_fixtures.py`. */
const CAPTURE_NS = 1_760_000_000_123_456_789n;

type Decoded = Record<string, Record<string, number[]>>;
/** What the Python SDK reads from the same frames. */
const expected = JSON.parse(readFileSync(new URL("./fixtures/decoded.json", import.meta.url), "utf8")) as Decoded;

describe("short deltas", () => {
  it("bring a nav tile's arrays, neighbours included, and the buffers behind it", () => {
    const delta = message("nav_short", "delta");
    for (const name of ["verts", "polys", "neighbours", "areas", "blob"]) {
      expect([...(delta.arrays[name] ?? [])], name).toEqual(expected.nav_short?.[name]);
    }
    expect(delta.body).toEqual({
      agent: "walker",
      origin_m: [3.25, -102.5, -6.5],
      cell_size_m: 0.05,
      cell_height_m: 0.025,
    });
    expect([delta.scene, delta.seq, delta.epoch, delta.layer, delta.ver]).toEqual(["main", 43, 3, "nav", 7]);
    expect([delta.capture_ns, delta.infer_ns]).toEqual([CAPTURE_NS, CAPTURE_NS + 80_000_000n]);
    expect(delta.publish_ns).toBe(CAPTURE_NS + 95_000_000n);
    expect(readNav(delta).edges).toEqual([
      ["portal", "wall", 1, "portal"],
      [0, "portal", "portal"],
    ]);
  });

  it("say what a plain delta says", () => {
    expect(message("occluder_short", "delta")).toEqual(message("occluder", "delta"));
    expect(frame("occluder_short").byteLength).toBeLessThan(frame("occluder").byteLength - 150);
  });

  it("survive any changed byte: refused, or read", () => {
    let refused = 0;
    for (const name of ["nav_short", "occluder_short"]) {
      const whole = new Uint8Array(frame(name));
      for (let at = 0; at < whole.length; at++) {
        const spoiled = whole.slice();
        spoiled[at] = (spoiled[at] ?? 0) ^ (1 + ((at * 37) % 255));
        try {
          decode(spoiled.buffer);
        } catch (error) {
          if (!(error instanceof ProtocolError)) throw error;
          refused++;
        }
      }
    }
    expect(refused).toBeGreaterThan(50);
  });

  it("refuse what is cut short, too long, or no list of theirs", () => {
    const tile = new Uint8Array(30);
    expect(unpackPolygons(tile).areas).toHaveLength(0);
    expect(() => unpackPolygons(tile.subarray(1))).toThrow(PolygonsError);
    expect(() => unpackPolygons(new Uint8Array(31))).toThrow(/longer/);
    expect(() => unpackPolygons(Uint8Array.of(...tile.subarray(0, 28), 0xff, 0xff, 0xff, 0xff, 0xff))).toThrow(/no end/);
    expect(() => lengthen([1, 2])).toThrow(ShortError);
  });
});
