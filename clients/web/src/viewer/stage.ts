/**
 * The 3D stage: renderer, view, orbit and WASD. Draws only when something changed. World axes are the server's (right
 * handed, +Y up, metres), which are three's own.
 */

import * as THREE from "three";
import { OrbitControls } from "three/examples/jsm/controls/OrbitControls.js";
import { DrawPace } from "./pace.js";

THREE.ColorManagement.enabled = false; // before any colour is made: they are shown as the cameras delivered them

const BACKGROUND = 0x0b0f14;
const FIRST_VIEW = new THREE.Vector3(0.62, 0.85, 0.75).normalize();
const WALK_SPEED_M_S = 2.5;
const GLIDE_S = 0.7;
const FOLLOW_PULL = 10;
const MIN_RADIUS_M = 1.2;
/** A sphere around a flat map is mostly air, but the panels need room too. */
const FRAME_MARGIN = 1.04;
/** Half the height of the tool bar, by which the middle of the free area lies above the middle of the canvas. */
const RAISED_PX = 32;

/** A view to hold: the eye of a camera in three's axes (looking along -Z). */
export interface Eye {
  readonly position: THREE.Vector3;
  readonly quaternion: THREE.Quaternion;
  readonly verticalFovDeg: number;
}

/** Where the free view stands and what it turns around, to come back to. */
export interface View {
  readonly position: THREE.Vector3;
  readonly target: THREE.Vector3;
}

interface Glide {
  readonly fromPosition: THREE.Vector3;
  readonly fromTarget: THREE.Vector3;
  readonly toPosition: THREE.Vector3;
  readonly toTarget: THREE.Vector3;
  elapsedS: number;
}

export class Stage {
  readonly scene = new THREE.Scene();
  readonly camera = new THREE.PerspectiveCamera(50, 1, 0.05, 300);
  /** Called before every frame, drawn or not, with the seconds since the last. */
  onTick: (seconds: number) => void = () => undefined;
  /** Called after every drawn frame. */
  onDrawn: () => void = () => undefined;
  /** Whether much is still to come: slow frames then leave time for reading it. */
  isLoading: () => boolean = () => false;
  /** Called when the person takes the view into their own hands. */
  onTakenOver: () => void = () => undefined;

  private readonly renderer: THREE.WebGLRenderer;
  private readonly controls: OrbitControls;
  private readonly pace = new DrawPace();
  private readonly pressed = new Set<string>();
  private readonly grid = makeGrid();
  private follow: (() => Eye | null) | null = null;
  private glide: Glide | null = null;
  private needsDrawing = true;
  private isHeld = false;
  private lastMs = performance.now();

  constructor(private readonly canvas: HTMLCanvasElement) {
    this.renderer = new THREE.WebGLRenderer({ canvas, antialias: true });
    this.renderer.outputColorSpace = THREE.LinearSRGBColorSpace;
    this.renderer.setPixelRatio(Math.min(devicePixelRatio, 2));
    this.scene.background = new THREE.Color(BACKGROUND);
    this.scene.fog = new THREE.Fog(BACKGROUND, 25, 90);
    this.scene.add(new THREE.HemisphereLight(0xffffff, 0x8d97a5, 2.1), sun(), this.grid);
    this.camera.position.copy(FIRST_VIEW).multiplyScalar(7);
    this.controls = new OrbitControls(this.camera, canvas);
    this.controls.enableDamping = true;
    this.controls.dampingFactor = 0.12;
    this.controls.maxPolarAngle = Math.PI * 0.97;
    this.controls.addEventListener("start", () => (this.isHeld = true));
    this.controls.addEventListener("end", () => (this.isHeld = false));
    this.controls.addEventListener("change", () => {
      if (this.isHeld) this.takeOver(); // a click alone does not: tools get it
      this.invalidate();
    });
    addEventListener("keydown", (event) => this.onKey(event, true));
    addEventListener("keyup", (event) => this.onKey(event, false));
    addEventListener("blur", () => this.pressed.clear());
    new ResizeObserver(() => this.resize()).observe(canvas);
    this.resize();
    this.renderer.setAnimationLoop((nowMs: number) => this.tick(nowMs));
  }

  invalidate(): void {
    this.needsDrawing = true;
  }

  /** Glide to a view that shows the whole box. */
  frame(box: THREE.Box3): void {
    if (box.isEmpty() || this.follow !== null) return;
    const sphere = box.getBoundingSphere(new THREE.Sphere());
    const halfFov = Math.min(this.camera.fov, this.camera.fov * this.camera.aspect) * (Math.PI / 360);
    const distance = Math.max(sphere.radius, MIN_RADIUS_M) / Math.sin(halfFov);
    const direction = this.camera.position.clone().sub(this.controls.target);
    if (direction.lengthSq() < 1e-6) direction.copy(FIRST_VIEW);
    this.glide = {
      fromPosition: this.camera.position.clone(),
      fromTarget: this.controls.target.clone(),
      toPosition: sphere.center.clone().addScaledVector(direction.normalize(), distance * FRAME_MARGIN),
      toTarget: sphere.center.clone(),
      elapsedS: 0,
    };
    this.invalidate();
  }

  /** End a glide at once. */
  settle(): void {
    if (this.glide === null) return;
    this.glide.elapsedS = GLIDE_S;
    this.advanceGlide(0);
    this.controls.update();
  }

  /** Look through a camera until the person takes over, or `null` to stop. */
  setFollow(eye: (() => Eye | null) | null): void {
    if (this.follow !== null && eye === null) {
      this.controls.target.copy(this.ahead(2));
      this.setFov(50);
    }
    this.follow = eye;
    this.glide = null;
    this.centre();
  }

  get view(): View {
    return { position: this.camera.position.clone(), target: this.controls.target.clone() };
  }

  /** Back to a free view of before, at once. */
  restore({ position, target }: View): void {
    this.setFollow(null);
    this.camera.position.copy(position);
    this.controls.target.copy(target);
    this.controls.update();
    this.invalidate();
  }

  setFloor(y: number): void {
    this.grid.position.y = y - 0.01;
    this.invalidate();
  }

  setGrid(isShown: boolean): void {
    this.grid.visible = isShown;
    this.invalidate();
  }

  /** The first of these objects under a pixel of the page; `deep`: their parts count, too. */
  pick(clientX: number, clientY: number, objects: THREE.Object3D[], deep = false): THREE.Intersection | null {
    const { left, top, width, height } = this.canvas.getBoundingClientRect();
    const ndc = new THREE.Vector2(((clientX - left) / width) * 2 - 1, 1 - ((clientY - top) / height) * 2);
    const ray = new THREE.Raycaster();
    ray.setFromCamera(ndc, this.camera);
    return ray.intersectObjects(objects, deep)[0] ?? null;
  }

  private takeOver(): void {
    this.glide = null;
    this.onTakenOver();
  }

  private tick(nowMs: number): void {
    const seconds = Math.min((nowMs - this.lastMs) / 1000, 0.1);
    this.lastMs = nowMs;
    this.walk(seconds);
    this.onTick(seconds);
    if (this.follow !== null) this.moveToEye(seconds);
    else {
      this.advanceGlide(seconds);
      this.controls.update();
    }
    this.pace.begin(performance.now());
    if (!this.needsDrawing || !this.pace.mayDraw(performance.now(), this.isLoading())) return;
    this.needsDrawing = false;
    this.pace.drew(performance.now());
    this.renderer.render(this.scene, this.camera);
    this.onDrawn();
  }

  private moveToEye(seconds: number): void {
    const eye = this.follow?.() ?? null;
    if (eye === null) return;
    const pull = 1 - Math.exp(-FOLLOW_PULL * seconds);
    if (this.camera.position.distanceTo(eye.position) < 1e-4 && this.camera.quaternion.angleTo(eye.quaternion) < 1e-4) return;
    this.camera.position.lerp(eye.position, pull);
    this.camera.quaternion.slerp(eye.quaternion, pull);
    this.setFov(THREE.MathUtils.lerp(this.camera.fov, eye.verticalFovDeg, pull));
    this.invalidate();
  }

  private advanceGlide(seconds: number): void {
    const { glide } = this;
    if (glide === null) return;
    glide.elapsedS += seconds;
    const share = THREE.MathUtils.smoothstep(glide.elapsedS, 0, GLIDE_S);
    this.camera.position.lerpVectors(glide.fromPosition, glide.toPosition, share);
    this.controls.target.lerpVectors(glide.fromTarget, glide.toTarget, share);
    if (share >= 1) this.glide = null;
    this.invalidate();
  }

  private walk(seconds: number): void {
    const along = (plus: string, minus: string): number => +this.pressed.has(plus) - +this.pressed.has(minus);
    const [right, up, ahead] = [along("KeyD", "KeyA"), along("KeyE", "KeyQ"), along("KeyW", "KeyS")];
    if (!right && !up && !ahead) return;
    const forward = this.camera.getWorldDirection(new THREE.Vector3()).setY(0);
    if (forward.lengthSq() < 1e-6) forward.set(0, 0, -1);
    forward.normalize();
    const side = new THREE.Vector3(-forward.z, 0, forward.x);
    const step = WALK_SPEED_M_S * seconds * (this.pressed.has("ShiftLeft") || this.pressed.has("ShiftRight") ? 3 : 1);
    const move = forward.multiplyScalar(ahead).addScaledVector(side, right).add(new THREE.Vector3(0, up, 0));
    move.normalize().multiplyScalar(step);
    this.camera.position.add(move);
    this.controls.target.add(move);
    this.invalidate();
  }

  private onKey(event: KeyboardEvent, down: boolean): void {
    const typing = event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement;
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (!down) this.pressed.delete(event.code);
    else if (/^(Key[WASDQE]|Shift(Left|Right))$/.test(event.code)) {
      this.pressed.add(event.code);
      if (event.code.startsWith("Key")) this.takeOver();
    }
  }

  private ahead(distance: number): THREE.Vector3 {
    return this.camera.getWorldDirection(new THREE.Vector3()).multiplyScalar(distance).add(this.camera.position);
  }

  private setFov(degrees: number): void {
    this.camera.fov = degrees;
    this.camera.updateProjectionMatrix();
  }

  private resize(): void {
    const { clientWidth, clientHeight } = this.canvas;
    if (clientWidth === 0 || clientHeight === 0) return;
    this.renderer.setSize(clientWidth, clientHeight, false);
    this.camera.aspect = clientWidth / clientHeight;
    this.centre();
  }

  /** A map is centred in the area that the panels leave free; a view through a lens fills the canvas. */
  private centre(): void {
    const { clientWidth: w, clientHeight: h } = this.canvas;
    if (this.follow === null) this.camera.setViewOffset(w, h, 0, RAISED_PX, w, h);
    else this.camera.clearViewOffset();
    this.camera.updateProjectionMatrix();
    this.invalidate();
  }
}

function sun(): THREE.DirectionalLight {
  const light = new THREE.DirectionalLight(0xffffff, 1.0);
  light.position.set(3, 8, 5);
  return light;
}

function makeGrid(): THREE.GridHelper {
  const grid = new THREE.GridHelper(60, 60, 0x3d4d5f, 0x1f2a36);
  const material = grid.material;
  material.transparent = true;
  material.opacity = 0.75;
  material.depthWrite = false;
  return grid;
}
