/** The list of avatars beside the map: what each is doing, which one listens, and a way to send it home. */

import { make } from "../../page/dom.js";
import { Rows } from "../../page/rows.js";
import type { Avatar, Party } from "./party.js";

interface Row {
  readonly root: HTMLElement;
  readonly choose: HTMLButtonElement;
  readonly state: HTMLElement;
}

export class AvatarList {
  private readonly rows: Rows<Avatar, Row>;

  constructor(
    host: HTMLElement,
    private readonly party: Party,
    private readonly onChosen: (avatar: Avatar) => void,
  ) {
    this.rows = new Rows(host, (avatar) => this.row(avatar));
  }

  update(): void {
    for (const [avatar, { root, choose, state }] of this.rows.follow(this.party.all)) {
      const words = describe(avatar);
      if (state.textContent !== words) state.textContent = words;
      root.dataset.mood = avatar.pilot.mood;
      root.dataset.place = avatar.pilot.walker.position.map((metres) => metres.toFixed(3)).join();
      root.dataset.plans = String(avatar.pilot.plans);
      choose.setAttribute("aria-pressed", String(avatar === this.party.chosen));
    }
  }

  private row(avatar: Avatar): Row {
    const name = `Avatar ${avatar.number}`;
    const root = make("div", "avatar");
    root.style.setProperty("--avatar", `#${avatar.figure.color.toString(16).padStart(6, "0")}`);
    const choose = make("button", "choose");
    choose.type = "button";
    choose.title = `Send ${name} by clicking on the floor`;
    const state = make("span", "state");
    choose.append(make("i"), make("b", "", name), state);
    choose.onclick = () => this.onChosen(avatar);
    const remove = make("button", "remove", "×");
    remove.type = "button";
    remove.setAttribute("aria-label", `Remove ${name}`);
    remove.onclick = () => this.party.remove(avatar);
    root.append(choose, remove);
    return { root, choose, state };
  }
}

function describe({ pilot }: Avatar): string {
  switch (pilot.mood) {
    case "idle":
      return "waits for an errand";
    case "planning":
      return "looks for a way …";
    case "walking":
      return `walks, ${pilot.walker.toGoM.toFixed(1)} m to go${pilot.trouble ? " (as near as it can)" : ""}`;
    case "arrived":
      return "has arrived";
    case "blocked":
    case "offline":
      return pilot.trouble || "is stuck";
  }
}
