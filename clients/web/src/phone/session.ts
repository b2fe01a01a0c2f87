/**
 * One camera's life with the server: publish, answer clocks, report motion, hear poses, and come back after every
 * interruption (network change, sleeping phone, restarted server).
 */

import { type Api } from "../sdk/api.js";
import { ClockEstimate, type ClockSample } from "../sdk/clock.js";
import { type LateMessage, type PhoneMessage, type PoseMessage, readAnswer } from "./messages.js";
import { type MotionSample, screenAngleDeg } from "./motion.js";
import { type FrameStamps } from "./stamps.js";
import { serverTrouble, type Trouble } from "./trouble.js";
import { leave, publish, type Publication } from "./whip.js";

export type SessionState = "connecting" | "live" | "interrupted" | "stopped";

export interface SessionEvents {
  onState(state: SessionState, trouble: Trouble | null): void;
  onPose(pose: PoseMessage, latencyMs: number | null): void;
  onLate(late: LateMessage): void;
  onNotice(level: string, text: string): void;
}

const CAPTURE_INTERVAL_MS = 1000;
/** ICE calls a gap "disconnected" at once and "failed" after half a minute: in between, rebuild. */
const DISCONNECTED_GRACE_MS = 3000;
const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 8000;
const MOTION_BACKLOG_BYTES = 16 * 1024;

export class PhoneSession {
  private publication: Publication | null = null;
  private clock = new ClockEstimate();
  private readonly timers = new Set<ReturnType<typeof setTimeout>>();
  private retryMs = FIRST_RETRY_MS;
  private attempt = 0;
  private newestPoseNs = 0n;

  constructor(
    private readonly api: Api,
    private readonly scene: string,
    private track: MediaStreamTrack,
    private readonly stamps: FrameStamps,
    private readonly events: SessionEvents,
  ) {}

  /** Whether the connection stands, as far as this side can tell. */
  get isConnected(): boolean {
    return this.publication?.peer.connectionState === "connected" && this.publication.channel.readyState === "open";
  }

  get streamId(): string | null {
    return this.publication?.streamId ?? null;
  }

  /** Connect, or connect anew; an attempt under way is abandoned. */
  async start(track = this.track): Promise<void> {
    void this.end();
    this.track = track;
    const attempt = ++this.attempt;
    this.events.onState("connecting", null);
    try {
      const publication = await publish(this.api, this.scene, track, (sender) => this.stamps.attach(sender));
      if (attempt === this.attempt) this.adopt(publication);
      else void leave(this.api, publication);
    } catch (error) {
      if (attempt === this.attempt) this.interrupted(serverTrouble(error));
    }
  }

  /** Leave the server in good order; resolves once it has been told. */
  async stop(): Promise<void> {
    this.attempt++;
    const left = this.end();
    this.events.onState("stopped", null);
    await left;
  }

  reportMotion({ up, rate, atMs }: MotionSample): void {
    // Behind a slow link the newest sample is worth more than a queue of old ones.
    if ((this.publication?.channel.bufferedAmount ?? Infinity) > MOTION_BACKLOG_BYTES) return;
    this.send({ t: "motion", up, rate, at_ms: atMs });
  }

  /** Tell the size and angle again, e.g. after the phone was turned. */
  reportCamera(): void {
    const { width = 0, height = 0 } = this.track.getSettings();
    this.send({ t: "info", label: this.track.label, width, height, screen_angle: screenAngleDeg() });
  }

  private adopt(publication: Publication): void {
    this.publication = publication;
    this.newestPoseNs = 0n;
    const { peer, channel } = publication;
    channel.onopen = () => this.opened();
    channel.onmessage = ({ data }: MessageEvent<unknown>) => {
      if (typeof data === "string") this.hear(data);
    };
    peer.onconnectionstatechange = () => this.watchPeer(publication);
    if (channel.readyState === "open") this.opened();
  }

  private opened(): void {
    this.retryMs = FIRST_RETRY_MS;
    this.clock = new ClockEstimate();
    this.events.onState("live", null);
    this.reportCamera();
    this.ping(1);
    this.reportCapture();
  }

  private watchPeer(publication: Publication): void {
    const lost: Trouble = {
      title: "Connection lost",
      advice: "Stay near the network; reconnecting by itself …",
      retry: true,
    };
    const { connectionState } = publication.peer;
    if (connectionState === "failed" || connectionState === "closed") this.interrupted(lost);
    if (connectionState !== "disconnected") return;
    this.after(DISCONNECTED_GRACE_MS, () => {
      if (publication === this.publication && publication.peer.connectionState === "disconnected") {
        this.interrupted(lost);
      }
    });
  }

  private interrupted(trouble: Trouble): void {
    void this.end();
    this.events.onState("interrupted", trouble);
    if (!trouble.retry) return;
    this.after((trouble.retryAfterS ?? 0) * 1000 || this.retryMs, () => void this.start());
    this.retryMs = Math.min(2 * this.retryMs, LAST_RETRY_MS);
  }

  private hear(text: string): void {
    const answer = readAnswer(text);
    switch (answer?.t) {
      case "pong":
        this.reportOffset(this.clock.add(toNs(answer.t0), toNs(answer.t1), toNs(answer.t2), toNs(nowMs())));
        break;
      case "pose":
        if (answer.captureNs < this.newestPoseNs) return; // overtaken on the unordered channel
        this.newestPoseNs = answer.captureNs;
        this.events.onPose(answer, this.ageMs(answer.captureNs));
        break;
      case "late":
        this.events.onLate(answer);
        break;
      case "notice":
        this.events.onNotice(answer.level, answer.text);
        break;
    }
  }

  private ageMs(captureNs: bigint): number | null {
    if (this.clock.best === null) return null;
    return Number(this.clock.toServer(toNs(nowMs())) - captureNs) / 1e6;
  }

  private ping(count: number): void {
    this.send({ t: "ping", t0: nowMs() });
    this.after(this.clock.nextPingMs(count), () => this.ping(count + 1));
  }

  /** Every exchange as it was: the server weighs them by itself. */
  private reportOffset(sample: ClockSample | null): void {
    if (sample === null) return;
    this.send({ t: "offset", offset_ms: Number(sample.offsetNs) / 1e6, rtt_ms: Number(sample.rttNs) / 1e6 });
  }

  private reportCapture(): void {
    const fix = this.stamps.clock.fix();
    if (fix !== null) this.send({ t: "capture", rtp: fix.rtp, capture_ms: fix.captureMs });
    this.after(CAPTURE_INTERVAL_MS, () => this.reportCapture());
  }

  private send(message: PhoneMessage): void {
    const channel = this.publication?.channel;
    if (channel?.readyState === "open") channel.send(JSON.stringify(message));
  }

  private async end(): Promise<void> {
    for (const timer of this.timers) clearTimeout(timer);
    this.timers.clear();
    const publication = this.publication;
    this.publication = null;
    if (publication === null) return;
    publication.peer.onconnectionstatechange = null;
    publication.channel.onopen = publication.channel.onmessage = null;
    await leave(this.api, publication);
  }

  private after(delayMs: number, action: () => void): void {
    const timer = setTimeout(() => {
      this.timers.delete(timer);
      action();
    }, delayMs);
    this.timers.add(timer);
  }
}

function nowMs(): number {
  return performance.timeOrigin + performance.now();
}

function toNs(ms: number): bigint {
  return BigInt(Math.round(ms * 1000)) * 1000n;
}
