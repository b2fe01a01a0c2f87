/** The latency waterfall as bars: one row for poses, one for the map, one segment per hop. */

import { make } from "../page/dom.js";
import { type Hop, HOPS, type LatencyMeter, type Track } from "./latency.js";

const HOP_NAMES: Readonly<Record<Hop, string>> = {
  infer: "capture → inferred",
  publish: "→ published",
  receive: "→ received",
  draw: "→ drawn",
};
const TRACK_NAMES: Readonly<Record<Track, string>> = { pose: "Pose", map: "Map" };
const TRACKS: readonly Track[] = ["pose", "map"];

interface Row {
  readonly total: HTMLElement;
  readonly age: HTMLElement;
  readonly segments: Readonly<Record<Hop, HTMLElement>>;
}

export class WaterfallView {
  private readonly rows: Readonly<Record<Track, Row>>;

  constructor(host: HTMLElement) {
    this.rows = { pose: this.addRow(host, "pose"), map: this.addRow(host, "map") };
    const legend = make("div", "legend");
    for (const hop of HOPS) {
      const item = make("span", "");
      item.append(make("i", `swatch hop-${hop}`), HOP_NAMES[hop]);
      legend.append(item);
    }
    host.append(legend);
  }

  update(meter: LatencyMeter, nowNs: bigint): void {
    for (const track of TRACKS) {
      const row = this.rows[track];
      const waterfall = meter.waterfall(track);
      const age = meter.ageS(track, nowNs);
      row.age.textContent = age === null ? "nothing yet" : `shown: ${formatAge(age)} old`;
      row.age.dataset.tone = age !== null && age > 5 ? "warn" : "";
      row.total.textContent = waterfall === null ? "–" : formatMs(waterfall.totalMs);
      for (const hop of HOPS) {
        const value = waterfall?.hopMs[hop] ?? 0;
        const segment = row.segments[hop];
        segment.style.flexGrow = String(Math.max(value, 0));
        segment.title = `${HOP_NAMES[hop]}: ${formatMs(value)}`;
        segment.textContent = waterfall !== null && value > 0.09 * waterfall.totalMs ? String(Math.round(value)) : "";
      }
    }
  }

  private addRow(host: HTMLElement, track: Track): Row {
    const [head, bar] = [make("div", "hop-head"), make("div", "hop-bar")];
    const [total, age] = [make("b", "numbers"), make("span", "muted numbers")];
    head.append(make("span", "", TRACK_NAMES[track]), total, age);
    const segments = Object.fromEntries(HOPS.map((hop) => [hop, make("span", `hop-${hop}`)])) as Record<Hop, HTMLElement>;
    bar.append(...HOPS.map((hop) => segments[hop]));
    host.append(head, bar);
    return { total, age, segments };
  }
}

export function formatAge(seconds: number): string {
  if (seconds < 10) return `${seconds.toFixed(seconds < 1 ? 2 : 1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}

function formatMs(ms: number): string {
  return ms < 10_000 ? `${ms < 9.95 ? ms.toFixed(1) : Math.round(ms)} ms` : formatAge(ms / 1000);
}
