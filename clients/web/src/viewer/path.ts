/** Two clicks on the floor, one walkable path from the server. */

import * as THREE from "three";
import { Line2 } from "three/examples/jsm/lines/Line2.js";
import { LineGeometry } from "three/examples/jsm/lines/LineGeometry.js";
import { LineMaterial } from "three/examples/jsm/lines/LineMaterial.js";
import { type Api, ApiError } from "../page/api.js";
import type { Stage } from "./stage.js";

const LIFT_M = 0.06;
const DRAG_PX = 5;

export interface FoundPath {
  readonly points: readonly (readonly [number, number, number])[];
  readonly partial: boolean;
  readonly lengthM: number;
}

export class PathTool {
  private readonly group = new THREE.Group();
  private readonly line: Line2;
  private start: THREE.Vector3 | null = null;
  private enabled = false;
  private pressedAt: [number, number] | null = null;

  constructor(
    private readonly stage: Stage,
    canvas: HTMLCanvasElement,
    private readonly floors: () => THREE.Object3D[],
    private readonly ask: (from: THREE.Vector3, to: THREE.Vector3, agent: string) => Promise<FoundPath>,
    private readonly say: (text: string) => void,
  ) {
    this.line = new Line2(
      new LineGeometry(),
      new LineMaterial({ color: 0xffd166, linewidth: 5, worldUnits: false, depthTest: false, transparent: true }),
    );
    this.line.renderOrder = 5;
    stage.scene.add(this.group);
    canvas.addEventListener("pointerdown", ({ clientX, clientY }) => (this.pressedAt = [clientX, clientY]));
    canvas.addEventListener("pointerup", ({ clientX, clientY }) => {
      const [x, y] = this.pressedAt ?? [Infinity, Infinity];
      if (this.enabled && Math.hypot(clientX - x, clientY - y) < DRAG_PX) void this.click(clientX, clientY);
    });
  }

  setEnabled(enabled: boolean): void {
    this.enabled = enabled;
    this.start = null;
    this.erase();
    this.say(enabled ? "Click where the path starts, on the green floor." : "");
  }

  private async click(clientX: number, clientY: number): Promise<void> {
    const hit = this.stage.pick(clientX, clientY, this.floors());
    if (hit === null) return this.say("That is not walkable. Click on the green floor.");
    if (this.start === null) {
      this.erase();
      this.start = hit.point;
      this.mark(hit.point);
      return this.say("Now click where it ends.");
    }
    const start = this.start;
    this.start = null;
    this.mark(hit.point);
    this.say("Finding a way …");
    try {
      const path = await this.ask(start, hit.point, String(hit.object.userData.agent ?? ""));
      this.draw(path);
      this.say(describe(path));
    } catch (error) {
      this.say(error instanceof ApiError ? `No path: ${error.message}` : "No path: the server is out of reach.");
    }
  }

  private draw({ points }: FoundPath): void {
    if (points.length < 2) return;
    this.line.geometry.dispose();
    this.line.geometry = new LineGeometry();
    this.line.geometry.setPositions(points.flatMap(([x, y, z]) => [x, y + LIFT_M, z]));
    this.group.add(this.line);
    this.stage.invalidate();
  }

  private mark(point: THREE.Vector3): void {
    const ring = new THREE.Mesh(
      new THREE.RingGeometry(0.07, 0.12, 32).rotateX(-Math.PI / 2),
      new THREE.MeshBasicMaterial({ color: 0xffd166, depthTest: false, transparent: true, side: THREE.DoubleSide }),
    );
    ring.position.copy(point).y += 0.03;
    ring.renderOrder = 5;
    this.group.add(ring);
    this.stage.invalidate();
  }

  private erase(): void {
    this.group.clear();
    this.stage.invalidate();
  }
}

export function requestPath(api: Api, scene: string): (a: THREE.Vector3, b: THREE.Vector3, agent: string) => Promise<FoundPath> {
  return (from, to, agent) => {
    const query = new URLSearchParams({ from: from.toArray().join(), to: to.toArray().join() });
    if (agent) query.set("agent", agent);
    return api.json(`v1/scenes/${encodeURIComponent(scene)}/path?${query}`, readPath);
  };
}

function readPath(answer: unknown): FoundPath {
  const { points_m: points, is_partial: partial, length_m: lengthM } = answer as Readonly<Record<string, unknown>>;
  if (!Array.isArray(points)) throw new ApiError(502, "the server's answer holds no points");
  return { points, partial: partial === true, lengthM: typeof lengthM === "number" ? lengthM : 0 };
}

function describe({ points, partial, lengthM }: FoundPath): string {
  if (points.length < 2) return "No way between these two points is known yet.";
  const length = `${lengthM.toFixed(1)} m in ${points.length - 1} legs`;
  return partial ? `${length}, but it stops short: the floor in between is not mapped yet.` : `${length}. Click for another.`;
}
