import { describe, expect, it } from "vitest";
import { CLOSE_TOO_SLOW } from "../src/sdk/protocol.js";
import { BuildQueue } from "../src/viewer/building.js";
import { DrawPace } from "../src/viewer/pace.js";
import { Portion } from "../src/viewer/portion.js";
import { freshness } from "../src/viewer/status.js";

describe("Portion", () => {
  const beats = (portion: Portion, fromMs: number, toMs: number): void => {
    for (let ms = fromMs; ms <= toMs; ms += 250) portion.beat(ms);
  };

  it("leaves points out after the server gave up on the page, then slows everything down, and no further", () => {
    const portion = new Portion();
    expect(portion.request).toEqual({});
    expect(portion.lost(CLOSE_TOO_SLOW, 0)).toBe(true);
    expect(portion.hasPoints).toBe(false);
    expect(portion.request.layers).toContain("nav");
    expect(portion.request.layers).not.toContain("points");
    expect(portion.request.maxHz).toBeUndefined();
    portion.lost(CLOSE_TOO_SLOW, 0);
    portion.lost(CLOSE_TOO_SLOW, 0);
    expect(portion.request).toMatchObject({ maxHz: 1 });
    portion.restore();
    expect(portion.request).toEqual({});
  });

  it("takes a cut line for its own fault only if the page was busy", () => {
    const portion = new Portion();
    beats(portion, 0, 5000);
    expect(portion.lost(1006, 5100)).toBe(false);
    expect(portion.lost(1006, 12_000)).toBe(true); // the close came before the page had a moment for a beat
    beats(portion, 12_000, 20_000);
    expect(portion.lost(1006, 20_000)).toBe(true);
    beats(portion, 20_250, 40_000);
    expect(portion.lost(1006, 40_000)).toBe(false);
    expect(portion.lost(1001, 60_000)).toBe(false);
  });

  it("does not take sleep, or another tab in front, for being busy", () => {
    const portion = new Portion();
    portion.beat(0);
    expect(portion.lost(1006, 3_600_000)).toBe(false);
    portion.beat(3_600_000);
    portion.rest();
    expect(portion.lost(1006, 3_610_000)).toBe(false);
    portion.beat(3_610_000);
    expect(portion.hasPoints).toBe(true);
  });
});

describe("BuildQueue", () => {
  it("builds in order until the time is up, one at least, and the newest of each", () => {
    const queue = new BuildQueue();
    const built: string[] = [];
    let nowMs = 0;
    const order = (name: string, what: string): void =>
      queue.put(name, () => {
        built.push(what);
        nowMs += 5;
      });
    for (const name of ["a", "b", "c", "d"]) order(name, name);
    order("a", "newer a");
    queue.drop("b");
    expect(queue.run(8, () => nowMs)).toBe(2);
    expect(built).toEqual(["newer a", "c"]);
    expect(queue.run(0, () => nowMs)).toBe(1);
    expect([built.at(-1), queue.size]).toEqual(["d", 0]);
    expect(queue.run(8, () => nowMs)).toBe(0);
  });
});

describe("DrawPace", () => {
  it("rests as long as a slow frame took, while there is more to come", () => {
    const pace = new DrawPace();
    pace.drew(1000);
    pace.begin(1400);
    expect(pace.mayDraw(1500, true)).toBe(false);
    expect(pace.mayDraw(1500, false)).toBe(true);
    pace.begin(1700); // nothing was drawn: the rest goes on
    expect(pace.mayDraw(1700, true)).toBe(false);
    expect(pace.mayDraw(1800, true)).toBe(true);
  });

  it("never rests after a quick frame, nor for more than a second", () => {
    const pace = new DrawPace();
    pace.drew(0);
    pace.begin(17);
    expect(pace.mayDraw(17, true)).toBe(true);
    pace.drew(100);
    pace.begin(9000);
    expect(pace.mayDraw(10_000, true)).toBe(true);
  });
});

describe("the chip", () => {
  it("is green only for what is complete and not older than a few seconds", () => {
    expect(freshness({ state: "open", isComplete: true, ageS: 0.4 })).toEqual({ tone: "open", text: "Live" });
    expect(freshness({ state: "open", isComplete: true, ageS: null })).toEqual({ tone: "open", text: "Live" });
    expect(freshness({ state: "open", isComplete: true, ageS: 17.2 })).toEqual({ tone: "behind", text: "Live, 17 s behind" });
    expect(freshness({ state: "open", isComplete: false, ageS: null }).tone).toBe("behind");
    expect(freshness({ state: "waiting", isComplete: true, ageS: 1 })).toEqual({ tone: "waiting", text: "Reconnecting …" });
  });
});
