/** What the page needs of a slot, as `GET /v1/slots/{slot}` tells it. */

import type { Ref } from "../../sdk/asset-slot.js";
import { Reader } from "../../sdk/protocol.js";
import type { Similarity } from "../../sdk/transform.js";

export interface SlotView {
  readonly slot: string;
  readonly scene: string | null;
  /** Counts the changes. */
  readonly rev: number;
  readonly current: Ref | null;
  /** What it can go back to, newest first. */
  readonly kept: readonly Ref[];
  readonly placement: Similarity | null;
}

type Fields = Readonly<Record<string, unknown>>;

/** @throws ProtocolError when it is no slot */
export function readSlot(answer: unknown): SlotView {
  const r = new Reader(answer as Fields);
  const [current, placement, scene] = [r.value("current"), r.value("placement"), r.value("scene")];
  return {
    slot: r.string("slot"),
    scene: typeof scene === "string" ? scene : null,
    rev: r.number("rev"),
    current: current === null ? null : readRef(current),
    kept: r.list("kept").map(readRef),
    placement: placement === null ? null : readPlacement(placement as Fields),
  };
}

function readRef(fields: unknown): Ref {
  const r = new Reader(fields as Fields);
  return { asset: r.string("asset"), version: r.number("version") };
}

function readPlacement(fields: Fields): Similarity {
  const r = new Reader(fields);
  const [x = 0, y = 0, z = 0] = r.numbers("position_m", 3);
  const [w = 1, i = 0, j = 0, k = 0] = r.numbers("quat_wxyz", 4);
  return { scale: r.number("scale"), quatWxyz: [w, i, j, k], translation: [x, y, z] };
}
