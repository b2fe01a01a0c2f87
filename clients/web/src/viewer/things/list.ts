/** The list of virtual things beside the map: what is being made and how far it is, what stands there, and what else could. */

import { make } from "../../page/dom.js";
import { Rows } from "../../page/rows.js";
import type { Job } from "../../sdk/jobs.js";
import type { Thing, Things } from "./things.js";
import type { Workshop } from "./workshop.js";

interface Row {
  readonly root: HTMLElement;
  readonly state: HTMLElement;
  readonly bar: HTMLProgressElement;
  readonly back: HTMLButtonElement;
  readonly wish: HTMLInputElement;
}

export class ThingList {
  private readonly rows: Rows<Thing, Row>;

  constructor(
    host: HTMLElement,
    private readonly things: Things,
    private readonly workshop: Workshop,
  ) {
    this.rows = new Rows(host, (thing) => this.row(thing));
  }

  update(): void {
    for (const [thing, row] of this.rows.follow(this.things.all)) this.show(thing, row);
  }

  /** Ask what it should be swapped for. */
  choose(thing: Thing): void {
    this.rows.get(thing)?.wish.focus();
  }

  private show({ job, trouble, view }: Thing, { root, state, bar, back }: Row): void {
    const isMaking = job !== null && !job.isOver;
    const words = trouble || (isMaking ? progressOf(job) : standing(view?.current?.version ?? 0));
    if (state.textContent !== words) state.textContent = words;
    root.dataset.state = trouble ? "trouble" : isMaking ? "making" : "standing";
    root.dataset.shown = view?.current ? `${view.current.asset} ${view.current.version}` : "";
    bar.hidden = !isMaking;
    bar.value = job?.progress ?? 0;
    back.disabled = (view?.kept.length ?? 0) === 0;
  }

  private row(thing: Thing): Row {
    const root = make("div", "thing");
    const state = make("span", "state");
    const bar = make("progress");
    const wish = make("input");
    wish.placeholder = "Swap for … (red chair 80 cm)";
    wish.setAttribute("aria-label", "What it should be swapped for");
    wish.maxLength = 200;
    wish.onkeydown = ({ key }) => {
      if (key !== "Enter" || !wish.value.trim()) return;
      void this.workshop.swap(thing, wish.value.trim());
      wish.value = "";
    };
    const back = make("button", "back", "Back");
    back.type = "button";
    back.title = "Show again what was there before";
    back.onclick = () => void this.workshop.back(thing);
    const remove = make("button", "remove", "×");
    remove.type = "button";
    remove.setAttribute("aria-label", "Remove it from the map");
    remove.onclick = () => void this.workshop.remove(thing);
    root.append(state, bar, wish, back, remove);
    return { root, state, bar, back, wish };
  }
}

function standing(version: number): string {
  return version === 0 ? "on its way …" : `stands there, version ${version}`;
}

function progressOf({ state, stage, progress, etaS }: Job): string {
  switch (state) {
    case "queued":
      return "waits for its turn";
    case "yielding":
      return "waits: phones come first";
    case "publishing":
      return "is being handed over";
    default: {
      const left = etaS === null ? "" : `, ${Math.max(1, Math.round(etaS))} s to go`;
      return `${stage || "begins"}, ${Math.round(100 * progress)} %${left}`;
    }
  }
}
