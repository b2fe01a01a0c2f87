/**
 * Keeps the growing map in view until somebody takes the view into their own hands. While they are about to click, a map
 * that is in view stands still under the pointer.
 */

import * as THREE from "three";
import type { Stage } from "./stage.js";
import type { World } from "./world.js";

const CHECK_INTERVAL_MS = 700;
/** The map has to outgrow the framed part by this much before the view moves: it should glide, not fidget. */
const GROWTH = 1.06;

export class Framing {
  private framed = new THREE.Box3();
  private isOn = true;
  private isHeld = false;
  private lastCheckMs = -Infinity;
  private timer: ReturnType<typeof setTimeout> | null = null;

  constructor(
    private readonly stage: Stage,
    private readonly world: World,
  ) {}

  stop(): void {
    this.isOn = false;
  }

  restart(): void {
    this.isOn = true;
    this.framed = new THREE.Box3();
    this.lastCheckMs = -Infinity;
  }

  /** Stand still, at once and where a glide would have ended, until let go. */
  hold(isHeld: boolean): void {
    this.isHeld = isHeld;
    if (isHeld) this.stage.settle();
    else this.contentChanged();
  }

  contentChanged(): void {
    if (this.timer !== null) return;
    const waitMs = Math.max(0, this.lastCheckMs + CHECK_INTERVAL_MS - performance.now());
    this.timer = setTimeout(() => {
      this.timer = null;
      this.lastCheckMs = performance.now();
      this.check();
    }, waitMs);
  }

  private check(): void {
    const bounds = this.world.bounds();
    if (bounds.isEmpty()) return;
    this.stage.setFloor(this.world.floorY());
    if (this.isHeld && !this.framed.isEmpty()) return;
    if (!this.isOn || (this.framed.containsBox(bounds) && !this.shrankBy(bounds, 2))) return;
    const grown = this.framed.isEmpty() || sizeOf(this.framed.clone().union(bounds)) > GROWTH * sizeOf(this.framed);
    if (!grown && !this.shrankBy(bounds, 2)) return;
    this.framed = bounds.clone();
    this.stage.frame(bounds);
  }

  private shrankBy(bounds: THREE.Box3, factor: number): boolean {
    return sizeOf(bounds) * factor < sizeOf(this.framed);
  }
}

function sizeOf(box: THREE.Box3): number {
  return box.isEmpty() ? 0 : box.getSize(new THREE.Vector3()).length();
}
