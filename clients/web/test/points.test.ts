import * as THREE from "three";
import { describe, expect, it } from "vitest";
import { SceneMap } from "../src/sdk/map.js";
import type { Delta, Key, Xform } from "../src/sdk/protocol.js";
import type { Stage } from "../src/viewer/stage.js";
import { World } from "../src/viewer/world.js";
import { delta } from "./fixtures.js";

const STEP_M = 0.005;
type Point = readonly [number, number, number];

/** Points of a square, as the voxels of a surface would give them. */
function square(x0: number, z0: number, side: number, y: number): Point[] {
  const n = Math.round(side / 0.05) + 1;
  return Array.from({ length: n * n }, (_, i) => [x0 + (i % n) * 0.05, y, z0 + Math.floor(i / n) * 0.05] as const);
}

const quantised = (points: readonly Point[]): Int16Array =>
  Int16Array.from(points.flat().map((metres) => Math.round(metres / STEP_M)));

const keyframe = (key: string, points: readonly Point[], t: Point = [0, 0, 0]): Partial<Delta> => ({
  layer: "points",
  key: [key],
  body: { stream: "s", step_m: STEP_M, world_from_camera: { t, q_wxyz: [1, 0, 0, 0] } },
  arrays: { xyz: quantised(points), rgb: new Uint8Array(3 * points.length) },
});

const surface = (key: Key, points: readonly Point[]): Partial<Delta> => ({
  layer: "mesh",
  key,
  body: { origin_m: [0, 0, 0], step_m: STEP_M },
  arrays: { vertices: quantised(points), indices: Uint16Array.of(0, 1, 2) },
});

/** The viewer without a canvas. */
class Viewer {
  readonly map = new SceneMap();
  readonly scene = new THREE.Scene();
  readonly world: World;
  private seq = 0;

  constructor() {
    const stage = { scene: this.scene, invalidate: () => undefined, setGrid: () => undefined } as unknown as Stage;
    this.world = new World(stage, (what) => {
      throw new Error(what);
    });
  }

  hear(changes: Partial<Delta>): void {
    this.seq += 1;
    this.tell(delta({ ...changes, seq: this.seq, ver: this.seq }));
  }

  tell(message: Parameters<SceneMap["apply"]>[0]): void {
    for (const change of this.map.apply(message)) this.world.apply(change, this.map);
    for (let frame = 0; frame < 200; frame += 1) this.world.build();
  }

  remove(layer: "mesh" | "points", key: Key): void {
    this.seq += 1;
    this.tell({ t: "remove", scene: "main", seq: this.seq, layer, key, ver: this.seq });
  }

  /** Heights of the points on show, each once, in centimetres. */
  heights(): number[] {
    const heights = new Set<number>();
    this.scene.updateMatrixWorld(true);
    this.scene.traverse((object) => {
      if (!(object instanceof THREE.Points)) return;
      const geometry = object.geometry as THREE.BufferGeometry;
      const index = geometry.getIndex() as THREE.BufferAttribute;
      const at = new THREE.Vector3();
      for (let i = 0; i < Math.min(index.count, geometry.drawRange.count); i += 1) {
        at.fromBufferAttribute(geometry.getAttribute("position"), index.getX(i)).applyMatrix4(object.matrixWorld);
        heights.add(Math.round(100 * at.y));
      }
    });
    return [...heights].sort((a, b) => a - b);
  }
}

const FLOOR = square(0, 0, 3, 0);
const TABLE = square(1, 1, 1, 0.75);

describe("points", () => {
  it("leave with the table they lay on, and come back with it", () => {
    const viewer = new Viewer();
    viewer.hear(keyframe("s/1", [...FLOOR, ...TABLE]));
    viewer.hear(surface([0, 0], [...FLOOR, ...TABLE]));
    expect(viewer.heights()).toEqual([0, 75]);
    viewer.hear(surface([0, 0], FLOOR));
    expect(viewer.heights()).toEqual([0]);
    viewer.hear(surface([0, 0], [...FLOOR, ...TABLE]));
    expect(viewer.heights()).toEqual([0, 75]);
  });

  it("are the same for who comes later", () => {
    const viewer = new Viewer();
    viewer.hear(surface([0, 0], FLOOR));
    viewer.hear(keyframe("s/1", [...FLOOR, ...TABLE]));
    expect(viewer.heights()).toEqual([0]);
  });

  it("stay where the map knows nothing", () => {
    const viewer = new Viewer();
    viewer.hear(keyframe("s/1", [...FLOOR, ...TABLE, [9, 1.2, 9]]));
    viewer.hear(surface([0, 0], FLOOR));
    expect(viewer.heights()).toEqual([0, 120]);
    viewer.remove("mesh", [0, 0]);
    expect(viewer.heights()).toEqual([0, 75, 120]);
  });

  it("count what lies within a few centimetres of a surface as on it", () => {
    const viewer = new Viewer();
    viewer.hear(surface([0, 0], FLOOR));
    viewer.hear(keyframe("s/1", [[1.5, 0.07, 1.5], [1.5, -0.07, 1.5], [1.5, 0.3, 1.5]]));
    expect(viewer.heights()).toEqual([-7, 7]);
  });

  it("are judged where the keyframe lies now, not where its camera's axes are", () => {
    const viewer = new Viewer();
    viewer.hear(surface([0, 0], FLOOR));
    viewer.hear(keyframe("s/1", [[0, 0, 0], [0, 0.75, 0]], [1.5, 0, 1.5]));
    expect(viewer.heights()).toEqual([0]);
  });

  it("move along with the map, and are judged there", () => {
    const viewer = new Viewer();
    viewer.tell({
      t: "snapshot_begin",
      scene: { scene: "main", epoch: 0, lineage: "a", scale_source: "marker", gravity_source: "marker" },
      seq: 0,
      entries: 0,
      resumed: false,
    });
    viewer.hear(surface([0, 0], [...FLOOR, ...TABLE]));
    viewer.hear(keyframe("s/1", [...FLOOR, ...TABLE]));
    const xform: Xform = {
      t: "xform", scene: "main", seq: 10, epoch: 1, scale: 1, quat_wxyz: [1, 0, 0, 0], translation_m: [20, 1, 0],
      reason: "marker",
    };
    viewer.tell(xform);
    expect(viewer.heights()).toEqual([100, 175]);
    viewer.hear({ ...surface([0, 0], FLOOR), epoch: 0 });
    expect(viewer.heights()).toEqual([100]);
  });
});

describe("walkable area", () => {
  it("counts no islands", () => {
    const viewer = new Viewer();
    const arrays = {
      verts: Uint16Array.of(0, 0, 0, 10, 0, 0, 10, 0, 10, 0, 0, 10, 20, 0, 0, 20, 0, 10),
      polys: Uint16Array.of(0, 3, 2, 1, 65535, 65535, 1, 2, 5, 4, 65535, 65535),
      neighbours: new Uint16Array(12).fill(65535),
      areas: Uint8Array.of(63, 63),
    };
    const body = { agent: "human", origin_m: [0, 0, 0], cell_size_m: 0.1, cell_height_m: 0.05 };
    const key: Key = [0, 0, "human"];
    viewer.hear({ layer: "nav", key, body, arrays });
    expect(viewer.world.nav.areaM2).toBeCloseTo(2);
    viewer.hear({ layer: "islands", key, body: { agent: "human" }, arrays: { polygons: Uint16Array.of(1) } });
    expect(viewer.world.nav.areaM2).toBeCloseTo(1);
    viewer.tell({ t: "remove", scene: "main", seq: 9, layer: "islands", key, ver: 9 });
    expect(viewer.world.nav.areaM2).toBeCloseTo(2);
  });
});
