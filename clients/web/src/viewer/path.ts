/** Two clicks on the floor, one walkable path from the server. */

import * as THREE from "three";
import { Line2 } from "three/examples/jsm/lines/Line2.js";
import { LineGeometry } from "three/examples/jsm/lines/LineGeometry.js";
import { LineMaterial } from "three/examples/jsm/lines/LineMaterial.js";
import { ApiError } from "../sdk/api.js";
import type { PathAnswer } from "../sdk/queries.js";
import { onClick } from "./clicks.js";
import type { Stage } from "./stage.js";

const LIFT_M = 0.06;

export class PathTool {
  private readonly group = new THREE.Group();
  private readonly line: Line2;
  private start: THREE.Vector3 | null = null;
  private enabled = false;

  constructor(
    private readonly stage: Stage,
    canvas: HTMLCanvasElement,
    private readonly floors: () => THREE.Object3D[],
    private readonly ask: (from: THREE.Vector3, to: THREE.Vector3, agent: string) => Promise<PathAnswer>,
    private readonly say: (text: string) => void,
  ) {
    this.line = new Line2(
      new LineGeometry(),
      new LineMaterial({ color: 0xffd166, linewidth: 5, worldUnits: false, depthTest: false, transparent: true }),
    );
    this.line.renderOrder = 5;
    stage.scene.add(this.group);
    onClick(canvas, (x, y) => {
      if (this.enabled) void this.click(x, y);
    });
  }

  setEnabled(enabled: boolean): void {
    this.enabled = enabled;
    this.start = null;
    this.erase();
    if (enabled) this.say("Click where the path starts, on the green floor.");
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

  private draw({ points }: PathAnswer): void {
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

function describe({ points, partial, lengthM }: PathAnswer): string {
  if (points.length < 2) return "No way between these two points is known yet.";
  const length = `${lengthM.toFixed(1)} m in ${points.length - 1} legs`;
  return partial ? `${length}, but it stops short: the floor in between is not mapped yet.` : `${length}. Click for another.`;
}
