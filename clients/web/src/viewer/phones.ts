/** The list of phones: live picture, tracking state, age; a click looks through the lens. */

import { make } from "../page/dom.js";
import type { CameraView } from "./layers/cameras.js";
import { formatAge } from "./waterfall.js";

const STALE_S = 3;

interface Card {
  readonly root: HTMLButtonElement;
  picture: HTMLCanvasElement;
  readonly state: HTMLElement;
  readonly age: HTMLElement;
}

export class PhoneList {
  private readonly cards = new Map<string, Card>();

  constructor(
    private readonly host: HTMLElement,
    private readonly onChosen: (stream: string) => void,
  ) {}

  update(views: readonly CameraView[], nowNs: bigint, followed: string | null): void {
    const present = new Set(views.map(({ stream }) => stream));
    for (const [stream, { root }] of this.cards) {
      if (present.has(stream)) continue;
      root.remove();
      this.cards.delete(stream);
    }
    views.forEach((view, i) => {
      const card = this.cards.get(view.stream) ?? this.add(view, i + 1);
      if (card.picture !== view.picture) this.show(card, view); // the phone went and came back
      const age = view.captureNs === 0n ? null : Math.max(0, Number(nowNs - view.captureNs) / 1e9);
      card.age.textContent = age === null ? "" : formatAge(age);
      card.state.textContent = view.pose === null ? "no pose yet" : view.pose.state;
      card.root.dataset.tone = view.pose?.state === "tracked" && age !== null && age < STALE_S ? "good" : "warn";
      card.root.setAttribute("aria-pressed", String(view.stream === followed));
    });
  }

  private add(view: CameraView, number: number): Card {
    const root = make("button", "phone");
    root.type = "button";
    root.title = `Look through this camera (${view.stream})`;
    const words = make("span", "words");
    const [state, age] = [make("span", "state"), make("span", "muted numbers")];
    const line = make("span", "line");
    line.append(state, age);
    words.append(make("b", "", `Camera ${number}`), line);
    const picture = make("canvas");
    root.append(picture, words);
    root.onclick = () => this.onChosen(view.stream);
    this.host.append(root);
    const card = { root, picture, state, age };
    this.show(card, view);
    this.cards.set(view.stream, card);
    return card;
  }

  private show(card: Card, view: CameraView): void {
    view.picture.className = "picture";
    card.picture.replaceWith(view.picture);
    card.picture = view.picture;
    card.root.style.setProperty("--camera", view.color);
  }
}
