/**
 * How to walk among a few others: reciprocal velocity obstacles (van den Berg, Lin & Manocha 2008) by trying some
 * velocities. Each takes half of a dodge upon itself, all of it before somebody who stands. Pure; seen from above.
 */

/** x and z. */
export type Vector2 = readonly [number, number];

export interface Body {
  readonly place: Vector2;
  /** Metres per second; zero = it stands and will not dodge. */
  readonly velocity: Vector2;
  readonly radiusM: number;
}

/** Nobody farther away matters. */
const SIGHT_M = 3;
const HORIZON_S = 2;
const DREAD = 4;
/** When both may pass on either side, both keep to their right. */
const LEFT_DISLIKE = 0.06;
/** Rather around than waiting. */
const WAIT_DISLIKE = 0.6;
const TURNS_RAD = [0, 0.35, 0.7, 1.05, 1.4, 1.8].flatMap((turn) => (turn === 0 ? [turn] : [turn, -turn]));
const PACES = [1, 0.6, 0.3];

/**
 * The velocity nearest to the wanted one that keeps out of everybody's way; the wanted one itself (the same object) when
 * nobody is in it.
 *
 * @param mayGo whether ground lies that way
 */
export function steer(
  self: Body,
  wanted: Vector2,
  others: readonly Body[],
  mayGo: (velocity: Vector2) => boolean,
): Vector2 {
  const near = others.filter(({ place }) => distance(self.place, place) < SIGHT_M);
  const speed = Math.hypot(...wanted);
  if (speed === 0 || near.every((other) => untilContactS(self, wanted, other) >= HORIZON_S)) return wanted;
  const options = PACES.flatMap((pace) => TURNS_RAD.map((turn) => ({ velocity: turned(wanted, turn, pace), turn })));
  const judged = options.map(({ velocity, turn }) => ({ velocity, cost: cost(self, wanted, velocity, turn, near) }));
  judged.push({ velocity: [0, 0], cost: cost(self, wanted, [0, 0], 0, near) });
  judged.sort((a, b) => a.cost - b.cost);
  return judged.find(({ velocity }) => mayGo(velocity))?.velocity ?? [0, 0];
}

function cost(self: Body, wanted: Vector2, velocity: Vector2, turn: number, near: readonly Body[]): number {
  const soonestS = Math.min(...near.map((other) => untilContactS(self, velocity, other)));
  const fear = DREAD * Math.max(0, 1 - soonestS / HORIZON_S);
  const full = Math.hypot(...wanted);
  const waiting = WAIT_DISLIKE * (1 - Math.hypot(...velocity) / full);
  return distance(velocity, wanted) / full + waiting + fear + (turn < 0 ? LEFT_DISLIKE : 0);
}

/** Seconds until two discs touch if one takes up a velocity and the other does its half; Infinity = never. */
function untilContactS(self: Body, velocity: Vector2, other: Body): number {
  const stands = Math.hypot(...other.velocity) === 0;
  const own: Vector2 = stands
    ? velocity
    : [2 * velocity[0] - self.velocity[0], 2 * velocity[1] - self.velocity[1]];
  const [vx, vz] = [own[0] - other.velocity[0], own[1] - other.velocity[1]];
  const [px, pz] = [other.place[0] - self.place[0], other.place[1] - self.place[1]];
  const closing = px * vx + pz * vz;
  const reach = self.radiusM + other.radiusM;
  const gap = px * px + pz * pz - reach * reach;
  if (closing <= 0) return Infinity; // also for those who touch and part
  if (gap <= 0) return 0;
  const speedSquared = vx * vx + vz * vz;
  const root = closing * closing - speedSquared * gap;
  return root < 0 ? Infinity : (closing - Math.sqrt(root)) / speedSquared;
}

/** Where to stop when others stand at a goal or are on their way there: the nearest free place around it. */
export function placeBeside(
  goal: Vector2,
  taken: readonly Body[],
  radiusM: number,
  isGround: (place: Vector2) => boolean,
): Vector2 {
  const isFree = (place: Vector2): boolean =>
    taken.every((other) => distance(place, other.place) >= (radiusM + other.radiusM) * 0.999);
  if (isFree(goal)) return goal;
  for (let ring = 1; ring <= 4; ring++) {
    for (let i = 0; i < 8 * ring; i++) {
      const angle = (2 * Math.PI * i) / (8 * ring);
      const far = (2 * radiusM + 0.1) * ring;
      const place: Vector2 = [goal[0] + far * Math.cos(angle), goal[1] + far * Math.sin(angle)];
      if (isFree(place) && isGround(place)) return place;
    }
  }
  return goal;
}

/** Turned to the right by an angle (seen from above, x to the right, z towards the viewer), and slowed. */
function turned([x, z]: Vector2, angleRad: number, pace: number): Vector2 {
  const [cos, sin] = [pace * Math.cos(angleRad), pace * Math.sin(angleRad)];
  return [x * cos - z * sin, x * sin + z * cos];
}

function distance(a: Vector2, b: Vector2): number {
  return Math.hypot(a[0] - b[0], a[1] - b[1]);
}
