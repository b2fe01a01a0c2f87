import { describe, expect, it } from "vitest";
import { readLink } from "../src/page/link.js";
import { LatencyMeter } from "../src/viewer/latency.js";
import { delta } from "./fixtures.js";

function token(payload: object): string {
  return `h.${btoa(JSON.stringify(payload)).replaceAll("+", "-").replaceAll("/", "_")}.s`;
}

describe("readLink", () => {
  it("takes the token from the fragment, named or bare", () => {
    expect(readLink(new URL("https://h/phone#token=a.b.c&scene=hall"))).toMatchObject({ token: "a.b.c", scene: "hall" });
    expect(readLink(new URL("https://h/phone#a.b.c")).token).toBe("a.b.c");
  });

  it("reads the scene from the address, or from the token's own grant", () => {
    expect(readLink(new URL(`https://h/?scene=hall#${token({ scene: "other" })}`)).scene).toBe("hall");
    expect(readLink(new URL(`https://h/#token=${token({ scene: "yard" })}`)).scene).toBe("yard");
    expect(readLink(new URL(`https://h/#token=${token({ scene: "*" })}`)).scene).toBeNull();
  });

  it("asks for invitations only where they may be granted", () => {
    const link = (role: string): boolean => readLink(new URL(`https://h/#token=${token({ scene: "*", role })}`)).mayInvite;
    expect([link("admin"), link("publish"), link("subscribe")]).toEqual([true, false, false]);
  });

  it("offers to make things to those who may write", () => {
    const link = (role: string): boolean => readLink(new URL(`https://h/#token=${token({ scene: "*", role })}`)).mayMake;
    expect([link("admin"), link("publish"), link("subscribe")]).toEqual([true, true, false]);
  });

  it("survives links that are none of ours", () => {
    expect(readLink(new URL("https://h/"))).toEqual({ token: null, scene: null, mayInvite: true, mayMake: true });
    expect(readLink(new URL("https://h/#a.!!.c"))).toEqual({ token: "a.!!.c", scene: null, mayInvite: false, mayMake: false });
  });
});

describe("LatencyMeter", () => {
  const MS = 1_000_000n;
  const live = delta({ layer: "nav", capture_ns: 1000n * MS, infer_ns: 1080n * MS, publish_ns: 1095n * MS });

  it("splits the way from capture to screen into hops that add up", () => {
    const meter = new LatencyMeter();
    meter.received(live, 1100n * MS, true);
    expect(meter.waterfall("map")).toBeNull(); // not drawn yet
    meter.drawn(1110n * MS);
    expect(meter.waterfall("map")).toEqual({
      track: "map",
      hopMs: { infer: 80, publish: 15, receive: 5, draw: 10 },
      totalMs: 110,
    });
    expect(meter.waterfall("pose")).toBeNull();
  });

  it("ages by the newest pixels, and leaves old snapshots out of the latency", () => {
    const meter = new LatencyMeter();
    expect(meter.ageS("map", 5n)).toBeNull();
    meter.received(live, 9000n * MS, false);
    meter.received(delta({ ...live, capture_ns: 400n * MS }), 9000n * MS, false);
    meter.drawn(9010n * MS);
    expect(meter.waterfall("map")).toBeNull();
    expect(meter.ageS("map", 3000n * MS)).toBe(2);
  });

  it("never shows a hop as negative when two clocks differ a little", () => {
    const meter = new LatencyMeter();
    meter.received(live, 1094n * MS, true);
    meter.drawn(1099n * MS);
    expect(meter.waterfall("map")?.hopMs.receive).toBe(0);
  });
});
