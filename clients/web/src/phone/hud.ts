/** What the person holding the phone sees while live. */

import { byId } from "../page/dom.js";
import { rotate } from "../sdk/transform.js";
import { headingDeg } from "./heading.js";
import type { PoseMessage } from "./messages.js";
import type { SessionState } from "./session.js";
import { Trace } from "./trace.js";

const LATENCY_WINDOW = 30;
const NOTICE_MS = 6000;

/** The tracker's states in plain words: a label, its tone, and what the person should do. */
const TRACKING: Readonly<Record<string, readonly [label: string, tone: "good" | "warn", coach: string]>> = {
  tracked: ["Tracking", "good", ""],
  starting: ["Starting", "warn", "Move slowly sideways, as if around a table, so that depth can be measured."],
  lost: ["Lost", "warn", "Point at something you filmed before, and hold still for a moment."],
  relocalising: ["Searching", "warn", "Point at something you filmed before, and hold still for a moment."],
};

export class Hud {
  private readonly trace = new Trace(byId<HTMLCanvasElement>("trace"));
  private readonly latencies: number[] = [];
  private noticeTimer: ReturnType<typeof setTimeout> | null = null;

  reset(): void {
    this.trace.clear();
    this.latencies.length = 0;
    for (const id of ["position", "heading"]) byId(id).textContent = "–";
    byId("latency").textContent = "– ms";
  }

  showState(state: SessionState): void {
    const badge = byId("badge");
    badge.dataset.state = state;
    byId("badgeText").textContent = { live: "LIVE", connecting: "CONNECTING", interrupted: "OFFLINE", stopped: "OFF" }[state];
    if (state !== "live") this.showTracking("Waiting", "warn", "");
  }

  showPose(pose: PoseMessage, latencyMs: number | null): void {
    const [label, tone, coach] = TRACKING[pose.state] ?? [capitalised(pose.state), "warn", ""];
    this.showTracking(label, tone, coach);
    byId<HTMLMeterElement>("seen").value = pose.seenShare;
    byId("seenText").textContent = `${Math.round(100 * pose.seenShare)} %`;
    if (latencyMs !== null) this.showLatency(latencyMs);
    if (pose.worldFromCamera === null) return;
    const { t, qWxyz } = pose.worldFromCamera;
    const forward = rotate(qWxyz, [0, 0, 1]);
    this.trace.add(t);
    this.trace.draw(t, forward);
    const unit = pose.scaleSource === "none" ? " (no scale yet)" : " m";
    byId("position").textContent = t.map((n) => n.toFixed(2).replace("-", "−")).join("  ") + unit;
    byId("heading").textContent = `${headingDeg(forward)}°`;
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
