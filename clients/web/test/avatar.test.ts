import { describe, expect, it } from "vitest";
import type { Key, Vector3 } from "../src/sdk/protocol.js";
import type { PathAnswer } from "../src/sdk/queries.js";
import { HOPELESS_GAP_MS, LEAST_GAP_MS, LONGEST_QUIET_MS, Pilot, QUIET_MS } from "../src/viewer/avatars/pilot.js";
import { distance, Route } from "../src/viewer/avatars/route.js";
import { Walker } from "../src/viewer/avatars/walker.js";

const CORNER = new Route([[0, 0, 0], [3, 0, 0], [3, 0, 4]]);
const TILE_M = 3.2;

describe("Route", () => {
  it("measures and walks by arc length", () => {
    expect(CORNER.lengthM).toBe(7);
    expect(CORNER.at(-1)).toEqual([0, 0, 0]);
    expect(CORNER.at(1.5)).toEqual([1.5, 0, 0]);
    expect(CORNER.at(5)).toEqual([3, 0, 2]);
    expect(CORNER.at(99)).toEqual([3, 0, 4]);
    expect(new Route([[1, 2, 3]]).at(5)).toEqual([1, 2, 3]);
  });

  it("finds the nearest point, and looks no farther than asked", () => {
    expect(CORNER.project([1, 0.5, 1])).toBeCloseTo(1);
    expect(CORNER.project([3.5, 0, 3])).toBeCloseTo(6);
    expect(CORNER.project([3.5, 0, 3], 1)).toBeCloseTo(3); // the second leg begins beyond a metre
  });

  it("names the tiles ahead, not those behind", () => {
    expect(CORNER.tilesAhead(0, TILE_M)).toEqual(new Set(["0,0", "0,1"]));
    const crossing = new Route([[1, 0, 1], [5, 0, 1]]);
    expect(crossing.tilesAhead(0, TILE_M)).toEqual(new Set(["0,0", "1,0"]));
    expect(crossing.tilesAhead(2.5, TILE_M)).toEqual(new Set(["1,0"]));
    expect(new Route([[-0.1, 0, 0.1]]).tilesAhead(0, TILE_M)).toEqual(new Set(["-1,0"]));
  });
});

describe("Walker", () => {
  const walk = (walker: Walker, seconds: number, stepS = 1 / 60): number => {
    let fastest = 0;
    for (let t = 0; t < seconds; t += stepS) {
      walker.advance(stepS);
      fastest = Math.max(fastest, walker.speedMS);
    }
    return fastest;
  };

  it("speeds up, cruises, brakes and stands at the end", () => {
    const walker = new Walker([0, 0, 0], 1.7);
    walker.follow(CORNER);
    walker.advance(0.1);
    expect(walker.speedMS).toBeLessThan(walker.cruiseMS / 2);
    const fastest = walk(walker, 9);
    expect(fastest).toBeCloseTo(walker.cruiseMS);
    expect(walker.isThere).toBe(true);
    expect(distance(walker.position, [3, 0, 4])).toBeLessThan(0.02);
    expect(walker.speedMS).toBe(0);
    expect(walker.headingRad).toBeCloseTo(0, 1); // along +Z
  });

  it("never leaves the route by more than it began beside it", () => {
    const walker = new Walker([0.5, 0, 0.4], 1.7);
    walker.follow(CORNER);
    expect(walker.position[0]).toBeCloseTo(0.5);
    expect(walker.position[2]).toBeCloseTo(0.4); // no jump
    walk(walker, 2);
    expect(Math.abs(walker.position[2])).toBeLessThan(0.01); // walked off
  });

  it("takes a longer frame for the same way", () => {
    const [fine, coarse] = [new Walker([0, 0, 0], 1.7), new Walker([0, 0, 0], 1.7)];
    fine.follow(CORNER);
    coarse.follow(CORNER);
    walk(fine, 10);
    walk(coarse, 10, 0.1);
    expect(distance(fine.position, coarse.position)).toBeLessThan(0.02);
  });

  it("goes with the map when it moves", () => {
    const walker = new Walker([0, 0, 0], 1.7);
    walker.follow(CORNER);
    walk(walker, 1);
    const [before, toGo] = [walker.position, walker.toGoM];
    const quarter: [number, number, number, number] = [Math.SQRT1_2, 0, Math.SQRT1_2, 0]; // about +Y: +X becomes -Z
    walker.moved({ scale: 2, quatWxyz: quarter, translation: [10, 0, 0] });
    expect(walker.position[0]).toBeCloseTo(10);
    expect(walker.position[2]).toBeCloseTo(-2 * before[0]);
    expect(walker.toGoM).toBeCloseTo(2 * toGo);
    expect(Math.abs(walker.headingRad)).toBeCloseTo(Math.PI, 1);
  });
});

function answerOf(points: readonly Vector3[], changes: Partial<PathAnswer> = {}): PathAnswer {
  const tiles = [0, 1].map((x) => ({ layer: "nav" as const, key: [x, 0, "human"], ver: 5 }));
  const route = new Route(points.length ? points : [[0, 0, 0]]);
  return {
    kind: "path", agent: "human", found: points.length > 0, reason: null, epoch: 0, settled: true, tileSizeM: TILE_M, tiles, points,
    lengthM: route.lengthM, partial: false, ...changes,
  };
}

const STRAIGHT: readonly Vector3[] = [[1, 0, 1], [6, 0, 1]];
const NOT_FOUND = { found: false, points: [], tiles: [], lengthM: 0 };

/** A pilot with its clock, its server and its map. */
class Trip {
  readonly pilot = new Pilot([1, 0, 1], "human", 1.7, 0);
  readonly asked: number[] = [];
  readonly versions = new Map<string, number>([["0,0,human", 5], ["1,0,human", 5]]);
  nowMs = 1000;

  constructor(private readonly reply: (n: number) => PathAnswer | "silence" = () => answerOf(STRAIGHT, { tiles: this.tiles })) {
    this.pilot.send([6, 0, 1], this.nowMs);
  }

  /** As a server names them that knows what we know. */
  get tiles(): PathAnswer["tiles"] {
    return [0, 1].map((x) => ({ layer: "nav", key: [x, 0, "human"], ver: this.versions.get(`${x},0,human`) ?? 0 }));
  }

  run(ms: number): boolean {
    let arrived = false;
    for (const end = this.nowMs + ms; this.nowMs < end; this.nowMs += 10) {
      const plan = this.pilot.next(this.nowMs);
      if (plan !== null) {
        this.asked.push(this.nowMs);
        const reply = this.reply(this.asked.length);
        if (reply !== "silence") this.pilot.answered(plan.id, reply, this.nowMs, (key) => this.versions.get(String(key)) ?? null);
      }
      arrived = this.pilot.advance(0.01) || arrived;
    }
    return arrived;
  }

  change(key: Key): void {
    const name = String(key);
    this.versions.set(name, (this.versions.get(name) ?? 0) + 1);
    this.pilot.tileChanged(key, this.nowMs);
  }
}

describe("Pilot", () => {
  it("asks once, walks and arrives", () => {
    const trip = new Trip();
    expect(trip.run(10)).toBe(false);
    expect(trip.pilot.mood).toBe("walking");
    expect(trip.run(10_000)).toBe(true);
    expect(trip.pilot.mood).toBe("arrived");
    expect(trip.asked).toEqual([1000]);
  });

  it("asks anew when a tile ahead changes, once for several changes", () => {
    const trip = new Trip();
    trip.run(1000);
    for (let i = 0; i < 3; i++) {
      trip.change([1, 0, "human"]);
      trip.run(50);
    }
    trip.run(1000);
    expect(trip.asked.length).toBe(2);
    expect(trip.asked[1]).toBe(2000 + 100 + QUIET_MS);
    expect(trip.pilot.plans).toBe(2);
  });

  it("does not care for tiles behind, beside or of other agents", () => {
    const trip = new Trip();
    trip.run(3500); // beyond x = 3.2
    expect(trip.pilot.walker.position[0]).toBeGreaterThan(3.2);
    trip.change([0, 0, "human"]);
    trip.change([1, 1, "human"]);
    trip.change([1, 0, "cat"]);
    trip.run(1000);
    expect(trip.asked.length).toBe(1);
  });

  it("does not wait for ever for silence, nor ask too often", () => {
    const trip = new Trip();
    trip.run(10);
    for (let i = 0; i < 100; i++) {
      trip.change([1, 0, "human"]);
      trip.run(20);
    }
    const gaps = trip.asked.slice(1).map((at, i) => at - (trip.asked[i] ?? 0));
    expect(trip.asked.length).toBeGreaterThan(2);
    expect(Math.min(...gaps)).toBeGreaterThanOrEqual(LEAST_GAP_MS);
    expect(Math.max(...gaps)).toBeLessThanOrEqual(LONGEST_QUIET_MS + 40);
  });

  it("asks anew when the answer is older than what is on the screen", () => {
    const trip = new Trip((n) => answerOf(STRAIGHT, n > 1 ? {} : { tiles: [{ layer: "nav", key: [1, 0, "human"], ver: 4 }] }));
    trip.run(2000);
    expect(trip.asked).toEqual([1000, 1000 + LEAST_GAP_MS]);
  });

  it("stands still where there is no way, and looks again when the map changes", () => {
    const trip = new Trip((n) => answerOf(n > 1 ? STRAIGHT : [], n > 1 ? {} : { ...NOT_FOUND, reason: "unreachable" }));
    trip.run(100);
    expect([trip.pilot.mood, trip.pilot.trouble]).toEqual(["blocked", "No known way leads there."]);
    trip.run(5000);
    expect(trip.asked.length).toBe(1);
    trip.change([7, 7, "human"]);
    trip.run(500);
    expect([trip.asked.length, trip.pilot.mood]).toEqual([2, "walking"]);
  });

  it("looks again seldom where there is no way", () => {
    const trip = new Trip(() => answerOf([], { ...NOT_FOUND, reason: "goal_off_mesh" }));
    for (let i = 0; i < 100; i++) {
      trip.change([7, 7, "human"]);
      trip.run(60);
    }
    expect(trip.asked.length).toBeLessThanOrEqual(1 + 6000 / HOPELESS_GAP_MS);
    expect(trip.asked.length).toBeGreaterThan(2);
  });

  it("walks a part of the way and says that it stops short", () => {
    const trip = new Trip(() => answerOf(STRAIGHT, { partial: true, reason: "unreachable" }));
    trip.run(100);
    expect(trip.pilot.mood).toBe("walking");
    expect(trip.run(10_000)).toBe(true);
    expect(trip.pilot.mood).toBe("blocked");
    expect(trip.pilot.trouble).not.toBe("");
  });

  it("drops the answer to a goal that was given up", () => {
    const trip = new Trip(() => "silence");
    const first = trip.pilot.next(trip.nowMs);
    trip.pilot.send([1, 0, 3], trip.nowMs);
    trip.pilot.answered(first?.id ?? 0, answerOf(STRAIGHT), trip.nowMs, () => null);
    expect(trip.pilot.mood).toBe("planning");
    expect(trip.pilot.next(trip.nowMs)?.to).toEqual([1, 0, 3]);
  });

  it("asks again with growing pauses while the server is away, and walks on meanwhile", () => {
    const pilot = new Pilot([1, 0, 1], "human", 1.7, 0);
    pilot.send([6, 0, 1], 0);
    const asked: number[] = [];
    for (let now = 0; now < 10_000; now += 10) {
      const plan = pilot.next(now);
      if (plan === null) continue;
      asked.push(now);
      pilot.failed(plan.id, { text: "out of reach", retryMs: 0 }, now);
    }
    expect(asked.slice(0, 5)).toEqual([0, 500, 1500, 3500, 7500]);
    expect([pilot.mood, pilot.trouble]).toEqual(["offline", "out of reach"]);
  });

  it("gives up on what makes no sense to ask again", () => {
    const pilot = new Pilot([1, 0, 1], "giraffe", 5, 0);
    pilot.send([6, 0, 1], 0);
    pilot.failed(pilot.next(0)?.id ?? 0, { text: "no agent of that name", retryMs: null }, 0);
    expect(pilot.next(60_000)).toBeNull();
    expect(pilot.trouble).toBe("no agent of that name");
  });

  it("moves with a correction of the map, and asks in its new coordinates", () => {
    const trip = new Trip();
    trip.run(1000);
    const x = trip.pilot.walker.position[0];
    trip.pilot.moved({ scale: 1, quatWxyz: [1, 0, 0, 0], translation: [0, 0, 10] }, 1, trip.nowMs);
    expect(trip.pilot.walker.position).toEqual([x, 0, 11]);
    const plan = trip.pilot.next(trip.nowMs + QUIET_MS);
    expect(plan?.epoch).toBe(1);
    expect(plan?.to).toEqual([6, 0, 11]);
  });

  it("waits for a correction that the server knows already", () => {
    const trip = new Trip(() => answerOf(STRAIGHT, { epoch: 1 }));
    trip.run(50);
    expect(trip.pilot.mood).toBe("planning");
    trip.pilot.moved({ scale: 1, quatWxyz: [1, 0, 0, 0], translation: [0, 0, 0] }, 1, trip.nowMs);
    trip.run(500);
    expect(trip.pilot.mood).toBe("walking");
  });
});
