import { describe, expect, it } from "vitest";
import { decompress, ZstdError } from "../src/sdk/zstd.js";
import { frame } from "./fixtures.js";

interface Case {
  readonly raw: Uint8Array;
  readonly packed: Uint8Array;
}

/** What the reference implementation made of several textures at several levels. */
function cases(): Case[] {
  const bytes = new Uint8Array(frame("zstd_cases"));
  const view = new DataView(bytes.buffer);
  const found: Case[] = [];
  for (let at = 0; at < bytes.length; ) {
    const rawEnd = at + 8 + view.getUint32(at, true);
    const packedEnd = rawEnd + view.getUint32(at + 4, true);
    found.push({ raw: bytes.slice(at + 8, rawEnd), packed: bytes.slice(rawEnd, packedEnd) });
    at = packedEnd;
  }
  return found;
}

/** A reproducible stream of numbers in 0..1. */
function random(seed: number): () => number {
  let state = seed;
  return () => (state = (state * 1103515245 + 12345) % 2 ** 31) / 2 ** 31;
}

describe("decompress", () => {
  it("gives back what the reference implementation packed", () => {
    const all = cases();
    expect(all).toHaveLength(32);
    for (const { raw, packed } of all) {
      const out = new Uint8Array(raw.length);
      decompress(packed, out);
      expect(Buffer.compare(out, raw)).toBe(0);
    }
  });

  it("refuses frames of another size than announced", () => {
    for (const { raw, packed } of cases()) {
      expect(() => decompress(packed, new Uint8Array(raw.length + 1))).toThrow(ZstdError);
      expect(() => decompress(packed, new Uint8Array(raw.length - 1))).toThrow(ZstdError);
    }
  });

  it("refuses every frame that is cut short or goes on", () => {
    for (const { raw, packed } of cases()) {
      for (let length = 0; length < packed.length; length += Math.ceil(packed.length / 40)) {
        expect(() => decompress(packed.subarray(0, length), new Uint8Array(raw.length))).toThrow(ZstdError);
      }
      expect(() => decompress(Uint8Array.of(...packed, 0), new Uint8Array(raw.length))).toThrow(ZstdError);
    }
  });

  it("ends with a result or a ZstdError, whatever bytes are wrong", () => {
    const next = random(5);
    let refused = 0;
    for (const { raw, packed } of cases()) {
      for (let round = 0; round < 100; round++) {
        const bent = packed.slice();
        for (let i = 0; i <= round % 3; i++) bent[Math.floor(next() * bent.length)] = Math.floor(next() * 256);
        try {
          decompress(bent, new Uint8Array(raw.length));
        } catch (error) {
          expect(error).toBeInstanceOf(ZstdError);
          refused++;
        }
      }
    }
    expect(refused).toBeGreaterThan(1000);
  });
});
