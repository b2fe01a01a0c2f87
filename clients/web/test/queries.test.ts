import { describe, expect, it } from "vitest";
import { ApiError } from "../src/sdk/api.js";
import { SceneMap } from "../src/sdk/map.js";
import { ProtocolError } from "../src/sdk/protocol.js";
import { isOutdated, MapQueries } from "../src/sdk/queries.js";
import { delta } from "./fixtures.js";

const PATH = {
  kind: "path", found: true, reason: null, epoch: 2, tile_size_m: 3.2, agent: "human", partial: false, length_m: 5,
  tiles: [{ layer: "nav", key: [0, 0, "human"], ver: 7 }],
  points: [[0, 0, 0], [3, 0, 4]],
};

interface Asked {
  url: string;
  init: RequestInit | undefined;
}

function server(answer: unknown, status = 200, headers: Record<string, string> = {}): { asked: Asked[]; queries: MapQueries } {
  const asked: Asked[] = [];
  const fetch = (input: string | URL | Request, init?: RequestInit): Promise<Response> => {
    asked.push({ url: input instanceof Request ? input.url : String(input), init });
    return Promise.resolve(new Response(JSON.stringify(answer), { status, headers }));
  };
  return { asked, queries: new MapQueries("https://map.example:8443/viewer.html", { token: "t", fetch }) };
}

describe("MapQueries", () => {
  it("asks for a path and reads it", async () => {
    const { asked, queries } = server(PATH);
    const path = await queries.path("my map", [0, 0, 0], [3, 0, 4], { agent: "human", withinM: 2, epoch: 2 });
    expect(path.points).toEqual([[0, 0, 0], [3, 0, 4]]);
    expect([path.lengthM, path.partial, path.epoch, path.tileSizeM, path.settled]).toEqual([5, false, 2, 3.2, true]);
    expect(path.tiles).toEqual([{ layer: "nav", key: [0, 0, "human"], ver: 7 }]);
    const url = new URL(asked[0]?.url ?? "");
    expect(url.pathname).toBe("/v1/scenes/my%20map/path");
    expect(Object.fromEntries(url.searchParams)).toEqual({ from: "0,0,0", to: "3,0,4", agent: "human", within_m: "2", epoch: "2" });
    expect(new Headers(asked[0]?.init?.headers).get("Authorization")).toBe("Bearer t");
  });

  it("asks where a picture was taken", async () => {
    const placed = { t: [1, 2, 3], q_wxyz: [1, 0, 0, 0] };
    const answer = {
      found: true, reason: null, epoch: 4, scale_source: "marker", world_from_camera: placed, num_inliers: 180,
      confidence: 0.6, focal_px: 1450, lens_refuted: true, age_s: 12.5,
    };
    const { asked, queries } = server(answer);
    const picture = new Blob(["..."], { type: "image/jpeg" });
    expect(await queries.locate("my map", picture, { fx: 1450, cx: 900 })).toEqual({
      found: true, reason: null, epoch: 4, scaleSource: "marker", worldFromCamera: { t: [1, 2, 3], qWxyz: [1, 0, 0, 0] },
      numInliers: 180, confidence: 0.6, focalPx: 1450, lensRefuted: true, ageS: 12.5,
    });
    const url = new URL(asked[0]?.url ?? "");
    expect(url.pathname + url.search).toBe("/v1/scenes/my%20map/locate?fx=1450&cx=900");
    expect(asked[0]?.init?.body).toBe(picture);
    expect(new Headers(asked[0]?.init?.headers).get("Content-Type")).toBe("image/jpeg");
    const vain = { found: false, reason: "too_plain", epoch: 4, scale_source: "none", num_inliers: 0, confidence: 0 };
    expect(await server(vain).queries.locate("main", picture)).toMatchObject({ found: false, worldFromCamera: null, ageS: null });
  });

  it("asks several at once in the server's own words", async () => {
    const seen = { kind: "visible", found: true, reason: "occluded", epoch: 2, tile_size_m: 3.2, tiles: [], state: "occluded", hit: [1, 1, 1] };
    const { asked, queries } = server({ epoch: 2, answers: [PATH, seen] });
    const answers = await queries.ask(
      "main",
      [
        { kind: "path", from: [0, 0, 0], to: [3, 0, 4], withinM: 3 },
        { kind: "visible", point: [1, 2, 3], camera: "phone-1" },
      ],
      { epoch: 2 },
    );
    expect(answers.map(({ kind }) => kind)).toEqual(["path", "visible"]);
    expect(JSON.parse(String(asked[0]?.init?.body))).toEqual({
      epoch: 2,
      questions: [
        { kind: "path", from: [0, 0, 0], to: [3, 0, 4], within_m: 3 },
        { kind: "visible", point: [1, 2, 3], camera: "phone-1" },
      ],
    });
  });

  it("asks how far one gets, and hears that the map is being rebuilt", async () => {
    const { asked, queries } = server({ ...PATH, kind: "reach", polygons: [[0, 3, 0], [0, 1, 1.5]], settled: false });
    const reach = await queries.reach("main", [0, 0, 0], 5, { withinM: 0.5 });
    expect(reach.polygons).toEqual([{ tile: 0, polygon: 3, walkM: 0 }, { tile: 0, polygon: 1, walkM: 1.5 }]);
    expect([reach.settled, reach.partial]).toEqual([false, false]);
    const url = new URL(asked[0]?.url ?? "");
    expect(url.pathname).toBe("/v1/scenes/main/reach");
    expect(Object.fromEntries(url.searchParams)).toEqual({ from: "0,0,0", walk_m: "5", within_m: "0.5" });
    await queries.ask("main", [{ kind: "reach", from: [0, 0, 0], walkM: 5 }]).catch(() => null);
    expect(JSON.parse(String(asked[1]?.init?.body))).toEqual({ questions: [{ kind: "reach", from: [0, 0, 0], walk_m: 5 }] });
  });

  it("tells a refusal in the server's words", async () => {
    const { queries } = server({ detail: "slow down" }, 429, { "Retry-After": "3" });
    const refusal = await queries.nearest("main", [0, 0, 0]).catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(ApiError);
    expect(refusal).toMatchObject({ status: 429, message: "slow down", retryAfterS: 3 });
  });

  it("refuses an answer that is none", async () => {
    await expect(server({ ...PATH, points: [[0, 0]] }).queries.path("main", [0, 0, 0], [1, 0, 0])).rejects.toThrow(ProtocolError);
    await expect(server(PATH).queries.nearest("main", [0, 0, 0])).rejects.toThrow(ProtocolError);
  });

  it("lists the agents of a scene", async () => {
    const cat = { name: "cat", radius_m: 0.1, height_m: 0.3, max_climb_m: 0.2, max_slope_deg: 40 };
    const { queries } = server({ scene: "main", agents: [cat] });
    expect(await queries.agents("main")).toEqual([{ name: "cat", radiusM: 0.1, heightM: 0.3, maxClimbM: 0.2, maxSlopeDeg: 40 }]);
  });
});

describe("isOutdated", () => {
  const facts = { found: true, reason: null, epoch: 0, settled: true, tileSizeM: 3.2, tiles: [{ layer: "nav", key: [0, 0, "human"], ver: 7 }] } as const;
  const holding = (ver: number): SceneMap => {
    const map = new SceneMap();
    map.apply(delta({ key: [0, 0, "human"], ver }));
    return map;
  };

  it("compares with the newest version held", () => {
    expect(isOutdated(facts, holding(7))).toBe(false);
    expect(isOutdated(facts, holding(6))).toBe(false); // the map's socket lags behind
    expect(isOutdated(facts, holding(8))).toBe(true);
    expect(isOutdated(facts, new SceneMap())).toBe(true); // it was removed
  });
});
