/** The list of virtual things beside the map: what is being made and how far it is, what stands there, and what else could. */

import { make } from "../../page/dom.js";
import { Rows } from "../../page/rows.js";
import type { Job } from "../../sdk/jobs.js";
import type { SlotView } from "./slot-view.js";
import type { Thing, Things } from "./things.js";
import type { Workshop } from "./workshop.js";

interface Row {
  readonly root: HTMLElement;
  readonly state: HTMLElement;
  readonly bar: HTMLProgressElement;
  /** Null for who may only look. */
  readonly tools: { readonly wish: HTMLInputElement; readonly back: HTMLButtonElement } | null;
}

export class ThingList {
  private readonly rows: Rows<Thing, Row>;

  constructor(
    host: HTMLElement,
    private readonly things: Things,
    private readonly workshop: Workshop,
    private readonly mayMake: boolean,
  ) {
    this.rows = new Rows(host, (thing) => this.row(thing));
  }

  update(): void {
    for (const [thing, row] of this.rows.follow(this.things.all)) show(thing, row);
  }

  /** Ask what it should be swapped for. */
  choose(thing: Thing): void {
    this.rows.get(thing)?.tools?.wish.focus();
  }

  private row(thing: Thing): Row {
    const root = make("div", "thing");
    const state = make("span", "state");
    const bar = make("progress");
    bar.setAttribute("aria-label", `How far ${thing.slot} is`);
    root.append(state, bar);
    if (!this.mayMake) return { root, state, bar, tools: null };
    const wish = this.wishFor(thing);
    const back = make("button", "back", "Back");
    back.type = "button";
    back.title = "Show again what was there before";
    back.setAttribute("aria-label", `Back: show again what was there before ${thing.slot}`);
    back.onclick = () => void this.workshop.back(thing);
    const remove = make("button", "remove", "×");
    remove.type = "button";
    remove.setAttribute("aria-label", `Remove ${thing.slot} from the map`);
    remove.onclick = () => void this.workshop.remove(thing);
    root.append(wish, back, remove);
    return { root, state, bar, tools: { wish, back } };
  }

  private wishFor(thing: Thing): HTMLInputElement {
    const wish = make("input");
    wish.placeholder = "Swap for …";
    wish.title = "Say what, as: red chair 80 cm";
    wish.setAttribute("aria-label", `What ${thing.slot} should be swapped for`);
    wish.maxLength = 200;
    wish.onkeydown = ({ key, isComposing }) => {
      if (key !== "Enter" || isComposing || !wish.value.trim()) return;
      void this.workshop.swap(thing, wish.value.trim());
      wish.value = "";
    };
    return wish;
  }
}

function show({ job, isBusy, trouble, unshown, view }: Thing, { root, state, bar, tools }: Row): void {
  const isMaking = isBusy && job !== null && !job.isOver;
  const words = trouble || (isMaking ? progressOf(job) : unshown ? `cannot be shown here: ${unshown}` : standing(view));
  if (state.textContent !== words) state.textContent = words;
  root.dataset.state = isMaking ? "making" : trouble || unshown ? "trouble" : "standing";
  root.dataset.shown = view?.current ? `${view.current.asset} ${view.current.version}` : "";
  bar.hidden = !isMaking;
  bar.value = job?.progress ?? 0;
  if (tools === null) return;
  tools.wish.disabled = isBusy;
  tools.back.disabled = isBusy || (view?.kept.length ?? 0) === 0;
}

function standing(view: SlotView | null): string {
  return view?.current ? `stands there, version ${view.current.version}` : "on its way …";
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
