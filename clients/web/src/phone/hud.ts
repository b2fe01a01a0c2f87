/** What the person holding the phone sees while live. */

import { byId } from "../page/dom.js";
import { rotate } from "../sdk/transform.js";
import { headingDeg } from "./heading.js";
import type { LateMessage, PoseMessage } from "./messages.js";
import type { SessionState } from "./session.js";
import { Trace } from "./trace.js";

const LATENCY_WINDOW = 30;
const NOTICE_MS = 6000;

type Advice = readonly [label: string, tone: "good" | "warn", coach: string];

const SEARCH = "Point at something you filmed before, and hold still for a moment.";

/** The tracker's states in plain words: a label, its tone, and what the person should do. */
const ADVICE: Readonly<Record<string, Advice>> = {
  tracked: ["Tracking", "good", ""],
  starting: ["Starting", "warn", "Move slowly sideways, as if around a table, so that depth can be measured."],
  lost: ["Lost", "warn", SEARCH],
};
const UNALIGNED: Advice = ["On its own", "warn", "Film something that others have filmed, to join the shared map."];

export class Hud {
  private readonly trace = new Trace(byId<HTMLCanvasElement>("trace"));
  private readonly latencies: number[] = [];
  private wasAligned = true;
  private noticeTimer: ReturnType<typeof setTimeout> | null = null;

  reset(): void {
    this.trace.clear();
    this.latencies.length = 0;
    for (const id of ["position", "heading"]) byId(id).textContent = "–";
    byId("unit").textContent = "";
    byId("latency").textContent = "– ms";
  }

  showState(state: SessionState): void {
    const badge = byId("badge");
    badge.dataset.state = state;
    byId("badgeText").textContent = { live: "LIVE", connecting: "CONNECTING", interrupted: "OFFLINE", stopped: "OFF" }[state];
    if (state !== "live") this.showTracking("Waiting", "warn", "");
  }

  showPose(pose: PoseMessage, latencyMs: number | null): void {
    if (pose.isAligned !== this.wasAligned) this.trace.clear(); // from here on in other coordinates
    this.wasAligned = pose.isAligned;
    const advice = ADVICE[pose.state] ?? [capitalised(pose.state), "warn", ""];
    this.showTracking(...(pose.state === "tracked" && !pose.isAligned ? UNALIGNED : advice));
    byId<HTMLProgressElement>("seen").value = pose.seenShare;
    byId("seenText").textContent = `${Math.round(100 * pose.seenShare)} %`;
    if (latencyMs !== null) this.showLatency(latencyMs);
    if (pose.worldFromCamera === null) return;
    const { t, qWxyz } = pose.worldFromCamera;
    const forward = rotate(qWxyz, [0, 0, 1]);
    this.trace.add(t);
    this.trace.draw(t, forward);
    byId("position").textContent = t.map((n) => n.toFixed(2).replace("-", "−")).join("  ");
    byId("unit").textContent = pose.scaleSource === "none" ? "· not metric yet" : "· metres";
    byId("heading").textContent = `${headingDeg(forward)}°`;
  }

  /** The way up to the first pose, known only now. */
  showLate(late: LateMessage): void {
    if (late.isAligned === this.wasAligned) this.trace.precede(late.poses.map(({ worldFromCamera }) => worldFromCamera.t));
  }

  showNotice(text: string): void {
    byId("coach").textContent = text;
    if (this.noticeTimer !== null) clearTimeout(this.noticeTimer);
    this.noticeTimer = setTimeout(() => (this.noticeTimer = null), NOTICE_MS);
  }

  private showTracking(label: string, tone: "good" | "warn", coach: string): void {
    byId("trackState").textContent = label;
    byId("trackDot").dataset.tone = tone;
    if (this.noticeTimer === null) byId("coach").textContent = coach;
  }

  private showLatency(latencyMs: number): void {
    this.latencies.push(latencyMs);
    if (this.latencies.length > LATENCY_WINDOW) this.latencies.shift();
    const sorted = this.latencies.toSorted((a, b) => a - b);
    byId("latency").textContent = `${Math.round(sorted[sorted.length >> 1] ?? 0)} ms`;
  }
}

function capitalised(word: string): string {
  return word.charAt(0).toUpperCase() + word.slice(1);
}
