/** Taps on the map become things: a real one is captured where it stands, a virtual one is chosen. */

import type * as THREE from "three";
import { onClick } from "../clicks.js";
import type { Stage } from "../stage.js";
import type { ThingList } from "./list.js";
import type { Things } from "./things.js";
import type { Workshop } from "./workshop.js";

export class ThingTool {
  private isOn = false;

  constructor(
    private readonly stage: Stage,
    canvas: HTMLCanvasElement,
    private readonly surfaces: () => THREE.Object3D[],
    private readonly things: Things,
    private readonly workshop: Workshop,
    private readonly list: ThingList,
    private readonly say: (text: string) => void,
  ) {
    onClick(canvas, (x, y) => {
      if (this.isOn) this.click(x, y);
    });
  }

  setEnabled(isOn: boolean): void {
    this.isOn = isOn;
    if (isOn) this.say("Tap a real thing that stands by itself: it is made into a model, in its place.");
  }

  private click(clientX: number, clientY: number): void {
    const thing = this.things.at(clientX, clientY);
    if (thing !== null) {
      this.list.choose(thing);
      return this.say("Say beside what it should be swapped for.");
    }
    const hit = this.stage.pick(clientX, clientY, this.surfaces());
    if (hit === null) return this.say("Nothing was mapped there yet. Tap a surface.");
    this.say("A stand-in comes at once, the model when it is ready.");
    void this.workshop.capture([hit.point.x, hit.point.y, hit.point.z]);
  }
}
