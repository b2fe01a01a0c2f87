/** Similarities `new = scale * R * old + t`, as the wire's `xform` messages carry them. */

import type { QuaternionWxyz, Vector3 } from "./protocol.js";

export interface Similarity {
  readonly scale: number;
  readonly quatWxyz: QuaternionWxyz;
  readonly translation: Vector3;
}

export const IDENTITY: Similarity = { scale: 1, quatWxyz: [1, 0, 0, 0], translation: [0, 0, 0] };

export function rotate([w, x, y, z]: QuaternionWxyz, [a, b, c]: Vector3): Vector3 {
  const [tx, ty, tz] = [2 * (y * c - z * b), 2 * (z * a - x * c), 2 * (x * b - y * a)];
  return [a + w * tx + (y * tz - z * ty), b + w * ty + (z * tx - x * tz), c + w * tz + (x * ty - y * tx)];
}

export function apply(map: Similarity, point: Vector3): Vector3 {
  const [x, y, z] = rotate(map.quatWxyz, point);
  const [tx, ty, tz] = map.translation;
  return [map.scale * x + tx, map.scale * y + ty, map.scale * z + tz];
}

/** `second` after `first`. */
export function compose(second: Similarity, first: Similarity): Similarity {
  const [aw, ax, ay, az] = second.quatWxyz;
  const [bw, bx, by, bz] = first.quatWxyz;
  return {
    scale: second.scale * first.scale,
    quatWxyz: [
      aw * bw - ax * bx - ay * by - az * bz,
      aw * bx + ax * bw + ay * bz - az * by,
      aw * by - ax * bz + ay * bw + az * bx,
      aw * bz + ax * by - ay * bx + az * bw,
    ],
    translation: apply(second, first.translation),
  };
}
