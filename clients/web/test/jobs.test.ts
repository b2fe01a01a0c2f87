import { describe, expect, it } from "vitest";
import { type Job, JobError, Jobs } from "../src/sdk/jobs.js";
import { readSlot } from "../src/viewer/things/slot-view.js";

type Call = { readonly url: string; readonly init: RequestInit };

/** A server that answers in turn; an Error breaks the connection. */
function server(...answers: (Response | Error)[]): { jobs: Jobs; calls: Call[] } {
  const calls: Call[] = [];
  const answering = (input: URL | RequestInfo, init: RequestInit = {}): Promise<Response> => {
    calls.push({ url: String(input), init });
    const answer = answers.shift() ?? new Error("nothing more was expected");
    return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
  };
  return { jobs: new Jobs("https://cameras.example:8443", { token: "t", fetch: answering as typeof fetch }), calls };
}

/** Server-sent events, cut wherever it hurts. */
function stream(events: readonly [id: number | null, data: object][], pieceBytes = 7): Response {
  const text = events.map(([id, data]) => `${id === null ? "" : `id: ${id}\n`}data: ${JSON.stringify(data)}\n\n`).join("");
  const bytes = new TextEncoder().encode(text);
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      for (let at = 0; at < bytes.length; at += pieceBytes) controller.enqueue(bytes.slice(at, at + pieceBytes));
      controller.close();
    },
  });
  return new Response(body, { status: 200 });
}

const accepted = (): Response => Response.json({ job: "job-1", state: "queued", progress: 0 }, { status: 202 });
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
    await expect(jobs.submit({ scene: "main" })).rejects.toEqual(new JobError(403, "not yours"));
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

describe("readSlot", () => {
  it("reads what stands there, what stood there, and where", () => {
    const placement = { scene: "main", epoch: 3, position_m: [1, 2, 3], quat_wxyz: [1, 0, 0, 0], scale: 2 };
    const view = { slot: "here", scene: "main", current: { asset: "cube", version: 2 }, kept: [{ asset: "cube", version: 1 }] };
    expect(readSlot({ ...view, placement })).toMatchObject({
      current: { asset: "cube", version: 2 },
      kept: [{ asset: "cube", version: 1 }],
      placement: { scale: 2, translation: [1, 2, 3] },
    });
    expect(readSlot({ ...view, current: null, placement: null }).placement).toBeNull();
  });
});
