/** Degrees clockwise from the map's -z axis, seen from above, of a direction in world axes. */
export function headingDeg([x, , z]: readonly [number, number, number]): number {
  return (Math.round((Math.atan2(x, -z) * 180) / Math.PI) + 360) % 360;
}
