import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ApiError } from "../src/sdk/api.js";
import { type Job, Jobs } from "../src/sdk/jobs.js";
import { readSlot } from "../src/viewer/things/slot-view.js";

type Call = { readonly url: string; readonly init: RequestInit };

/** A server that answers in turn; an Error breaks the connection. */
function server(...answers: (Response | Error)[]): { jobs: Jobs; calls: Call[] } {
  const calls: Call[] = [];
  const answering = (input: URL | RequestInfo, init: RequestInit = {}): Promise<Response> => {
    calls.push({ url: String(input), init });
    const answer = answers.shift() ?? new Error("nothing more was expected");
    if (answer instanceof Error) return Promise.reject(answer);
    const cut = new TransformStream<Uint8Array, Uint8Array>({
      start: (controller) => init.signal?.addEventListener("abort", () => controller.error(new Error("aborted"))),
    });
    return Promise.resolve(new Response(answer.body?.pipeThrough(cut) ?? null, answer));
  };
  return { jobs: new Jobs("https://cameras.example:8443", { token: "t", fetch: answering as typeof fetch }), calls };
}

/** Server-sent events, cut wherever it hurts; `open`: then nothing is said any more, and the line stays open. */
function stream(events: readonly [id: number | null, data: object][], open = false): Response {
  const pieceBytes = 7;
  const text = events.map(([id, data]) => `${id === null ? "" : `id: ${id}\n`}data: ${JSON.stringify(data)}\n\n`).join("");
  const bytes = new TextEncoder().encode(text);
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      for (let at = 0; at < bytes.length; at += pieceBytes) controller.enqueue(bytes.slice(at, at + pieceBytes));
      if (!open) controller.close();
    },
  });
  return new Response(body, { status: 200 });
}

const accepted = (): Response => Response.json({ job: "job-1", asset: "a", state: "queued", progress: 0 }, { status: 202 });
const changed = (state: string, more: object = {}): object => ({ type: "job.changed", job: "job-1", state, ...more });

describe("Jobs", () => {
  it("hands a job in with a key of its own and tells every step to the end", async () => {
    const { jobs, calls } = server(
      accepted(),
      stream([
        [1, changed("running")],
        [null, { state: "running", stage: "grün", progress: 0.4, eta_s: 2.5, yielded_ms: 12 }],
        [null, { state: "yielding", stage: "grün", progress: 0.3, eta_s: null, yielded_ms: 20 }],
        [2, changed("succeeded")],
      ]),
    );
    const steps: Job[] = [];
    const end = await jobs.follow(await jobs.submit({ scene: "main", text: "red cube" }), (job) => steps.push(job));
    expect(steps.map(({ state }) => state)).toEqual(["running", "running", "yielding", "succeeded"]);
    expect(steps[1]).toMatchObject({ stage: "grün", progress: 0.4, etaS: 2.5, yieldedMs: 12 });
    expect(steps[2]?.progress).toBe(0.4); // it never goes back
    expect(end).toMatchObject({ isOver: true, progress: 1, failure: null });
    const headers = new Headers(calls[0]?.init.headers);
    expect(headers.get("Idempotency-Key")).toMatch(/^[0-9a-f-]{36}$/);
    expect(headers.get("Authorization")).toBe("Bearer t");
    expect(calls[0]?.url).not.toContain("t=");
  });

  it("takes a broken stream up behind the last event that has a number", async () => {
    const { jobs, calls } = server(
      accepted(),
      stream([[7, changed("running")]]),
      new TypeError("network"),
      stream([[8, changed("failed", { failure: { code: "unsuitable", message: "nothing stands there", hint: "" } })]]),
    );
    const end = await jobs.follow(await jobs.submit({ scene: "main" }), () => undefined);
    expect(end.failure?.message).toBe("nothing stands there");
    expect(calls.slice(1).map(({ init }) => new Headers(init.headers).get("Last-Event-ID"))).toEqual([null, "7", "7"]);
  });

  it("says what the server refused, and asks no more", async () => {
    const { jobs } = server(Response.json({ title: "Forbidden", detail: "not yours" }, { status: 403 }));
    await expect(jobs.submit({ scene: "main" })).rejects.toEqual(new ApiError(403, "not yours"));
    const gone = server(accepted(), Response.json({ detail: "there is no job" }, { status: 404 }));
    await expect(gone.jobs.follow(await gone.jobs.submit({ scene: "main" }), () => undefined)).rejects.toThrow("no job");
  });

  it("stops when nobody listens any more", async () => {
    const { jobs } = server(accepted(), new TypeError("network"));
    const listening = new AbortController();
    const following = jobs.follow(await jobs.submit({ scene: "main" }), () => undefined, listening.signal);
    listening.abort(new Error("the page is closed"));
    await expect(following).rejects.toThrow("the page is closed");
  });
});

describe("Jobs, when something goes wrong", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());
  const job = async (jobs: Jobs): Promise<Job> => jobs.submit({ scene: "main" });
  const isCut = (call: Call | undefined): boolean => call?.init.signal?.aborted === true;

  it("hands what the listener throws to who follows, and hangs up", async () => {
    const { jobs, calls } = server(accepted(), stream([[1, changed("running")]], true));
    const broken = (): never => {
      throw new TypeError("the page has no such element");
    };
    await expect(jobs.follow(await job(jobs), broken)).rejects.toThrow("no such element");
    expect(calls).toHaveLength(2);
    expect(isCut(calls[1])).toBe(true);
  });

  it("is through at the last state, whether or not the stream ends", async () => {
    const { jobs, calls } = server(accepted(), stream([[1, changed("succeeded")]], true));
    expect((await jobs.follow(await job(jobs), () => undefined)).state).toBe("succeeded");
    expect(isCut(calls[1])).toBe(true);
  });

  it("gives a line up on which nothing is said for much longer than the server's heart beats", async () => {
    const { jobs, calls } = server(accepted(), stream([[4, changed("running")]], true), stream([[5, changed("succeeded")]]));
    const following = jobs.follow(await job(jobs), () => undefined);
    await vi.advanceTimersByTimeAsync(40_000);
    expect(calls).toHaveLength(2);
    await vi.advanceTimersByTimeAsync(10_000);
    expect((await following).state).toBe("succeeded");
    expect(new Headers(calls[2]?.init.headers).get("Last-Event-ID")).toBe("4");
  });

  it("comes again, as late as asked, when it was told to come later", async () => {
    const later = Response.json({ detail: "slow down" }, { status: 429, headers: { "Retry-After": "3" } });
    const { jobs, calls } = server(accepted(), later, stream([[1, changed("succeeded")]]));
    const following = jobs.follow(await job(jobs), () => undefined);
    await vi.advanceTimersByTimeAsync(2900);
    expect(calls).toHaveLength(2);
    await vi.advanceTimersByTimeAsync(200);
    expect((await following).state).toBe("succeeded");
  });

  it("leaves nothing behind on the signal", async () => {
    const { jobs } = server(accepted(), new TypeError("network"), stream([[1, changed("succeeded")]]));
    const { signal } = new AbortController();
    const [on, off] = [vi.spyOn(signal, "addEventListener"), vi.spyOn(signal, "removeEventListener")];
    const following = jobs.follow(await job(jobs), () => undefined, signal);
    await vi.advanceTimersByTimeAsync(1000);
    await following;
    expect(on.mock.calls.length).toBe(3); // two connections and the pause between them
    expect(off.mock.calls.map(([, listener]) => listener)).toEqual(on.mock.calls.map(([, listener]) => listener));
  });
});

describe("readSlot", () => {
  it("reads what stands there, what stood there, and where", () => {
    const placement = { scene: "main", epoch: 3, position_m: [1, 2, 3], quat_wxyz: [1, 0, 0, 0], scale: 2 };
    const view = { slot: "here", scene: "main", rev: 3, current: { asset: "cube", version: 2 }, kept: [{ asset: "cube", version: 1 }] };
    expect(readSlot({ ...view, placement })).toMatchObject({
      current: { asset: "cube", version: 2 },
      kept: [{ asset: "cube", version: 1 }],
      placement: { scale: 2, translation: [1, 2, 3] },
    });
    expect(readSlot({ ...view, current: null, placement: null }).placement).toBeNull();
  });
});
