/** The phones: frusta that carry the live thumbnail, and the path each has walked. */

import * as THREE from "three";
import { type Pose, readPose, readThumbnail } from "../../sdk/layers.js";
import type { Entry } from "../../sdk/map.js";
import type { Eye } from "../stage.js";
import { matrixOf } from "./keyed.js";
import { placementMatrix } from "./points.js";

const FRUSTUM_DEPTH_M = 0.32;
/** Behind everything there is, within the view's far plane. */
const BACKDROP_DEPTH_M = 90;
const TRAIL_POINTS = 1500;
const SCREEN_OPACITY = 0.9;
const TRAIL_STEP_M = 0.02;
/** fx, fy, cx, cy, width, height to draw with until the real ones are known. */
const TYPICAL_PHONE = [985, 985, 640, 360, 1280, 720] as const;
const COLORS = [0x5eead4, 0xfbbf62, 0x7cb7ff, 0xf58fb5, 0xb7e36b, 0xc9a5ff];

/** OpenCV camera axes (y down, z ahead) to three's (y up, z behind): half a turn about x. */
const CV_FROM_THREE = new THREE.Quaternion(1, 0, 0, 0);

export interface CameraView {
  readonly stream: string;
  readonly color: string;
  readonly picture: HTMLCanvasElement;
  pose: Pose | null;
  captureNs: bigint;
}

interface Held extends CameraView {
  readonly group: THREE.Group;
  readonly outline: THREE.LineSegments;
  readonly screen: THREE.Mesh<THREE.PlaneGeometry, THREE.MeshBasicMaterial>;
  readonly trail: THREE.Line;
  isPlaced: boolean;
  trailLength: number;
  pictureVersion: number;
}

export class CameraLayer {
  readonly group = new THREE.Group();
  readonly trails = new THREE.Group();
  private readonly byStream = new Map<string, Held>();
  /** Outlives the phones, so that one that comes back is recognised. */
  private readonly colorByStream = new Map<string, number>();

  private lookedThrough: string | null = null;
  private isBare = false;

  constructor(private readonly redraw: () => void) {}

  get views(): readonly CameraView[] {
    return [...this.byStream.values()];
  }

  get isLookedThrough(): boolean {
    return this.lookedThrough !== null;
  }

  setPose(entry: Entry): void {
    const pose = readPose(entry.delta);
    const held = this.hold(pose.stream);
    held.captureNs = entry.delta.capture_ns;
    const previous = held.pose;
    held.pose = pose;
    if (pose.worldFromCamera === null) return; // it stays where it was last seen
    if (!held.isPlaced || previous?.intrinsics?.join() !== pose.intrinsics?.join()) shape(held, pose.intrinsics);
    held.isPlaced = true;
    this.arrange(held);
    held.group.matrix.copy(matrixOf(entry.worldFromEntry)).multiply(placementMatrix(pose.worldFromCamera));
    held.group.matrixWorldNeedsUpdate = true;
    extendTrail(held);
  }

  async setThumbnail(entry: Entry): Promise<void> {
    const { stream, jpeg } = readThumbnail(entry.delta);
    const held = this.hold(stream);
    const version = entry.delta.ver;
    const bitmap = await createImageBitmap(new Blob([jpeg], { type: "image/jpeg" }));
    if (version > held.pictureVersion) {
      held.pictureVersion = version;
      showPicture(held, bitmap);
      this.redraw();
    }
    bitmap.close();
  }

  removePose(stream: string): void {
    const held = this.byStream.get(stream);
    if (held === undefined) return;
    this.byStream.delete(stream);
    this.group.remove(held.group);
    this.trails.remove(held.trail);
    held.outline.geometry.dispose();
    held.screen.geometry.dispose();
    held.screen.material.map?.dispose();
    held.trail.geometry.dispose();
  }

  clear(): void {
    for (const stream of [...this.byStream.keys()]) this.removePose(stream);
  }

  /** The map moved: trails are drawn in the old coordinates, so they move too. */
  moveTrails(matrix: THREE.Matrix4): void {
    for (const { trail } of this.byStream.values()) trail.geometry.applyMatrix4(matrix);
  }

  /** Whoever looks through a camera must not have its own frustum before the eyes. */
  lookThrough(stream: string | null): void {
    this.lookedThrough = stream;
    for (const held of this.byStream.values()) this.arrange(held);
    this.redraw();
  }

  /** Show nothing of the cameras but the picture of the one that is looked through, as the backdrop of the view. */
  setBare(isBare: boolean): void {
    this.isBare = isBare;
    for (const held of this.byStream.values()) this.arrange(held);
    this.redraw();
  }

  /** Where this phone looks from, for a view through its lens. */
  eye(stream: string): Eye | null {
    const held = this.byStream.get(stream);
    if (!held?.pose || !held.isPlaced) return null;
    const position = new THREE.Vector3();
    const quaternion = new THREE.Quaternion();
    held.group.matrix.decompose(position, quaternion, new THREE.Vector3());
    const [, fy, , , , height] = held.pose.intrinsics ?? TYPICAL_PHONE;
    const verticalFovDeg = THREE.MathUtils.radToDeg(2 * Math.atan(height / (2 * fy)));
    return { position, quaternion: quaternion.multiply(CV_FROM_THREE), verticalFovDeg };
  }

  bounds(): THREE.Box3 {
    const box = new THREE.Box3();
    for (const { group, isPlaced } of this.byStream.values()) {
      if (isPlaced) box.expandByPoint(new THREE.Vector3().setFromMatrixPosition(group.matrix));
    }
    return box;
  }

  private arrange(held: Held): void {
    const isLookedThrough = held.stream === this.lookedThrough;
    held.group.visible = held.isPlaced && isLookedThrough === this.isBare;
    held.trail.visible = !isLookedThrough && !this.isBare;
    held.outline.visible = !this.isBare;
    hang(held, this.isBare ? BACKDROP_DEPTH_M : FRUSTUM_DEPTH_M, this.isBare);
  }

  private hold(stream: string): Held {
    const known = this.byStream.get(stream);
    if (known !== undefined) return known;
    const color = this.colorByStream.get(stream) ?? COLORS[this.colorByStream.size % COLORS.length] ?? 0xffffff;
    this.colorByStream.set(stream, color);
    const held = makeHeld(stream, color);
    this.byStream.set(stream, held);
    this.group.add(held.group);
    this.trails.add(held.trail);
    return held;
  }
}

function makeHeld(stream: string, color: number): Held {
  const group = new THREE.Group();
  group.matrixAutoUpdate = false;
  group.visible = false; // until its pose is known
  const outline = new THREE.LineSegments(new THREE.BufferGeometry(), new THREE.LineBasicMaterial({ color }));
  const dim = new THREE.MeshBasicMaterial({
    color: 0x26313d,
    transparent: true,
    opacity: SCREEN_OPACITY,
    side: THREE.DoubleSide,
    fog: false,
  });
  const screen = new THREE.Mesh(new THREE.PlaneGeometry(1, 1), dim);
  group.add(outline, screen);
  const path = new THREE.BufferGeometry();
  path.setAttribute("position", new THREE.BufferAttribute(new Float32Array(3 * TRAIL_POINTS), 3));
  path.setDrawRange(0, 0);
  const trail = new THREE.Line(path, new THREE.LineBasicMaterial({ color, transparent: true, opacity: 0.75 }));
  trail.frustumCulled = false; // its bounds grow all the time
  return {
    stream,
    color: `#${color.toString(16).padStart(6, "0")}`,
    picture: document.createElement("canvas"),
    pose: null,
    captureNs: 0n,
    group,
    outline,
    screen,
    trail,
    isPlaced: false,
    trailLength: 0,
    pictureVersion: -1,
  };
}

/** Size the frustum to the camera's field of view. */
function shape({ outline }: Held, intrinsics: Pose["intrinsics"]): void {
  const [fx, fy, cx, cy, width, height] = intrinsics ?? TYPICAL_PHONE;
  const z = FRUSTUM_DEPTH_M;
  const [left, right, top, bottom] = [(-cx / fx) * z, ((width - cx) / fx) * z, (-cy / fy) * z, ((height - cy) / fy) * z];
  const corners = [[left, top], [right, top], [right, bottom], [left, bottom]] as const;
  const lines = corners.flatMap(([x, y], i) => {
    const [nx, ny] = corners[(i + 1) % 4] ?? [x, y];
    return [0, 0, 0, x, y, z, x, y, z, nx, ny, z];
  });
  outline.geometry.dispose();
  outline.geometry = new THREE.BufferGeometry();
  outline.geometry.setAttribute("position", new THREE.Float32BufferAttribute(lines, 3));
}

/** Put the picture across the frustum at some depth; as a backdrop it is drawn before everything else. */
function hang({ screen, pose }: Held, depthM: number, isBackdrop: boolean): void {
  const [fx, fy, cx, cy, width, height] = pose?.intrinsics ?? TYPICAL_PHONE;
  screen.scale.set((width / fx) * depthM, (height / fy) * depthM, 1);
  screen.position.set(((width / 2 - cx) / fx) * depthM, ((height / 2 - cy) / fy) * depthM, depthM);
  screen.rotation.set(Math.PI, 0, 0); // pictures have y down, like the camera
  screen.renderOrder = isBackdrop ? -10 : 0;
  screen.material.depthTest = screen.material.depthWrite = !isBackdrop;
  screen.material.opacity = isBackdrop ? 1 : SCREEN_OPACITY;
}

function showPicture({ picture, screen }: Held, bitmap: ImageBitmap): void {
  const resized = picture.width !== bitmap.width || picture.height !== bitmap.height;
  if (resized) [picture.width, picture.height] = [bitmap.width, bitmap.height];
  picture.getContext("2d")?.drawImage(bitmap, 0, 0);
  const { material } = screen;
  if (material.map === null || resized) {
    material.map?.dispose();
    material.map = new THREE.CanvasTexture(picture);
    material.color.set(0xffffff);
    material.needsUpdate = true;
  }
  material.map.needsUpdate = true;
}

function extendTrail(held: Held): void {
  const here = new THREE.Vector3().setFromMatrixPosition(held.group.matrix);
  const positions = held.trail.geometry.getAttribute("position") as THREE.BufferAttribute;
  if (held.trailLength > 0) {
    const last = new THREE.Vector3().fromBufferAttribute(positions, held.trailLength - 1);
    if (last.distanceTo(here) < TRAIL_STEP_M) return;
  }
  if (held.trailLength === TRAIL_POINTS) {
    const half = TRAIL_POINTS >> 1; // forget the older half
    (positions.array as Float32Array).copyWithin(0, 3 * half);
    held.trailLength -= half;
  }
  positions.setXYZ(held.trailLength++, here.x, here.y, here.z);
  positions.needsUpdate = true;
  held.trail.geometry.setDrawRange(0, held.trailLength);
}
