/** What an avatar looks like: a small figure that walks, its shadow, the way before it and the place it is going to. */

import * as THREE from "three";
import { Line2 } from "three/examples/jsm/lines/Line2.js";
import { LineGeometry } from "three/examples/jsm/lines/LineGeometry.js";
import { LineMaterial } from "three/examples/jsm/lines/LineMaterial.js";
import type { Vector3 } from "../../sdk/protocol.js";

/** Everything of an avatar is drawn after the depth of what hides it (`layers/veil.ts`). */
export const AVATAR_ORDER = 20;

const LIFT_M = 0.05;
const SWING_RAD = 0.55;
const BOB_SHARE = 0.016;
/** Built for a height of 1; scaled to the agent's. */
const HIP = 0.47;
const SHOULDER = 0.77;
const SKIN = 0xf2d3b8;
/** Half width and height of the trunk, from the hips up. */
const TORSO = [
  [0, 0],
  [0.1, 0.005],
  [0.125, 0.05],
  [0.13, 0.16],
  [0.15, 0.28],
  [0.148, 0.33],
  [0.11, 0.375],
  [0.05, 0.39],
  [0, 0.39],
] as const;

export class Figure {
  readonly group = new THREE.Group();
  private readonly body = new THREE.Group();
  private readonly limbs: readonly [THREE.Object3D, THREE.Object3D, THREE.Object3D, THREE.Object3D];
  private readonly shadow: THREE.Mesh;
  private readonly halo: THREE.Mesh;
  private readonly goal: THREE.Mesh;
  private readonly line: Line2;
  private swing = 0;

  constructor(
    readonly color: number,
    private readonly heightM: number,
    radiusM: number,
  ) {
    const shirt = lambert(color);
    const dark = lambert(new THREE.Color(color).multiplyScalar(0.42).getHex());
    const skin = lambert(SKIN);
    const [legLeft, legRight] = [limb(0.062, HIP, dark, -0.075, HIP), limb(0.062, HIP, dark, 0.075, HIP)];
    const [armLeft, armRight] = [limb(0.042, 0.36, shirt, -0.158, SHOULDER), limb(0.042, 0.36, shirt, 0.158, SHOULDER)];
    this.limbs = [legLeft, legRight, armRight, armLeft]; // an arm swings with the other side's leg
    this.body.add(...this.limbs, torso(shirt), head(skin, dark));
    this.body.scale.setScalar(heightM);
    this.shadow = disc(Math.max(radiusM * 1.5, heightM * 0.16), 0x000000, 0.5, 0);
    this.halo = ring(radiusM * 1.25, radiusM * 1.5, color);
    this.goal = ring(radiusM * 0.65, radiusM * 0.95, color);
    this.goal.visible = false;
    this.line = new Line2(new LineGeometry(), lineMaterial(color));
    this.line.visible = false;
    this.line.renderOrder = AVATAR_ORDER + 1;
    this.line.frustumCulled = false;
    this.group.add(this.body, this.shadow, this.halo, this.goal, this.line);
    this.body.traverse((part) => (part.userData.figure = this));
  }

  /** What a click can hit. */
  get target(): THREE.Object3D {
    return this.body;
  }

  /** Standing still, feet together. */
  get isAtRest(): boolean {
    return this.swing < 0.01;
  }

  /** @param pace 0 standing to 1 at full speed */
  place([x, y, z]: Vector3, headingRad: number, steps: number, pace: number): void {
    this.swing += (pace - this.swing) * 0.2;
    const phase = Math.sin(steps * Math.PI);
    const bob = Math.abs(Math.cos(steps * Math.PI)) * BOB_SHARE * this.heightM * this.swing;
    this.body.position.set(x, y + bob, z);
    this.body.rotation.set(0.05 * this.swing, headingRad, 0, "YXZ");
    const [legLeft, legRight, armRight, armLeft] = this.limbs;
    legLeft.rotation.x = armRight.rotation.x = phase * SWING_RAD * this.swing;
    legRight.rotation.x = armLeft.rotation.x = -phase * SWING_RAD * this.swing;
    this.shadow.position.set(x, y + LIFT_M * 0.7, z);
    this.halo.position.set(x, y + LIFT_M, z);
  }

  /** The way that is left; fewer than two points show none. */
  showWay(points: readonly Vector3[]): void {
    this.line.visible = points.length > 1;
    if (points.length < 2) return;
    this.line.geometry.dispose();
    this.line.geometry = new LineGeometry();
    this.line.geometry.setPositions(points.flatMap(([x, y, z]) => [x, y + LIFT_M, z]));
    this.line.computeLineDistances();
  }

  showGoal(place: Vector3 | null, seconds: number): void {
    this.goal.visible = place !== null;
    if (place === null) return;
    this.goal.position.set(place[0], place[1] + LIFT_M, place[2]);
    this.goal.scale.setScalar(1 + 0.12 * Math.sin(seconds * 4));
  }

  showChosen(isChosen: boolean): void {
    this.halo.visible = isChosen;
  }

  dispose(): void {
    this.group.removeFromParent();
    this.group.traverse((part) => {
      if (!(part instanceof THREE.Mesh)) return;
      (part.geometry as THREE.BufferGeometry).dispose();
      (part.material as THREE.Material).dispose();
    });
  }
}

function lambert(color: number): THREE.MeshLambertMaterial {
  return new THREE.MeshLambertMaterial({ color, transparent: true });
}

function drawn<T extends THREE.Object3D>(object: T, order = AVATAR_ORDER + 2): T {
  object.renderOrder = order;
  return object;
}

/** A rounded rod that hangs from a joint at (x, y). */
function limb(radius: number, length: number, material: THREE.Material, x: number, y: number): THREE.Object3D {
  const joint = new THREE.Group();
  const rod = drawn(new THREE.Mesh(new THREE.CapsuleGeometry(radius, length - 2 * radius, 6, 14), material));
  rod.position.y = -length / 2;
  joint.position.set(x, y, 0);
  joint.add(rod);
  return joint;
}

/** Shoulders wider than hips, flat from the side. */
function torso(material: THREE.Material): THREE.Object3D {
  const outline = new THREE.SplineCurve(TORSO.map(([x, y]) => new THREE.Vector2(x, y))).getPoints(24);
  for (const point of outline) point.x = Math.max(0, point.x); // a spline overshoots
  const trunk = drawn(new THREE.Mesh(new THREE.LatheGeometry(outline, 20), material));
  trunk.position.y = 0.42;
  trunk.scale.z = 0.72;
  return trunk;
}

function head(skin: THREE.Material, hair: THREE.Material): THREE.Object3D {
  const group = new THREE.Group();
  const skull = drawn(new THREE.Mesh(new THREE.SphereGeometry(0.088, 24, 18), skin));
  skull.scale.y = 1.15;
  const cap = drawn(new THREE.Mesh(new THREE.SphereGeometry(0.094, 24, 12, 0, 2 * Math.PI, 0, Math.PI * 0.52), hair));
  cap.scale.y = 1.15;
  cap.rotation.x = -0.42; // low at the neck, high at the brow: it tells where the face is
  group.add(skull, cap);
  group.position.y = 0.9;
  return group;
}

function ring(inner: number, outer: number, color: number): THREE.Mesh {
  const flat = { transparent: true, side: THREE.DoubleSide, depthWrite: false };
  const material = new THREE.MeshBasicMaterial({ color, opacity: 0.9, ...flat });
  return drawn(new THREE.Mesh(new THREE.RingGeometry(inner, outer, 40).rotateX(-Math.PI / 2), material), AVATAR_ORDER);
}

/** A disc that fades from its middle to its rim. */
function disc(radius: number, color: number, middle: number, rim: number): THREE.Mesh {
  const geometry = new THREE.CircleGeometry(radius, 32).rotateX(-Math.PI / 2);
  const count = geometry.getAttribute("position").count;
  const { r, g, b } = new THREE.Color(color);
  const rgba = Float32Array.from({ length: 4 * count }, (_, i) => [r, g, b, i < 4 ? middle : rim][i % 4] ?? 0);
  geometry.setAttribute("color", new THREE.BufferAttribute(rgba, 4));
  const material = new THREE.MeshBasicMaterial({ vertexColors: true, transparent: true, depthWrite: false });
  return drawn(new THREE.Mesh(geometry, material), AVATAR_ORDER);
}

function lineMaterial(color: number): LineMaterial {
  const dashes = { dashed: true, dashSize: 0.14, gapSize: 0.09 };
  return new LineMaterial({ color, linewidth: 3.5, transparent: true, opacity: 0.85, ...dashes });
}
