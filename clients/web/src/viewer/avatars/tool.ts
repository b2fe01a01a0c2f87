/** Clicks become avatars and errands: the first one places an avatar, the next ones send it. */

import type { Agent } from "../../sdk/queries.js";
import type { Vector3 } from "../../sdk/protocol.js";
import { onClick } from "../clicks.js";
import type { Stage } from "../stage.js";
import type { NavLayer } from "../layers/nav.js";
import type { Party } from "./party.js";

export class AvatarTool {
  private isOn = false;
  private isAdding = false;

  constructor(
    private readonly stage: Stage,
    canvas: HTMLCanvasElement,
    private readonly party: Party,
    private readonly nav: NavLayer,
    private readonly agent: () => Agent,
    private readonly say: (text: string) => void,
  ) {
    onClick(canvas, (x, y) => {
      if (this.isOn) this.click(x, y);
    });
  }

  setEnabled(isOn: boolean): void {
    this.isOn = isOn;
    this.isAdding = false;
    if (isOn) this.explain();
  }

  /** The next click places another one. */
  addAnother(): void {
    this.isAdding = !this.party.isFull;
    this.say(this.isAdding ? "Click where the new avatar should stand." : "That is as many as there can be.");
  }

  private explain(): void {
    const isNobodyHere = this.party.chosen === null;
    this.say(isNobodyHere ? "Click on the green floor: an avatar appears there." : "Click where it should go.");
  }

  private click(clientX: number, clientY: number): void {
    const clicked = this.isAdding ? null : this.party.at(clientX, clientY);
    if (clicked !== null) {
      this.party.choose(clicked);
      return this.say(`Avatar ${clicked.number}. Click where it should go.`);
    }
    const { chosen } = this.party;
    const isNew = this.isAdding || chosen === null;
    const agent = isNew ? this.agent().name : chosen.pilot.agent;
    const hit = this.stage.pick(clientX, clientY, this.nav.floors(agent));
    if (hit === null) return this.say("That is not walkable. Click on the green floor.");
    const place: Vector3 = [hit.point.x, hit.point.y, hit.point.z];
    if (isNew) {
      this.isAdding = false;
      this.party.add(place, this.agent());
      return this.say("Here it is. Now click where it should go.");
    }
    this.party.send(chosen, place);
    this.say("");
  }
}
