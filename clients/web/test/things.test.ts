import * as THREE from "three";
import { beforeEach, describe, expect, it } from "vitest";
import { Api } from "../src/sdk/api.js";
import type { Callbacks } from "../src/sdk/asset-slot.js";
import type { AssetBus } from "../src/sdk/assets.js";
import { Jobs } from "../src/sdk/jobs.js";
import type { Stage } from "../src/viewer/stage.js";
import type { Model } from "../src/viewer/things/model.js";
import { type Thing, Things } from "../src/viewer/things/things.js";
import { Workshop } from "../src/viewer/things/workshop.js";

type Listener = (payload: unknown) => void;

/** A page of scene "main" whose server answers when the test says so. */
class Page {
  /** `METHOD path`, in order. */
  readonly asked: string[] = [];
  readonly bodies: unknown[] = [];
  readonly news: string[] = [];
  readonly bound = new Map<string, Callbacks<Model>>();
  isFull = false;
  private readonly open = new Map<string, ((answer: Response) => void)[]>();
  private readonly heard = new Map<string, Listener>();

  private readonly fetch = (url: unknown, { method = "GET", body }: RequestInit = {}): Promise<Response> => {
    const what = `${method} ${(url as URL).pathname}`;
    this.asked.push(what);
    this.bodies.push(typeof body === "string" ? JSON.parse(body) : null);
    return new Promise((resolve) => this.open.set(what, [...(this.open.get(what) ?? []), resolve]));
  };

  private readonly api = new Api("https://map.example/", { fetch: this.fetch as typeof fetch });
  readonly things: Things;
  readonly workshop: Workshop;

  constructor() {
    const page = this;
    const bus = {
      on: (name: string, listener: Listener) => page.heard.set(name, listener),
      bind: (slot: string, callbacks: Callbacks<Model>) => (page.bound.set(slot, callbacks), { shown: null }),
      unbind: (slot: string) => page.bound.delete(slot),
      get isFull() {
        return page.isFull;
      },
    };
    const stage = { scene: new THREE.Scene(), invalidate: () => undefined };
    this.things = new Things(stage as unknown as Stage, this.api, bus as unknown as AssetBus);
    const jobs = new Jobs("https://map.example/", { fetch: this.fetch as typeof fetch });
    this.workshop = new Workshop(this.api, jobs, this.things, () => "main");
    this.workshop.onNews = (text) => void this.news.push(text);
  }

  /** The oldest such request that waits. */
  async answer(what: string, body: unknown, status = 200): Promise<void> {
    await settled();
    const resolve = this.open.get(what)?.shift();
    if (resolve === undefined) throw new Error(`nobody asked ${what}, only ${this.asked.join(", ")}`);
    resolve(body instanceof Response ? body : new Response(status === 204 ? null : JSON.stringify(body), { status }));
    await settled();
  }

  tell(event: Record<string, unknown>): void {
    this.heard.get("event")?.(event);
  }

  openAgain(): void {
    this.heard.get("state")?.("open");
  }

  get slots(): string[] {
    return this.things.all.map(({ slot }) => slot);
  }

  /** A thing of which the server said this. */
  async holding(view: object): Promise<Thing> {
    this.things.choose("main");
    await this.answer("GET /v1/slots", [view]);
    return this.things.all[0] as Thing;
  }
}

const settled = (): Promise<void> => new Promise((resolve) => setTimeout(resolve));
type Shown = readonly [asset: string, version: number];
const PLACE = { position_m: [1, 0, 2], quat_wxyz: [1, 0, 0, 0], scale: 1 };

function slot(name: string, rev: number, shown: Shown = ["cube", 1], kept: readonly Shown[] = []): object {
  const [current, ...before] = [shown, ...kept].map(([asset, version]) => ({ asset, version }));
  return { slot: name, scene: "main", rev, current, kept: before, placement: PLACE };
}

function job(name: string, asset: string): object {
  return { job: name, asset, state: "queued", progress: 0 };
}

function ends(state: string, failure: object | null = null): Response {
  return new Response(`data: ${JSON.stringify({ state, failure })}\n\n`);
}

const FAILURE = { code: "unsuitable", message: "nothing stands there", hint: "" };

describe("Things", () => {
  it("drops what is gone when the server is back, and when too much was missed", async () => {
    const page = new Page();
    page.things.choose("main");
    await page.answer("GET /v1/slots", [slot("a", 1), slot("b", 1), slot("c", 1)]);
    page.things.expect("being-made");
    page.openAgain();
    await page.answer("GET /v1/slots", [slot("a", 1), slot("b", 1)]);
    expect(page.slots).toEqual(["a", "b", "being-made"]);
    page.tell({ type: "resync" });
    await page.answer("GET /v1/slots", [slot("b", 1)]);
    expect(page.slots).toEqual(["b", "being-made"]);
    expect([...page.bound.keys()]).toEqual(["b", "being-made"]);
  });

  it("keeps everything while the server cannot be asked", async () => {
    const page = new Page();
    await page.holding(slot("a", 1));
    page.openAgain();
    await page.answer("GET /v1/slots", {}, 503);
    expect(page.slots).toEqual(["a"]);
  });

  it("never shows an older answer after a newer one, nor what was removed", async () => {
    const page = new Page();
    const thing = await page.holding(slot("a", 1));
    page.tell({ type: "slot.commit", slot: "a" });
    page.tell({ type: "slot.rolled_back", slot: "a" });
    await settled();
    expect(page.asked.filter((what) => what === "GET /v1/slots/a")).toHaveLength(1);
    await page.answer("GET /v1/slots/a", slot("a", 2));
    await page.answer("GET /v1/slots/a", slot("a", 3));
    expect(thing.view?.rev).toBe(3);
    page.tell({ type: "slot.commit", slot: "a" });
    page.tell({ type: "slot.removed", slot: "a" });
    await page.answer("GET /v1/slots/a", slot("a", 4));
    expect(page.slots).toEqual([]);
    page.tell({ type: "slot.commit", slot: "a" });
    await page.answer("GET /v1/slots/a", slot("a", 1));
    expect(page.slots).toEqual(["a"]);
    page.tell({ type: "slot.commit", slot: "a" });
    await page.answer("GET /v1/slots/a", {}, 404);
    expect(page.slots).toEqual([]);
  });

  it("says what cannot be shown, and what is too much", async () => {
    const page = new Page();
    const thing = await page.holding(slot("a", 1));
    page.bound.get("a")?.failed?.("there are no triangles in it");
    expect(thing.unshown).toBe("there are no triangles in it");
    page.bound.get("a")?.commit({ root: new THREE.Object3D() } as unknown as Model, null);
    expect(thing.unshown).toBe("");
    page.isFull = true;
    expect(page.things.expect("b")).toMatchObject({ binding: null, unshown: "there are too many things for one page" });
  });
});

describe("Workshop", () => {
  let page: Page;
  beforeEach(() => {
    page = new Page();
    page.things.choose("main");
  });

  async function capturing(): Promise<Thing> {
    await page.answer("GET /v1/slots", []);
    void page.workshop.capture([0, 0, 0]);
    await page.answer("POST /v1/jobs", job("j1", "captured"));
    return page.things.all[0] as Thing;
  }

  it("makes one thing at a time of a thing, and keeps a model that came out well", async () => {
    const thing = await capturing();
    void page.workshop.swap(thing, "red chair");
    void page.workshop.back(thing);
    await settled();
    expect(page.asked.filter((what) => what === "POST /v1/jobs")).toHaveLength(1);
    thing.trouble = "somebody else's";
    await page.answer("GET /v1/jobs/j1/events", ends("succeeded"));
    expect(page.asked.some((what) => what.startsWith("DELETE"))).toBe(false);
    expect(page.slots).toEqual([thing.slot]);
    expect(page.news.at(-1)).toContain("The model stands in its place");
    expect(thing.isBusy).toBe(false);
  });

  it("removes the stand-in of a capture that failed, and says why", async () => {
    const thing = await capturing();
    await page.answer("GET /v1/jobs/j1/events", ends("failed", FAILURE));
    await page.answer(`DELETE /v1/slots/${thing.slot}`, null, 204);
    expect(page.slots).toEqual([]);
    expect(page.news).toEqual(["nothing stands there"]);
  });

  it("leaves what somebody else put in its place before the capture failed", async () => {
    const thing = await capturing();
    page.tell({ type: "slot.commit", slot: thing.slot });
    await page.answer(`GET /v1/slots/${thing.slot}`, slot(thing.slot, 4, ["chair", 1], [["captured", 1]]));
    await page.answer("GET /v1/jobs/j1/events", ends("failed", FAILURE));
    expect(page.asked.some((what) => what.startsWith("DELETE"))).toBe(false);
    expect(page.slots).toEqual([thing.slot]);
  });

  it("keeps what stands there when a swap is refused", async () => {
    await page.answer("GET /v1/slots", [slot("a", 3)]);
    const thing = page.things.all[0] as Thing;
    void page.workshop.swap(thing, "…");
    await page.answer("POST /v1/jobs", { detail: "nobody knows that" }, 422);
    expect([page.slots, thing.trouble, thing.isBusy]).toEqual([["a"], "nobody knows that", false]);
  });

  it("asks nothing more of a capture that was not taken", async () => {
    await page.answer("GET /v1/slots", []);
    void page.workshop.capture([0, 0, 0]);
    await page.answer("POST /v1/jobs", { detail: "slow down" }, 429);
    expect([page.slots, page.news]).toEqual([[], ["slow down"]]);
    expect(page.asked.some((what) => what.startsWith("DELETE"))).toBe(false);
  });

  it("says nothing of a model when the thing was removed meanwhile", async () => {
    const thing = await capturing();
    void page.workshop.remove(thing);
    await page.answer("POST /v1/jobs/j1/cancel", {});
    await page.answer(`DELETE /v1/slots/${thing.slot}`, {}, 404);
    await page.answer("GET /v1/jobs/j1/events", ends("cancelled"));
    expect([page.slots, page.news]).toEqual([[], [""]]);
  });

  it("leaves no old news behind", async () => {
    await page.answer("GET /v1/slots", [slot("a", 3)]);
    void page.workshop.swap(page.things.all[0] as Thing, "red cube");
    await page.answer("POST /v1/jobs", job("j1", "cube"));
    await page.answer("GET /v1/jobs/j1/events", ends("succeeded"));
    expect(page.news).toEqual(["“red cube” comes as soon as it is made.", ""]);
  });

  it("cancels what is taken only after the thing was removed", async () => {
    await page.answer("GET /v1/slots", []);
    void page.workshop.capture([0, 0, 0]);
    const [thing] = page.things.all as [Thing];
    void page.workshop.remove(thing);
    await page.answer(`DELETE /v1/slots/${thing.slot}`, {}, 404);
    await page.answer("POST /v1/jobs", job("j1", "captured"));
    await page.answer("POST /v1/jobs/j1/cancel", {});
  });

  it("keeps what the server does not let go", async () => {
    await page.answer("GET /v1/slots", [slot("a", 3)]);
    void page.workshop.remove(page.things.all[0] as Thing);
    await page.answer("DELETE /v1/slots/a", { detail: "not yours" }, 403);
    expect([page.slots, page.news]).toEqual([["a"], ["not yours"]]);
  });

  it("goes back to another asset by what the server shows now, step by step", async () => {
    await page.answer("GET /v1/slots", [slot("a", 3, ["cube", 1], [["mug", 3]])]);
    void page.workshop.back(page.things.all[0] as Thing);
    await page.answer("GET /v1/slots/a", slot("a", 4, ["cube", 2], [["cube", 1], ["mug", 3]]));
    await page.answer("POST /v1/slots/a/rollback", slot("a", 5, ["cube", 1], [["mug", 3]]));
    await page.answer("POST /v1/slots/a/rollback", slot("a", 6, ["mug", 3]));
    expect(page.bodies.slice(-2)).toEqual([{ revision: 4 }, { revision: 5 }]);
    expect(page.things.all[0]?.isBusy).toBe(false);
  });
});
