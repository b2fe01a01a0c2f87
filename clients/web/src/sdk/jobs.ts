/**
 * Jobs that make 3D assets: hand one in, and hear how it goes until it is over.
 *
 *     const jobs = new Jobs("https://cameras.example:8443", { token });
 *     const job = await jobs.submit({ scene: "main", text: "red chair", slot: "proxy_chair" });
 *     const end = await jobs.follow(job, ({ state, progress }) => show(state, progress));
 */

import { type Access, Api, ApiError } from "./api.js";
import { Reader } from "./protocol.js";

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
  /** What its versions belong to; some may be there before it is over. */
  readonly asset: string;
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

const FIRST_RETRY_MS = 250;
const LAST_RETRY_MS = 8000;
/** The server says something every 15 s. */
const SILENCE_MS = 45_000;

export class Jobs {
  private readonly api: Api;

  constructor(server: string | URL, access: Access = {}) {
    this.api = new Api(server, access);
  }

  /** @throws ApiError when the server does not take it */
  async submit(wanted: JobRequest): Promise<Job> {
    const headers = { "Content-Type": "application/json", "Idempotency-Key": crypto.randomUUID() };
    return this.api.json("v1/jobs", begun, { method: "POST", headers, body: JSON.stringify(wanted) });
  }

  async cancel(job: Job): Promise<void> {
    await this.api.request(`v1/jobs/${job.job}/cancel`, { method: "POST" });
  }

  /**
   * Hear of every step until the job is over; lost connections are taken up where they broke off.
   *
   * @returns the job at its end
   * @throws ApiError when the server does not know the job (any more); `signal.reason` when nobody listens any more;
   *   what `onStep` throws
   */
  async follow(job: Job, onStep: (job: Job) => void, signal?: AbortSignal): Promise<Job> {
    if (job.isOver) return job;
    let known = job;
    for await (const told of this.events(job.job, signal)) {
      known = after(known, told);
      onStep(known);
      if (known.isOver) break;
    }
    return known;
  }

  /** What is told of a job, over as many connections as it takes; it ends with whoever listens. */
  private async *events(job: string, signal?: AbortSignal): AsyncGenerator<Fields, never> {
    let [since, retryMs] = ["", FIRST_RETRY_MS];
    for (;;) {
      let askedMs = 0;
      try {
        for await (const { id, data } of this.connection(job, since, signal)) {
          since = id || since;
          retryMs = FIRST_RETRY_MS;
          yield data;
        }
      } catch (error) {
        signal?.throwIfAborted();
        if (error instanceof ApiError && !error.mayPass) throw error;
        if (error instanceof ApiError) askedMs = 1000 * (error.retryAfterS ?? 0);
      }
      await pause(Math.max(retryMs, askedMs), signal);
      retryMs = Math.min(2 * retryMs, LAST_RETRY_MS);
    }
  }

  /** One connection's events; it is given up when it says nothing for too long, or nobody listens. */
  private async *connection(job: string, since: string, signal?: AbortSignal): AsyncGenerator<Told> {
    const ending = new AbortController();
    const end = (): void => ending.abort(signal?.reason);
    const isAlive = (): ReturnType<typeof setTimeout> => setTimeout(end, SILENCE_MS);
    signal?.addEventListener("abort", end);
    let patience = isAlive();
    try {
      const headers = { Accept: "text/event-stream", ...(since && { "Last-Event-ID": since }) };
      const { body } = await this.api.request(`v1/jobs/${job}/events`, { headers, signal: ending.signal });
      if (body === null) throw new ApiError(502, "the server told nothing");
      const reader = body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
        clearTimeout(patience);
        patience = isAlive();
        const frames = (text + piece.value).split("\n\n");
        text = frames.pop() ?? "";
        yield* frames.map(readFrame).filter((told) => told !== null);
      }
    } finally {
      clearTimeout(patience);
      signal?.removeEventListener("abort", end);
      end(); // of a stream that is still open
    }
  }
}

type Fields = Readonly<Record<string, unknown>>;

function begun(answer: unknown): Job {
  const view = answer as Fields;
  const r = new Reader(view);
  const none = { isOver: false, progress: 0, stage: "", etaS: null, yieldedMs: 0, failure: null };
  return after({ job: r.string("job"), asset: r.string("asset"), state: "queued", ...none }, view);
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

interface Told {
  /** Of what can be resumed behind. */
  readonly id: string;
  readonly data: Fields;
}

/** One server-sent event; null of a heartbeat. */
function readFrame(frame: string): Told | null {
  const field = (name: string): string =>
    frame.split("\n").find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2) ?? "";
  return field("data") ? { id: field("id"), data: JSON.parse(field("data")) as Fields } : null;
}

function pause(ms: number, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted();
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      clearTimeout(timer);
      reject(signal?.reason as Error);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal?.addEventListener("abort", stop, { once: true });
  });
}
