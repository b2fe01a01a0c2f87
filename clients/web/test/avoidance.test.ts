import { describe, expect, it } from "vitest";
import type { Vector3 } from "../src/sdk/protocol.js";
import { type Body, placeBeside, steer, type Vector2 } from "../src/viewer/avatars/avoidance.js";
import { distance, Route } from "../src/viewer/avatars/route.js";
import { Walker } from "../src/viewer/avatars/walker.js";

const RADIUS_M = 0.25;
const ANYWHERE = (): boolean => true;

const bodyOf = (walker: Walker): Body => ({
  place: [walker.position[0], walker.position[2]],
  velocity: walker.isThere ? [0, 0] : walker.velocity,
  radiusM: RADIUS_M,
});

/** Walks everybody until all are there; how near any two came, and how long it took. */
function walk(walkers: readonly Walker[], mayStand: (place: Vector2) => boolean = ANYWHERE): { nearestM: number; seconds: number } {
  let nearestM = Infinity;
  for (let step = 0; step < 60 * 40; step++) {
    for (const walker of walkers) {
      if (walker.isThere) continue;
      const others = walkers.filter((one) => one !== walker).map(bodyOf);
      const [x, , z] = walker.position;
      walker.advance(1 / 60, (wanted) =>
        steer(bodyOf(walker), wanted, others, ([vx, vz]) => mayStand([x + vx / 4, z + vz / 4])),
      );
      expect(mayStand([walker.position[0], walker.position[2]])).toBe(true);
    }
    walkers.forEach((a, i) =>
      walkers.slice(i + 1).forEach((b) => (nearestM = Math.min(nearestM, distance(a.position, b.position)))),
    );
    if (walkers.every((walker) => walker.isThere)) return { nearestM, seconds: step / 60 };
  }
  return { nearestM, seconds: Infinity };
}

function sent(...points: Vector3[]): Walker {
  const walker = new Walker(points[0] ?? [0, 0, 0], 1.7);
  walker.follow(new Route(points));
  return walker;
}

describe("avatars among each other", () => {
  it("pass when they meet head on, and take little longer for it", () => {
    const alone = walk([sent([0, 0, 0], [8, 0, 0])]).seconds;
    const { nearestM, seconds } = walk([sent([0, 0, 0], [8, 0, 0]), sent([8, 0, 0], [0, 0, 0])]);
    expect(nearestM).toBeGreaterThan(2 * RADIUS_M * 0.9);
    expect(seconds).toBeLessThan(alone + 2);
  });

  it("cross each other's way, four at once", () => {
    const four = [
      sent([-4, 0, 0], [4, 0, 0]),
      sent([4, 0, 0.1], [-4, 0, 0.1]),
      sent([0, 0, -4], [0, 0, 4]),
      sent([0.1, 0, 4], [0.1, 0, -4]),
    ];
    const { nearestM, seconds } = walk(four);
    expect(nearestM).toBeGreaterThan(2 * RADIUS_M * 0.8);
    expect(seconds).toBeLessThan(20);
  });

  it("go around somebody who stands in the way and come back to the route", () => {
    const walker = sent([0, 0, 0], [6, 0, 0]);
    const { nearestM, seconds } = walk([walker, sent([3, 0, 0])]);
    expect(nearestM).toBeGreaterThan(2 * RADIUS_M * 0.95);
    expect(seconds).toBeLessThan(10);
    expect(distance(walker.position, [6, 0, 0])).toBeLessThan(0.1);
  });

  it("never dodge off the ground", () => {
    const corridor = ([, z]: Vector2): boolean => z > -0.2 && z < 0.8;
    const { nearestM, seconds } = walk([sent([0, 0, 0], [8, 0, 0]), sent([8, 0, 0], [0, 0, 0])], corridor);
    expect(nearestM).toBeGreaterThan(2 * RADIUS_M * 0.8);
    expect(seconds).toBeLessThan(15);
  });

  it("walk as if alone when nobody is in the way", () => {
    const wanted: Vector2 = [1, 0];
    const self: Body = { place: [0, 0], velocity: [1, 0], radiusM: RADIUS_M };
    const behind: Body = { place: [-1, 0], velocity: [0, 0], radiusM: RADIUS_M };
    const ahead: Body = { ...behind, place: [1, 0] };
    expect(steer(self, wanted, [behind], ANYWHERE)).toBe(wanted);
    expect(steer(self, wanted, [ahead], ANYWHERE)).not.toBe(wanted);
    expect(steer(self, wanted, [ahead], () => false)).toEqual([0, 0]);
  });
});

describe("a place beside", () => {
  const stands = (place: Vector2): Body => ({ place, velocity: [0, 0], radiusM: RADIUS_M });

  it("is the goal itself while nobody is there", () => {
    expect(placeBeside([1, 1], [stands([2, 1])], RADIUS_M, ANYWHERE)).toEqual([1, 1]);
  });

  it("touches nobody, however many come", () => {
    const there: Body[] = [];
    for (let i = 0; i < 8; i++) there.push(stands(placeBeside([0, 0], there, RADIUS_M, ([x]) => x > -0.3)));
    there.forEach((a, i) =>
      there.slice(i + 1).forEach((b) => {
        expect(Math.hypot(a.place[0] - b.place[0], a.place[1] - b.place[1])).toBeGreaterThanOrEqual(0.499);
      }),
    );
    expect(there.every(({ place }) => place[0] > -0.3)).toBe(true);
  });
});
