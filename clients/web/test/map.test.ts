import { describe, expect, it } from "vitest";
import { SceneMap } from "../src/sdk/map.js";
import type { ServerMessage, Xform } from "../src/sdk/protocol.js";
import { apply, compose, IDENTITY, type Similarity } from "../src/sdk/transform.js";
import { delta, message } from "./fixtures.js";

const INFO = { scene: "main", epoch: 0, lineage: "a", scale_source: "none", gravity_source: "none" };

function begin(changes: Partial<typeof INFO> = {}, resumed = false): ServerMessage {
  return { t: "snapshot_begin", scene: { ...INFO, ...changes }, seq: 1, entries: 0, resumed };
}

const END: ServerMessage = { t: "snapshot_end", scene: "main", seq: 1 };

function xform(epoch: number, changes: Partial<Xform> = {}): Xform {
  return {
    t: "xform",
    scene: "main",
    seq: 10 + epoch,
    epoch,
    scale: 2,
    quat_wxyz: [1, 0, 0, 0],
    translation_m: [1, 0, 0],
    reason: "scale",
    ...changes,
  };
}

function mapWith(...messages: ServerMessage[]): SceneMap {
  const map = new SceneMap();
  for (const m of messages) map.apply(m);
  return map;
}

describe("SceneMap", () => {
  it("keeps the newest version of a key and says nothing about older ones", () => {
    const map = mapWith(begin(), END, delta({ ver: 3 }));
    expect(map.apply(delta({ ver: 2 }))).toEqual([]);
    expect(map.apply(delta({ ver: 3 }))).toEqual([]);
    expect(map.apply(delta({ ver: 4 }))).toHaveLength(1);
    expect(map.get("nav", [0, 0, "walker"])?.delta.ver).toBe(4);
    expect(map.size).toBe(1);
  });

  it("removes, and takes a tile back that comes again with the same version", () => {
    const map = mapWith(begin(), END, delta({ ver: 3 }));
    map.apply({ t: "remove", scene: "main", seq: 2, layer: "nav", key: [0, 0, "walker"], ver: 3 });
    expect(map.size).toBe(0);
    map.apply(delta({ ver: 3 }));
    expect(map.size).toBe(1);
  });

  it("drops after a full snapshot what the server no longer named, and only then", () => {
    const map = mapWith(begin(), END, delta({ key: [0, 0, "w"] }), delta({ key: [1, 0, "w"] }));
    map.apply(begin());
    map.apply(delta({ key: [1, 0, "w"] })); // the same version again: confirmed
    expect(map.size).toBe(2);
    const kinds = map.apply(END).map(({ kind }) => kind);
    expect(kinds).toEqual(["removed", "complete"]);
    expect(map.get("nav", [1, 0, "w"])).toBeDefined();
  });

  it("keeps everything across a resumed snapshot", () => {
    const map = mapWith(begin(), END, delta({ key: [0, 0, "w"] }), begin({}, true), END);
    expect(map.size).toBe(1);
  });

  it("starts over when the server lost the scene", () => {
    const map = mapWith(begin(), END, delta({ ver: 9 }));
    const changes = map.apply(begin({ lineage: "b" }));
    expect(changes.map(({ kind }) => kind)).toEqual(["removed", "scene"]);
    expect(map.apply(delta({ ver: 1 }))).toHaveLength(1);
  });

  it("moves what it holds once an epoch, and what comes later in old coordinates", () => {
    const map = mapWith(begin(), END, delta({ key: [0, 0, "w"] }), xform(1), xform(1), xform(2));
    map.apply(delta({ key: [1, 0, "w"], epoch: 1 }));
    map.apply(delta({ key: [2, 0, "w"], epoch: 2 }));
    const at = (x: number): Similarity => map.get("nav", [x, 0, "w"])?.worldFromEntry ?? IDENTITY;
    expect(apply(at(0), [1, 0, 0])).toEqual([7, 0, 0]); // 2 * (2 * 1 + 1) + 1
    expect(apply(at(1), [1, 0, 0])).toEqual([3, 0, 0]);
    expect(apply(at(2), [1, 0, 0])).toEqual([1, 0, 0]);
    expect(map.info?.epoch).toBe(2);
  });

  it("does not move stale entries twice when a full snapshot retells the moves", () => {
    const map = mapWith(begin(), END, delta(), xform(1));
    map.apply(begin({ epoch: 0 }));
    map.apply(delta({ key: [5, 5, "w"], epoch: 0 }));
    map.apply(xform(1));
    expect(map.get("nav", [0, 0, "walker"])?.worldFromEntry.scale).toBe(2);
    expect(map.get("nav", [5, 5, "w"])?.worldFromEntry.scale).toBe(2);
  });

  it("resumes from what the server said was complete, and from nothing else", () => {
    const map = mapWith(begin(), delta({ seq: 99 }), END);
    expect(map.resume).toBeNull();
    map.apply(message("synced", "synced"));
    expect(map.resume).toEqual({ lineage: "lineage-a", seq: 41, roi: { radius_m: 4, center_m: [1, 0, 2] } });
    map.apply({ t: "synced", scene: "main", resume: null });
    expect(map.resume).toBeNull();
  });
});

describe("similarities", () => {
  it("compose like the maps they stand for", () => {
    const turn: Similarity = { scale: 2, quatWxyz: [Math.SQRT1_2, 0, Math.SQRT1_2, 0], translation: [1, 0, 0] };
    const tilt: Similarity = { scale: 0.5, quatWxyz: [0.6, 0.8, 0, 0], translation: [0, -3, 4] };
    const once = apply(compose(turn, tilt), [1, 2, 3]);
    const twice = apply(turn, apply(tilt, [1, 2, 3]));
    once.forEach((n, i) => expect(n).toBeCloseTo(twice[i] ?? NaN, 12));
  });

  it("turn +x to -z by a quarter about +y", () => {
    const [x, y, z] = apply({ ...IDENTITY, quatWxyz: [Math.SQRT1_2, 0, Math.SQRT1_2, 0] }, [1, 0, 0]);
    expect([x, y, z].map((n) => Math.round(n * 1e9) / 1e9 + 0)).toEqual([0, 0, -1]);
  });
});
