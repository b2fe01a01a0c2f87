/**
 * Jobs that make 3D assets: hand one in, and hear how it goes until it is over.
 *
 *     const jobs = new Jobs("https://cameras.example:8443", { token });
 *     const job = await jobs.submit({ scene: "main", text: "red chair", slot: "proxy_chair" });
 *     const end = await jobs.follow(job, ({ state, progress }) => show(state, progress));
 */

import { ProtocolError, Reader } from "./protocol.js";

export type JobState =
  | "queued"
  | "loading"
  | "running"
  | "yielding"
  | "publishing"
  | "succeeded"
  | "failed"
  | "cancelled"
  | "expired";
const OVER: readonly string[] = ["succeeded", "failed", "cancelled", "expired"];

/** What is wanted; `/openapi.json` says what else there is. */
export interface JobRequest {
  readonly task?: "image-to-3d-asset" | "text-to-3d-asset" | "capture";
  readonly scene: string;
  readonly text?: string;
  /** The provider's own, as `{ point_m: [x, y, z] }` of a capture. */
  readonly params?: Readonly<Record<string, unknown>>;
  /** Where each version is put as soon as it is there. */
  readonly slot?: string;
  readonly asset_name?: string;
}

export interface Job {
  readonly job: string;
  readonly state: JobState;
  readonly isOver: boolean;
  /** 0..1, never less than before. */
  readonly progress: number;
  readonly stage: string;
  /** Seconds of the device's own time that are still to go; null when that is not known. */
  readonly etaS: number | null;
  /** For how long phones' poses had the device meanwhile. */
  readonly yieldedMs: number;
  /** Why it failed, and what to do about it. */
  readonly failure: { readonly code: string; readonly message: string; readonly hint: string } | null;
}

/** The server refused, in its own words. */
export class JobError extends Error {
  override readonly name = "JobError";

  constructor(
    readonly status: number,
    detail: string,
  ) {
    super(detail);
  }
}

export interface JobsOptions {
  readonly token?: string;
  /** For tests, and for runtimes without one. */
  readonly fetch?: typeof fetch;
}

const FIRST_RETRY_MS = 250;
const LAST_RETRY_MS = 8000;

export class Jobs {
  constructor(
    private readonly server: string | URL,
    private readonly options: JobsOptions = {},
  ) {}

  /** @throws JobError when the server does not take it */
  async submit(wanted: JobRequest): Promise<Job> {
    const headers = { "Content-Type": "application/json", "Idempotency-Key": crypto.randomUUID() };
    const response = await this.ask("v1/jobs", { method: "POST", headers, body: JSON.stringify(wanted) });
    return begun((await response.json()) as Fields);
  }

  async cancel(job: Job): Promise<void> {
    await this.ask(`v1/jobs/${job.job}/cancel`, { method: "POST" });
  }

  /**
   * Hear of every step until the job is over; lost connections are taken up where they broke off.
   *
   * @returns the job at its end
   * @throws JobError when the server does not know the job (any more); `signal.reason` when nobody listens any more
   */
  async follow(job: Job, onStep: (job: Job) => void, signal?: AbortSignal): Promise<Job> {
    let [known, since, retryMs] = [job, "", FIRST_RETRY_MS];
    while (!known.isOver) {
      try {
        for await (const { id, data } of this.events(job.job, since, signal)) {
          since = id || since;
          retryMs = FIRST_RETRY_MS;
          known = after(known, data);
          onStep(known);
        }
      } catch (error) {
        if (signal?.aborted) throw signal.reason;
        if (error instanceof ProtocolError || (error instanceof JobError && error.status < 500)) throw error;
      }
      if (known.isOver) break;
      await pause(retryMs, signal);
      retryMs = Math.min(2 * retryMs, LAST_RETRY_MS);
    }
    return known;
  }

  private async *events(job: string, since: string, signal?: AbortSignal): AsyncIterable<{ id: string; data: Fields }> {
    const headers = { Accept: "text/event-stream", ...(since && { "Last-Event-ID": since }) };
    const response = await this.ask(`v1/jobs/${job}/events`, { headers, ...(signal && { signal }) });
    if (response.body === null) throw new JobError(502, "the server told nothing");
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
      text += piece.value;
      const frames = text.split("\n\n");
      text = frames.pop() ?? "";
      for (const frame of frames) {
        const field = (name: string): string =>
          frame.split("\n").find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2) ?? "";
        if (field("data")) yield { id: field("id"), data: JSON.parse(field("data")) as Fields };
      }
    }
  }

  private async ask(path: string, init: RequestInit): Promise<Response> {
    const headers = new Headers(init.headers);
    if (this.options.token) headers.set("Authorization", `Bearer ${this.options.token}`);
    const send = this.options.fetch ?? ((input, how) => fetch(input, how));
    const response = await send(new URL(path, this.server), { ...init, headers });
    if (response.ok) return response;
    const problem = (await response.json().catch(() => ({}))) as Fields;
    const detail = problem["detail"] ?? problem["title"];
    throw new JobError(response.status, typeof detail === "string" ? detail : `HTTP ${response.status}`);
  }
}

type Fields = Readonly<Record<string, unknown>>;

function begun(view: Fields): Job {
  const none = { isOver: false, progress: 0, stage: "", etaS: null, yieldedMs: 0, failure: null };
  return after({ job: new Reader(view).string("job"), state: "queued", ...none }, view);
}

/** The job as an event, or a view of it, tells. */
function after(job: Job, told: Fields): Job {
  const state = new Reader(told).string("state") as JobState;
  const number = (name: string, otherwise: number): number => (typeof told[name] === "number" ? told[name] : otherwise);
  const failure = told["failure"] as Fields | null | undefined;
  return {
    ...job,
    state,
    isOver: OVER.includes(state),
    progress: state === "succeeded" ? 1 : Math.max(job.progress, number("progress", 0)),
    stage: typeof told["stage"] === "string" ? told["stage"] : job.stage,
    etaS: typeof told["eta_s"] === "number" ? told["eta_s"] : null,
    yieldedMs: number("yielded_ms", job.yieldedMs),
    failure: failure ? readFailure(failure) : null,
  };
}

function readFailure(failure: Fields): NonNullable<Job["failure"]> {
  const r = new Reader(failure);
  return { code: r.string("code"), message: r.string("message"), hint: String(failure["hint"] ?? "") };
}

function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason as Error);
    });
  });
}
