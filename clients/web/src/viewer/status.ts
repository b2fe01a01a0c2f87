/** The words around the map: connection, scenes, and how far its metres and its up can be trusted. */

import { byId, make } from "../page/dom.js";
import type { ConnectionState } from "../sdk/client.js";
import type { SceneInfo } from "../sdk/protocol.js";
import type { CameraView } from "./layers/cameras.js";
import { formatAge } from "./waterfall.js";

/** What is shown may be this old and still count as live. */
const LIVE_S = 3;
const CONNECTION: Readonly<Record<ConnectionState, string>> = {
  connecting: "Connecting …",
  open: "Live",
  waiting: "Reconnecting …",
  closed: "Disconnected",
};
const SCALE: Readonly<Record<string, string>> = {
  posed: "metric (posed camera)",
  marker: "metric (marker)",
  camera_height: "metric (camera height)",
  distance: "metric (distance)",
};
const GRAVITY: Readonly<Record<string, string>> = {
  none: "unknown",
  posed: "posed camera",
  motion: "motion sensors",
  lines: "upright edges",
  planes: "floors and walls",
};

export interface Freshness {
  readonly state: ConnectionState;
  /** Whether all that there was at the start has come and is shown. */
  readonly isComplete: boolean;
  /** Age of the newest picture behind what is shown, while anybody films; else null. */
  readonly ageS: number | null;
}

/** What the chip says, and whether it may be green. */
export function freshness({ state, isComplete, ageS }: Freshness): { tone: string; text: string } {
  if (state !== "open") return { tone: state, text: CONNECTION[state] };
  if (ageS !== null && ageS > LIVE_S) {
    return { tone: "behind", text: `Live, ${ageS < 60 ? `${Math.round(ageS)} s` : formatAge(ageS)} behind` };
  }
  return isComplete ? { tone: "open", text: CONNECTION.open } : { tone: "behind", text: "Loading …" };
}

export function showFreshness(how: Freshness): void {
  const { tone, text } = freshness(how);
  byId("connection").dataset.fresh = tone;
  byId("connectionText").textContent = text;
}

export function showConnection(state: ConnectionState, detail = ""): void {
  byId("connection").dataset.state = state;
  const banner = byId("banner");
  banner.textContent = detail || (state === "waiting" ? "The server is out of reach; trying again by itself …" : "");
  banner.hidden = banner.textContent === "";
}

export function showScenes(scenes: readonly SceneInfo[], current: string): void {
  const select = byId<HTMLSelectElement>("scenes");
  const names = [...new Set([...scenes.map(({ scene }) => scene), current])];
  select.replaceChildren(
    ...names.map((name) => {
      const option = make("option", "", name);
      option.value = name;
      option.selected = name === current;
      return option;
    }),
  );
  select.disabled = names.length < 2;
}

export function showScene(info: SceneInfo | null, views: readonly CameraView[], areaM2: number): void {
  const scaleSource = newestScale(views) ?? info?.scale_source ?? "none";
  const isMetric = scaleSource !== "none";
  const waiting = info === null || views.length === 0;
  byId("scale").textContent = isMetric ? (SCALE[scaleSource] ?? `metric (${scaleSource})`) : "not known yet";
  byId("gravity").textContent = GRAVITY[info?.gravity_source ?? "none"] ?? String(info?.gravity_source);
  byId("epoch").textContent = info === null ? "–" : String(info.epoch);
  byId("area").textContent = areaM2 === 0 ? "–" : `${areaM2.toFixed(1)} ${isMetric ? "m²" : "units²"}`;
  byId("notMetric").hidden = isMetric || waiting;
}

/** Poses tell the scale with every frame; the scene's own word is as old as the snapshot. */
function newestScale(views: readonly CameraView[]): string | null {
  const known = views.filter(({ pose }) => pose !== null).sort((a, b) => (a.captureNs < b.captureNs ? 1 : -1));
  return known[0]?.pose?.scaleSource ?? null;
}
