import { describe, expect, it } from "vitest";
import { readIslands, readNav, readPoints, readPose, readSurface } from "../src/sdk/layers.js";
import { ProtocolError } from "../src/sdk/protocol.js";
import { delta, message } from "./fixtures.js";

describe("layers", () => {
  it("gives nav tiles in metres, polygons without padding, edges by what lies there", () => {
    const nav = readNav(message("nav", "delta"));
    expect(nav.agent).toBe("walker");
    expect([...nav.vertices.subarray(3, 6)].map((n) => Math.round(n * 1000))).toEqual([4200, -480, -6400]);
    expect(nav.polygons).toEqual([
      [0, 3, 2, 1],
      [1, 2, 4],
    ]);
    expect(nav.edges).toEqual([
      ["wall", "portal", 1, "wall"],
      [0, "wall", "portal"],
    ]);
    expect(nav.detour).toHaveLength(7);
  });

  it("gives the heights of a floor that were asked for, after the tile's own vertices", () => {
    const nav = message("nav", "delta");
    const detail_verts = Float32Array.of(4, -0.4, -6);
    const arrays = { ...nav.arrays, detail_verts, detail_tris: Uint16Array.of(0, 0, 3, 5, 1, 1, 2, 4) };
    const { vertices, detail } = readNav({ ...nav, arrays });
    expect([...(detail?.indices ?? [])]).toEqual([0, 3, 5, 1, 2, 4]);
    expect([...(detail?.polygons ?? [])]).toEqual([0, 1]);
    expect([...(detail?.vertices ?? [])]).toEqual([...vertices, ...detail_verts]);
    expect(readNav(nav).detail).toBeNull();
    const beyond = { ...arrays, detail_tris: Uint16Array.of(0, 0, 3, 6) };
    expect(() => readNav({ ...nav, arrays: beyond })).toThrow(ProtocolError);
    const nobody = { ...arrays, detail_tris: Uint16Array.of(2, 0, 3, 5) };
    expect(() => readNav({ ...nav, arrays: nobody })).toThrow(ProtocolError);
  });

  it("gives surfaces in metres", () => {
    const { vertices, indices, rgb } = readSurface(message("mesh", "delta"));
    expect(vertices).toHaveLength(900);
    expect(vertices[0]).toBeCloseTo(1 - 0.45, 6);
    expect(vertices[899]).toBeCloseTo(3 + 0.449, 6);
    expect(indices).toHaveLength(300);
    expect(rgb?.[1]).toBe(100);
  });

  it("gives poses, also of cameras that are not placed", () => {
    const pose = message("pose", "delta");
    expect(readPose(pose).worldFromCamera).toEqual({ t: [1, 1.5, -2], qWxyz: [0.5, 0.5, 0.5, 0.5] });
    const lost = readPose({ ...pose, body: { ...pose.body, t: null, q_wxyz: null, K: null } });
    expect(lost.worldFromCamera).toBeNull();
    expect(lost.intrinsics).toBeNull();
  });

  it("gives points in camera metres", () => {
    const body = { stream: "s", step_m: 0.002, world_from_camera: { t: [0, 0, 0], q_wxyz: [1, 0, 0, 0] } };
    const arrays = { xyz: Int16Array.of(1, -2, 500), rgb: Uint8Array.of(1, 2, 3) };
    const { xyz } = readPoints(delta({ layer: "points", body, arrays }));
    expect([...xyz].map((n) => Math.round(n * 1e4) / 1e4)).toEqual([0.002, -0.004, 1]);
  });

  it("takes keyframes without any points, whose frames end unaligned", () => {
    expect(readPoints(message("no_points", "delta")).xyz).toHaveLength(0);
  });

  it("refuses indices beyond the vertices and arrays that do not fit", () => {
    const mesh = message("mesh", "delta");
    const broken = { ...mesh, arrays: { ...mesh.arrays, indices: Uint16Array.of(0, 1, 300) } };
    expect(() => readSurface(broken)).toThrow(ProtocolError);
    const nav = message("nav", "delta");
    expect(() => readNav({ ...nav, arrays: { ...nav.arrays, neighbours: new Uint16Array(3) } })).toThrow(ProtocolError);
    expect(() => readNav({ ...nav, arrays: {} })).toThrow(/verts/);
  });

  it("gives the polygons of a tile that lie on islands", () => {
    const islands = delta({ layer: "islands", arrays: { polygons: Uint16Array.of(0, 3) } });
    expect([...readIslands(islands)]).toEqual([0, 3]);
    expect(() => readIslands({ ...islands, arrays: {} })).toThrow(/polygons/);
  });
});
