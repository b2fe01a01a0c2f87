import { describe, expect, it } from "vitest";
import { ClockEstimate } from "../src/sdk/clock.js";

const MS = 1_000_000n;

describe("ClockEstimate", () => {
  it("believes the fastest round trip", () => {
    const clock = new ClockEstimate();
    const offset = 5000n * MS;
    const ping = (sent: bigint, up: bigint, down: bigint): void => {
      clock.add(sent, sent + up + offset, sent + up + offset + 1n, sent + up + down + 1n);
    };
    ping(0n, 80n * MS, 10n * MS); // 35 ms off
    ping(1000n * MS, 1n * MS, 1n * MS);
    ping(2000n * MS, 10n * MS, 60n * MS);
    expect(clock.best).toEqual({ offsetNs: offset, rttNs: 2n * MS });
    expect(clock.toServer(7n * MS)).toBe(5007n * MS);
  });

  it("is off by at most half the round trip, whatever the way there took", () => {
    for (const up of [0n, 3n, 10n]) {
      const clock = new ClockEstimate();
      clock.add(0n, up + 100n, up + 100n, 10n);
      const error = (clock.best?.offsetNs ?? 0n) - 100n;
      expect(error >= -5n && error <= 5n).toBe(true);
    }
  });

  it("forgets old samples, and refuses answers from before the question", () => {
    const clock = new ClockEstimate(2);
    clock.add(0n, 1n, 1n, 2n);
    clock.add(0n, 50n, 50n, 90n);
    clock.add(0n, 50n, 50n, 80n);
    expect(clock.best?.rttNs).toBe(80n);
    clock.add(100n, 0n, 500n, 110n);
    expect(clock.samples).toBe(2);
  });

  it("asks quickly at first, and goes on asking while every answer was slow", () => {
    const clock = new ClockEstimate();
    expect(clock.nextPingMs(1)).toBe(100);
    clock.add(0n, 1n, 1n, 600n * MS);
    expect(clock.nextPingMs(8)).toBe(500);
    clock.add(0n, 1n, 1n, 2n * MS);
    expect(clock.nextPingMs(9)).toBe(5000);
  });

  it("knows nothing before the first answer", () => {
    expect(new ClockEstimate().best).toBeNull();
    expect(new ClockEstimate().toServer(3n)).toBe(3n);
  });
});
