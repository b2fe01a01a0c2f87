import * as THREE from "three";
import { afterEach, describe, expect, it, vi } from "vitest";
import type { Vector3 } from "../src/sdk/protocol.js";
import type { Agent, MapQueries, PathAnswer } from "../src/sdk/queries.js";
import { type Avatar, Party } from "../src/viewer/avatars/party.js";
import type { Stage } from "../src/viewer/stage.js";
import type { Obstacle } from "../src/viewer/things/things.js";

const HUMAN: Agent = { name: "human", radiusM: 0.25, heightM: 1.7, maxClimbM: 0.25, maxSlopeDeg: 45 };
const CAT: Agent = { ...HUMAN, name: "cat", radiusM: 0.1, heightM: 0.3 };
const UPSTAIRS_M = 3;
const HZ = 60;

/** Two storeys of 20 x 20 m; where floor is missing around the middle for an agent, `holes` says so. */
function house(obstacles: readonly Obstacle[], holes: readonly string[] = []): Party {
  const floor = (y: number, fromX: number): THREE.Mesh => {
    const mesh = new THREE.Mesh(new THREE.BoxGeometry(20, 0.001, 20).translate(fromX + 10, y, 0));
    mesh.updateMatrixWorld();
    return mesh;
  };
  const whole = [floor(0, -10), floor(UPSTAIRS_M, -10)];
  const withHole = [floor(0, -20.5), floor(0, 0.5)];
  const path = (_: string, from: Vector3, to: Vector3): Promise<PathAnswer> =>
    Promise.resolve({
      kind: "path", found: true, reason: null, epoch: 0, tileSizeM: 3.2, tiles: [], settled: true, agent: "human",
      points: [from, to], lengthM: 1, partial: false,
    });
  return new Party({
    stage: { scene: new THREE.Scene(), camera: new THREE.PerspectiveCamera(), invalidate: () => undefined } as unknown as Stage,
    queries: { path } as unknown as MapQueries,
    scene: () => "main",
    map: () => null,
    floors: (agent) => (holes.includes(agent) ? withHole : whole),
    obstacles: () => obstacles,
  });
}

/** How near it comes to a place on its way through it. */
async function walk(party: Party, avatar: Avatar, to: Vector3, past: Vector3): Promise<number> {
  party.send(avatar, to);
  await Promise.resolve();
  let nearestM = Infinity;
  for (let tick = 0; tick < 20 * HZ && avatar.pilot.mood !== "arrived"; tick++) {
    party.tick(1 / HZ);
    await Promise.resolve();
    const [x, , z] = avatar.pilot.walker.position;
    nearestM = Math.min(nearestM, Math.hypot(x - past[0], z - past[2]));
  }
  expect(avatar.pilot.mood).toBe("arrived");
  return nearestM;
}

describe("Party", () => {
  afterEach(() => void vi.restoreAllMocks());
  const THING: Obstacle = { foot: [0, 0, 0], radiusM: 0.3 };

  it("walks around what stands on the same storey, not around what stands on another", async () => {
    const party = house([THING]);
    expect(await walk(party, party.add([-3, 0, 0], HUMAN), [3, 0, 0], THING.foot)).toBeGreaterThan(0.5);
    const above = house([{ ...THING, foot: [0, UPSTAIRS_M, 0] }]);
    expect(await walk(above, above.add([-3, 0, 0], HUMAN), [3, 0, 0], THING.foot)).toBeLessThan(0.05);
    const upstairs = house([{ ...THING, foot: [0, UPSTAIRS_M, 0] }]);
    expect(await walk(upstairs, upstairs.add([-3, UPSTAIRS_M, 0], HUMAN), [3, UPSTAIRS_M, 0], THING.foot)).toBeGreaterThan(0.5);
  });

  it("stops where it was sent to, whatever stands or waits there on another storey", () => {
    const party = house([{ ...THING, foot: [2, UPSTAIRS_M, 0] }]);
    party.add([2, UPSTAIRS_M, 0], HUMAN);
    const below = party.add([-2, 0, 0], HUMAN);
    party.send(below, [2, 0, 0]);
    expect(below.pilot.goal?.[0]).toBeCloseTo(2);
    const beside = party.add([-2, UPSTAIRS_M, 0], HUMAN);
    party.send(beside, [2, UPSTAIRS_M, 0]);
    expect(Math.abs((beside.pilot.goal?.[0] ?? 2) - 2) + Math.abs(beside.pilot.goal?.[2] ?? 0)).toBeGreaterThan(0.4);
  });

  it("judges things by the floor of who walks, whoever was there first", async () => {
    const party = house([THING], ["human"]);
    party.add([-8, 0, -8], HUMAN); // whose floor has a hole there already
    expect(await walk(party, party.add([-3, 0, 0], CAT), [3, 0, 0], THING.foot)).toBeGreaterThan(THING.radiusM);
  });

  it("does not look at every thing in every frame", async () => {
    const crowd = Array.from({ length: 200 }, (_, i): Obstacle => ({ foot: [-9 + (i % 20), 0, 2 + Math.floor(i / 20) / 4], radiusM: 0.1 }));
    const party = house(crowd);
    const avatar = party.add([-8, 0, 0], HUMAN);
    party.send(avatar, [8, 0, 0]);
    await Promise.resolve();
    await Promise.resolve();
    const rays = vi.spyOn(THREE.Raycaster.prototype, "intersectObjects");
    for (let tick = 0; tick < 2 * HZ; tick++) party.tick(1 / HZ);
    expect(avatar.pilot.mood).toBe("walking");
    expect(rays.mock.calls.length).toBeLessThan(2 * HZ + 5 * crowd.length); // under its feet in each frame, things twice a second
  });
});
