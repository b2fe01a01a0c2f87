import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Binding, choose, type Goal, type Surroundings } from "../src/sdk/asset-slot.js";
import { AssetBus, type AssetFile } from "../src/sdk/assets.js";

const bytes = (text: string): ArrayBuffer => new TextEncoder().encode(text).buffer as ArrayBuffer;

async function file(content: string, more: Partial<AssetFile> = {}): Promise<AssetFile> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes(content)));
  const sha256 = [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return { role: "lod0", format: "glb", sha256, size: content.length, mime: "model/gltf-binary", extensions: [], triangles: null, ...more };
}

function goal(rev: number, asset: string, files: AssetFile[], more: Partial<Goal> = {}): Goal {
  return { rev, asset, version: 1, files, atMs: 0, isRollback: false, ...more };
}

/** A page that shows text, the server's clock at 0 ms, and frames on demand. */
class Page {
  readonly log: string[] = [];
  readonly failures: string[] = [];
  readonly acks: string[] = [];
  nowMs = 0;
  bad = "";
  private frames: (() => void)[] = [];

  readonly around: Surroundings = {
    fetch: (wanted) => Promise.resolve(bytes(wanted.sha256)),
    acknowledge: (_, rev, isReady, reason) => void this.acks.push(`${rev} ${isReady ? "ready" : `failed ${reason}`}`),
    waitMs: (atMs) => atMs - this.nowMs,
    onFrame: (callback) => void this.frames.push(callback),
  };

  readonly binding = new Binding<string>(
    "place",
    {
      prepare: ({ asset }) => {
        if (asset === this.bad) throw new Error("it does not decode");
        return asset;
      },
      commit: (now, old) => void this.log.push(`commit ${now} after ${old ?? "nothing"}`),
      rollback: (old) => void this.log.push(`rollback ${old}`),
      failed: (reason) => void this.failures.push(reason),
      dispose: (gone) => void this.log.push(`free ${gone}`),
    },
    this.around,
  );

  async frame(): Promise<void> {
    await vi.advanceTimersByTimeAsync(0);
    for (const callback of this.frames.splice(0)) callback();
  }
}

describe("Binding", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it("prepares, acknowledges, and changes over on a frame after the time that was named", async () => {
    const [page, model] = [new Page(), [await file("model")]];
    page.binding.show(goal(1, "old", model));
    await page.frame();
    expect(page.log).toEqual(["commit old after nothing"]);
    page.binding.prepare(goal(2, "new", model));
    await page.frame();
    expect(page.acks).toEqual(["1 ready", "2 ready"]);
    expect(page.binding.shown).toBe("old");
    expect(page.binding.held.map(({ asset }) => asset)).toEqual(["old", "new"]);
    page.binding.show(goal(2, "new", model, { atMs: 100 }));
    await page.frame();
    expect(page.binding.shown).toBe("old");
    page.nowMs = 100;
    await vi.advanceTimersByTimeAsync(100);
    expect(page.binding.shown).toBe("old");
    await page.frame();
    expect(page.log.at(-1)).toBe("commit new after old");
    page.binding.settle(2);
    expect(page.log.at(-1)).toBe("free old");
  });

  it("goes back at once to what it still holds", async () => {
    const [page, model] = [new Page(), [await file("model")]];
    page.binding.show(goal(1, "old", model));
    await page.frame();
    page.binding.show(goal(2, "new", model));
    await page.frame();
    page.binding.show(goal(3, "old", model, { isRollback: true }));
    await page.frame();
    expect(page.log).toEqual(["commit old after nothing", "commit new after old", "rollback old"]);
    page.binding.show(goal(2, "new", model));
    await page.frame();
    expect(page.binding.shown).toBe("old");
  });

  it("says what failed, and keeps what it shows", async () => {
    const [page, model] = [new Page(), [await file("model")]];
    page.bad = "new";
    page.binding.show(goal(1, "old", model));
    await page.frame();
    page.binding.prepare(goal(2, "new", model));
    await page.frame();
    page.binding.prepare(goal(3, "unreadable", [await file("model", { format: "usdz" })]));
    await page.frame();
    expect(page.acks.slice(1)).toEqual(["2 failed it does not decode", "3 failed no file of unreadable 1 can be loaded here"]);
    expect(page.failures).toEqual(["it does not decode", "no file of unreadable 1 can be loaded here"]);
    expect(page.binding.shown).toBe("old");
    page.binding.close();
    expect(page.log.at(-1)).toBe("free old");
  });

  it("chooses the finest file that fits", async () => {
    const plain = await file("plain", { triangles: 9000, size: 900 });
    const packed = await file("packed", { extensions: ["EXT_meshopt_compression"], size: 300, triangles: 9000 });
    const coarse = await file("coarse", { role: "lod1", triangles: 100, size: 100 });
    const files = [coarse, packed, plain];
    expect(choose(files, {})).toBe(plain);
    expect(choose(files, { ext: ["EXT_meshopt_compression"] })).toBe(packed);
    expect(choose(files, { maxTriangles: 500 })).toBe(coarse);
    expect(choose(files, { maxBytes: 50 })).toBeNull();
  });
});

class FakeSocket {
  readyState = 1;
  readonly sent: Record<string, unknown>[] = [];
  onopen: (() => void) | null = null;
  onmessage: ((message: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;

  constructor(readonly url: string) {}

  send(text: string): void {
    this.sent.push(JSON.parse(text) as Record<string, unknown>);
  }

  hear(message: Record<string, unknown>): void {
    this.onmessage?.({ data: JSON.stringify(message) });
  }

  of(type: string): Record<string, unknown>[] {
    return this.sent.filter((message) => message["type"] === type);
  }

  close(): void {
    this.readyState = 3;
  }
}

describe("AssetBus", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  async function connected(): Promise<{ bus: AssetBus; sockets: FakeSocket[]; model: AssetFile; shown: string[] }> {
    const [sockets, shown, model] = [[] as FakeSocket[], [] as string[], await file("model")];
    const bus = new AssetBus("https://map.example:8443/", {
      token: "t",
      openSocket: (url) => {
        sockets.push(new FakeSocket(url));
        return sockets.at(-1) as unknown as WebSocket;
      },
      fetch: () => Promise.resolve(new Response(bytes("model"))),
      onFrame: (callback) => callback(),
    });
    bus.bind("place", { prepare: (v) => v.asset, commit: (now) => void shown.push(now), rollback: (old) => void shown.push(`back to ${old}`) });
    sockets[0]?.onopen?.();
    sockets[0]?.hear({ type: "hello", seq: 4, epoch: "e", clock_ms: 0 });
    return { bus, sockets, model, shown };
  }

  it("greets without a token in the URL, binds, shows, acknowledges and holds", async () => {
    const { bus, sockets, model, shown } = await connected();
    const [socket] = sockets;
    expect(socket?.url).toBe("wss://map.example:8443/v1/assets/events");
    expect(socket?.sent[0]).toEqual({ type: "hello", client: "web", token: "t" });
    expect(socket?.of("bind")).toEqual([{ type: "bind", slot: "place" }]);
    const view = { rev: 3, current: { asset: "old", version: 1 }, files: [model], swap: null };
    socket?.hear({ type: "bound", slot: "place", view });
    await vi.waitFor(() => expect(shown).toEqual(["old"]));
    socket?.hear({ seq: 5, type: "slot.prepare", slot: "place", rev: 4, to: { asset: "new", version: 2 }, files: [model] });
    await vi.waitFor(() => expect(socket?.of("ack").at(-1)).toMatchObject({ slot: "place", rev: 4, state: "ready" }));
    const commit = { type: "slot.commit", slot: "place", rev: 4, to: { asset: "new", version: 2 }, files: [model], commit_at_ms: 1 };
    socket?.hear({ seq: 6, ...commit });
    expect(shown).toEqual(["old", "new"]);
    await vi.advanceTimersByTimeAsync(500);
    expect(socket?.of("ping").at(-1)?.["held"]).toEqual([["place", "old", 1], ["place", "new", 2]]);
    socket?.hear({ seq: 7, ...commit, type: "slot.rolled_back", rev: 5, to: { asset: "old", version: 1 } });
    expect(shown.at(-1)).toBe("back to old");
    bus.close();
  });

  it("comes back where it was, and ends for good when it is not wanted", async () => {
    const { bus, sockets, shown, model } = await connected();
    const errors: string[] = [];
    bus.on("error", (detail) => errors.push(detail));
    sockets[0]?.hear({ seq: 9, type: "asset.changed", asset: "x" });
    sockets[0]?.onclose?.({ code: 1006, reason: "" });
    await vi.advanceTimersByTimeAsync(1000);
    expect(sockets[1]?.url).toBe("wss://map.example:8443/v1/assets/events?since=9");
    sockets[1]?.onopen?.();
    expect(sockets[1]?.sent[0]).toMatchObject({ type: "hello", epoch: "e" });
    sockets[1]?.hear({ type: "hello", seq: 9, epoch: "e", clock_ms: 0 });
    const swap = { phase: "prepare", to: { asset: "new", version: 1 }, files: [model], commit_at_ms: null };
    const view = { rev: 2, current: { asset: "old", version: 1 }, files: [model], swap };
    sockets[1]?.hear({ type: "bound", slot: "place", view });
    await vi.waitFor(() => expect(sockets[1]?.of("ack").map((ack) => ack["rev"])).toContain(2));
    expect(shown).toEqual(["old"]);
    sockets[1]?.onclose?.({ code: 4401, reason: "the token has expired" });
    expect(errors).toEqual(["the token has expired"]);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(sockets).toHaveLength(2);
  });

  it("binds and holds no more than the server keeps", async () => {
    const { bus, sockets } = await connected();
    for (let i = 1; i < 256; i++) bus.bind(`place-${i}`, { prepare: () => "", commit: () => undefined });
    expect(bus.isFull).toBe(true);
    expect(() => bus.bind("one-more", { prepare: () => "", commit: () => undefined })).toThrow("at most 256");
    for (let i = 0; i < 256; i++) {
      const slot = i === 0 ? "place" : `place-${i}`;
      const view = { rev: 2, current: { asset: "old", version: 1 }, files: [], swap: { phase: "prepare", to: { asset: "new", version: 1 }, files: [] } };
      sockets[0]?.hear({ type: "bound", slot, view });
    }
    await vi.advanceTimersByTimeAsync(6000);
    expect(sockets[0]?.of("ping").at(-1)?.["held"]).toHaveLength(256);
    bus.unbind("place-7");
    expect(bus.isFull).toBe(false);
    bus.close();
  });

  it("refuses bytes that are not those of the hash", async () => {
    const { bus, model } = await connected();
    await expect(bus.fetch({ ...model, sha256: "0".repeat(64) })).rejects.toThrow("other bytes");
    expect((await bus.fetch(model)).byteLength).toBe(5);
    bus.close();
  });
});
