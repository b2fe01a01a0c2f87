/** The JSON texts on the DataChannel between a phone and the server. Times are Unix ms of the side that names them. */

import type { Triple } from "./motion.js";

export type PhoneMessage =
  | { t: "ping"; t0: number }
  | { t: "offset"; offset_ms: number; rtt_ms: number }
  | { t: "capture"; rtp: number; capture_ms: number }
  | { t: "motion"; up: Triple; rate: Triple | null; at_ms: number }
  | { t: "info"; label: string; width: number; height: number; screen_angle: number };

export interface PoseMessage {
  readonly t: "pose";
  readonly captureNs: bigint;
  /** The tracker's word: `starting`, `tracked` or `lost`. */
  readonly state: string;
  /** False while this phone has not met the shared map: the pose then is in coordinates of its own. */
  readonly isAligned: boolean;
  readonly worldFromCamera: { readonly t: Triple; readonly qWxyz: readonly [number, number, number, number] } | null;
  readonly seenShare: number;
  readonly scaleSource: string;
  readonly points: number;
}

type Placement = NonNullable<PoseMessage["worldFromCamera"]>;

/** Where frames were that had been answered without a pose, oldest first, in the frame of the first pose after them. */
export interface LateMessage {
  readonly t: "late";
  readonly isAligned: boolean;
  readonly poses: readonly { readonly captureNs: bigint; readonly worldFromCamera: Placement }[];
}

export type PhoneAnswer =
  | PoseMessage
  | LateMessage
  | { readonly t: "pong"; readonly t0: number; readonly t1: number; readonly t2: number }
  | { readonly t: "notice"; readonly level: string; readonly text: string };

/** A message of the server, or null for one this page does not know or cannot read. */
export function readAnswer(text: string): PhoneAnswer | null {
  let message: unknown;
  try {
    message = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof message !== "object" || message === null) return null;
  const fields = message as Readonly<Record<string, unknown>>;
  switch (fields.t) {
    case "pong": {
      const { t0, t1, t2 } = fields;
      if (typeof t0 !== "number" || typeof t1 !== "number" || typeof t2 !== "number") return null;
      return { t: "pong", t0, t1, t2 };
    }
    case "notice":
      return { t: "notice", level: String(fields.level ?? "info"), text: String(fields.text ?? "") };
    case "pose":
      return readPose(fields);
    case "late":
      return readLate(fields);
    default:
      return null;
  }
}

function readPose(fields: Readonly<Record<string, unknown>>): PoseMessage | null {
  const captureNs = String(fields.capture_ns);
  if (!/^\d+$/.test(captureNs)) return null;
  return {
    t: "pose",
    captureNs: BigInt(captureNs),
    state: String(fields.state ?? ""),
    isAligned: fields.is_aligned !== false,
    worldFromCamera: readPlacement(fields.world_from_camera),
    seenShare: typeof fields.seen_share === "number" ? Math.min(Math.max(fields.seen_share, 0), 1) : 0,
    scaleSource: String(fields.scale_source ?? "none"),
    points: typeof fields.points === "number" ? fields.points : 0,
  };
}

function readLate(fields: Readonly<Record<string, unknown>>): LateMessage | null {
  if (!Array.isArray(fields.poses)) return null;
  const poses = fields.poses.map((pose: Readonly<Record<string, unknown>> | null) => ({
    captureNs: String(pose?.capture_ns),
    worldFromCamera: readPlacement(pose?.world_from_camera),
  }));
  return {
    t: "late",
    isAligned: fields.is_aligned !== false,
    poses: poses.flatMap(({ captureNs, worldFromCamera }) =>
      worldFromCamera === null || !/^\d+$/.test(captureNs) ? [] : [{ captureNs: BigInt(captureNs), worldFromCamera }],
    ),
  };
}

function readPlacement(value: unknown): PoseMessage["worldFromCamera"] {
  if (typeof value !== "object" || value === null || !("t" in value) || !("q_wxyz" in value)) return null;
  const { t, q_wxyz: q } = value;
  const areNumbers = (list: unknown, length: number): list is number[] =>
    Array.isArray(list) && list.length === length && list.every((n) => typeof n === "number");
  if (!areNumbers(t, 3) || !areNumbers(q, 4)) return null;
  return { t: t as unknown as Triple, qWxyz: q as unknown as [number, number, number, number] };
}
