/** Has things made and changed: one captured where somebody tapped, another put in its place, the old one taken back. */

import { type Api, ApiError } from "../../page/api.js";
import { JobError, type JobRequest, type Jobs } from "../../sdk/jobs.js";
import type { Vector3 } from "../../sdk/protocol.js";
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
    await this.make(thing, { task: "capture", params: { point_m: point }, asset_name: "captured thing" });
    if (thing.trouble) await this.remove(thing); // nothing came of it, but for a stand-in perhaps
    else this.onNews("The model stands in its place. Beside, it can be swapped for something else.");
  }

  /** Put something else in its place. */
  async swap(thing: Thing, text: string): Promise<void> {
    await this.make(thing, { task: "text-to-3d-asset", text });
  }

  /** Show again what was there before: another asset if there was one, an earlier version if not. */
  async back(thing: Thing): Promise<void> {
    const { current, kept = [] } = thing.view ?? {};
    const steps = 1 + Math.max(0, kept.findIndex(({ asset }) => asset !== current?.asset));
    await this.attempt(thing, async () => {
      for (let i = 0; i < steps; i++) await this.api.request(`v1/slots/${thing.slot}/rollback`, { method: "POST" });
    });
  }

  async remove(thing: Thing): Promise<void> {
    if (thing.job !== null && !thing.job.isOver) await this.jobs.cancel(thing.job).catch(() => undefined);
    await this.attempt(thing, () => this.api.request(`v1/slots/${thing.slot}`, { method: "DELETE" }).catch(unlessGone));
    this.things.drop(thing.slot);
  }

  private async make(thing: Thing, wanted: Omit<JobRequest, "scene" | "slot">): Promise<void> {
    await this.attempt(thing, async () => {
      thing.job = await this.jobs.submit({ ...wanted, scene: this.scene(), slot: thing.slot });
      const end = await this.jobs.follow(thing.job, (job) => (thing.job = job));
      if (end.failure !== null) throw new JobError(422, [end.failure.message, end.failure.hint].filter(Boolean).join(". "));
    });
  }

  private async attempt(thing: Thing, what: () => Promise<unknown>): Promise<void> {
    thing.trouble = "";
    try {
      await what();
    } catch (error) {
      thing.trouble = error instanceof JobError || error instanceof ApiError ? error.message : "The server is out of reach.";
      this.onNews(thing.trouble);
    }
  }
}

function unlessGone(error: unknown): void {
  if (!(error instanceof ApiError) || error.status !== 404) throw error;
}
