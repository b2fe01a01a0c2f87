/** Where in a live map a single picture was taken: how one asks, and what comes back. */

import { type QuaternionWxyz, Reader, type Vector3 } from "./protocol.js";

/** Intrinsics in pixels of the picture, pixel centres at +0.5; what is left out: square pixels, the middle. */
export interface Lens {
  readonly fx: number;
  readonly fy?: number;
  readonly cx?: number;
  readonly cy?: number;
  readonly k1?: number;
}

export interface LocateAnswer {
  readonly found: boolean;
  /** `nothing_mapped`, `too_plain`, `not_recognised` or null. */
  readonly reason: string | null;
  /** Of the coordinates. */
  readonly epoch: number;
  /** `none`: lengths are not metres. */
  readonly scaleSource: string;
  /** OpenCV camera axes; null when it was not found. */
  readonly worldFromCamera: { readonly t: Vector3; readonly qWxyz: QuaternionWxyz } | null;
  /** Points of the map that the picture shows where they should be. */
  readonly numInliers: number;
  /** Share of the points it should show that it does, 0..1. */
  readonly confidence: number;
  /** The focal length it was located with: found out where no lens was given, or where `lensRefuted`. */
  readonly focalPx: number | null;
  /** The focal length that was given cannot be right. */
  readonly lensRefuted: boolean;
  /** How long ago the newest of the places that it was recognised by was filmed. */
  readonly ageS: number | null;
}

export function readLocateAnswer(fields: Readonly<Record<string, unknown>>): LocateAnswer {
  const r = new Reader(fields);
  const maybe = (name: string): number | null => (typeof r.value(name) === "number" ? r.number(name) : null);
  const placed = r.value("world_from_camera");
  return {
    found: r.value("found") === true,
    reason: typeof r.value("reason") === "string" ? r.string("reason") : null,
    epoch: r.number("epoch"),
    scaleSource: r.string("scale_source"),
    worldFromCamera: placed === null || placed === undefined ? null : readPlacement(placed),
    numInliers: r.number("num_inliers"),
    confidence: r.number("confidence"),
    focalPx: maybe("focal_px"),
    lensRefuted: r.value("lens_refuted") === true,
    ageS: maybe("age_s"),
  };
}

function readPlacement(placed: unknown): NonNullable<LocateAnswer["worldFromCamera"]> {
  const r = new Reader(placed as Readonly<Record<string, unknown>>);
  const [x = 0, y = 0, z = 0] = r.numbers("t", 3);
  const [w = 1, i = 0, j = 0, k = 0] = r.numbers("q_wxyz", 4);
  return { t: [x, y, z], qWxyz: [w, i, j, k] };
}
