/** Has things made and changed: one captured where somebody tapped, another put in its place, the old one taken back. */

import { type Api, ApiError } from "../../sdk/api.js";
import type { Job, JobRequest, Jobs } from "../../sdk/jobs.js";
import type { Vector3 } from "../../sdk/protocol.js";
import { readSlot } from "./slot-view.js";
import type { Thing, Things } from "./things.js";

export class Workshop {
  /** Something happened that people are told. */
  onNews: (text: string) => void = () => undefined;

  constructor(
    private readonly api: Api,
    private readonly jobs: Jobs,
    private readonly things: Things,
    private readonly scene: () => string,
  ) {}

  /** Make the real thing at a point of the map: a stand-in at once, the captured mesh as soon as it is there. */
  async capture(point: Vector3): Promise<void> {
    const thing = this.things.expect(`thing-${crypto.randomUUID().slice(0, 8)}`);
    const end = await this.make(thing, { task: "capture", params: { point_m: point }, asset_name: "captured thing" });
    if (end?.state === "succeeded") {
      this.onNews("The model stands in its place. Beside, it can be swapped for something else.");
    } else if (thing.job === null) {
      this.things.drop(thing.slot); // it was not taken: nothing is there
    } else if (end !== null && this.things.has(thing) && isAlone(thing, end)) {
      await this.takeAway(thing); // nothing came of it, but for a stand-in perhaps
    }
  }

  /** Put something else in its place. */
  async swap(thing: Thing, text: string): Promise<void> {
    this.onNews(`“${text}” comes as soon as it is made.`);
    const end = await this.make(thing, { task: "text-to-3d-asset", text });
    if (end?.state === "succeeded") this.onNews("");
  }

  /** Show again what was there before: another asset if there was one, an earlier version if not. */
  async back(thing: Thing): Promise<void> {
    await this.alone(thing, async () => {
      let view = await this.api.json(`v1/slots/${thing.slot}`, readSlot);
      const shown = view.current?.asset;
      const steps = 1 + Math.max(0, view.kept.findIndex(({ asset }) => asset !== shown));
      for (let i = 0; i < steps; i++) {
        const body = JSON.stringify({ revision: view.rev }); // refused when somebody else was quicker
        const init = { method: "POST", headers: { "Content-Type": "application/json" }, body };
        view = await this.api.json(`v1/slots/${thing.slot}/rollback`, readSlot, init);
      }
    });
  }

  /** What is made for it is cancelled. */
  async remove(thing: Thing): Promise<void> {
    if (thing.job !== null && !thing.job.isOver) await this.jobs.cancel(thing.job).catch(() => undefined);
    if (await this.takeAway(thing)) this.onNews("");
  }

  private async takeAway(thing: Thing): Promise<boolean> {
    try {
      await this.api.request(`v1/slots/${thing.slot}`, { method: "DELETE" }).catch(unlessGone);
      this.things.drop(thing.slot);
      return true;
    } catch (error) {
      this.tell(thing, wordsFor(error));
      return false;
    }
  }

  /** @returns the job at its end; null when there is none, or nobody can say how it ended */
  private async make(thing: Thing, wanted: Omit<JobRequest, "scene" | "slot">): Promise<Job | null> {
    const end = await this.alone(thing, async () => {
      thing.job = await this.jobs.submit({ ...wanted, scene: this.scene(), slot: thing.slot });
      if (!this.things.has(thing)) await this.jobs.cancel(thing.job); // removed meanwhile
      return this.jobs.follow(thing.job, (job) => (thing.job = job));
    });
    if (end?.failure) this.tell(thing, [end.failure.message, end.failure.hint].filter(Boolean).join(". "));
    return end;
  }

  /** Only one thing is done to a thing at a time; null when it did not come off. */
  private async alone<T>(thing: Thing, what: () => Promise<T>): Promise<T | null> {
    if (thing.isBusy) return null;
    thing.isBusy = true;
    thing.trouble = "";
    try {
      return await what();
    } catch (error) {
      this.tell(thing, wordsFor(error));
      return null;
    } finally {
      thing.isBusy = false;
    }
  }

  private tell(thing: Thing, trouble: string): void {
    thing.trouble = trouble;
    this.onNews(trouble);
  }
}

/** Nothing but what this job made stands there: nobody has put something else in its place. */
function isAlone({ view }: Thing, { asset }: Job): boolean {
  return (view?.current ?? null) === null || view?.current?.asset === asset;
}

function wordsFor(error: unknown): string {
  return error instanceof ApiError ? error.message : "The server is out of reach.";
}

function unlessGone(error: unknown): void {
  if (!(error instanceof ApiError) || error.status !== 404) throw error;
}
