/** Virtual things in the map: every slot of the scene that has a place, showing what the asset bus puts into it. */

import * as THREE from "three";
import type { Api } from "../../page/api.js";
import type { AssetBus, AssetEvent, AssetFile, Prepared } from "../../sdk/assets.js";
import type { Job } from "../../sdk/jobs.js";
import type { Body } from "../avatars/avoidance.js";
import { matrixOf } from "../layers/keyed.js";
import type { Stage } from "../stage.js";
import { Model, READABLE } from "./model.js";
import { readSlot, type SlotView } from "./slot-view.js";

export interface Thing {
  readonly slot: string;
  view: SlotView | null;
  /** What is made for it, or was made last. */
  job: Job | null;
  /** What went wrong, for people. */
  trouble: string;
  readonly group: THREE.Group;
}

/** Nobody walks around more than that of a thing. */
const WIDEST_M = 1;

export class Things {
  private readonly bySlot = new Map<string, Thing>();
  private readonly group = new THREE.Group();
  private scene = "";

  constructor(
    private readonly stage: Stage,
    private readonly api: Api,
    private readonly bus: AssetBus,
  ) {
    stage.scene.add(this.group);
    bus.on("event", (event) => void this.hear(event));
    bus.on("state", (state) => {
      if (state === "open") void this.look();
    });
  }

  get all(): readonly Thing[] {
    return [...this.bySlot.values()];
  }

  /** Show what stands in this scene. */
  choose(scene: string): void {
    for (const slot of [...this.bySlot.keys()]) this.drop(slot);
    this.scene = scene;
    void this.look();
  }

  /** A thing that is about to be made. */
  expect(slot: string): Thing {
    return this.bySlot.get(slot) ?? this.add(slot);
  }

  drop(slot: string): void {
    const thing = this.bySlot.get(slot);
    if (thing === undefined) return;
    this.bySlot.delete(slot);
    this.bus.unbind(slot);
    thing.group.removeFromParent();
    this.stage.invalidate();
  }

  /** The thing under a pixel of the page. */
  at(clientX: number, clientY: number): Thing | null {
    const hit = this.stage.pick(clientX, clientY, [this.group], true);
    for (let object = hit?.object ?? null; object !== null; object = object.parent) {
      const thing = this.all.find(({ group }) => group === object);
      if (thing !== undefined) return thing;
    }
    return null;
  }

  /** What avatars have to walk around, by its foot; only where the floor goes on below, the map itself does not know. */
  bodies(isFloor: (place: THREE.Vector3) => boolean): Body[] {
    return this.all.flatMap(({ group }) => {
      const model = shownIn(group);
      const foot = new THREE.Vector3().setFromMatrixPosition(group.matrix);
      if (model === null || !isFloor(foot)) return [];
      const scale = group.matrix.getMaxScaleOnAxis();
      const radiusM = Math.min(WIDEST_M, (scale * (model.sizeM.x + model.sizeM.z)) / 4);
      return [{ place: [foot.x, foot.z] as const, velocity: [0, 0] as const, radiusM }];
    });
  }

  private async look(): Promise<void> {
    const scene = this.scene;
    const slots = await this.api.json("v1/slots", (answer) => (answer as unknown[]).map(readSlot)).catch(() => []);
    if (scene === this.scene) for (const view of slots) this.take(view);
  }

  private async hear(event: AssetEvent): Promise<void> {
    const { slot } = event;
    if (typeof slot !== "string" || !event.type.startsWith("slot.")) return;
    if (event.type === "slot.removed") return this.drop(slot);
    const view = await this.api.json(`v1/slots/${slot}`, readSlot).catch(() => null);
    if (view !== null) this.take(view);
  }

  private take(view: SlotView): void {
    if (view.scene !== this.scene || view.placement === null) return;
    const thing = this.bySlot.get(view.slot) ?? this.add(view.slot);
    thing.view = view;
    thing.group.matrix.copy(matrixOf(view.placement));
    thing.group.matrixWorldNeedsUpdate = true;
    this.stage.invalidate();
  }

  private add(slot: string): Thing {
    const group = new THREE.Group();
    group.matrixAutoUpdate = false;
    const thing: Thing = { slot, view: null, job: null, trouble: "", group };
    this.bySlot.set(slot, thing);
    this.group.add(group);
    const show = (model: Model): void => {
      group.clear();
      group.add(model.root);
      group.userData.model = model;
      this.stage.invalidate();
    };
    this.bus.bind<Model>(slot, {
      accept: { ext: READABLE },
      prepare: (asset) => this.prepare(asset),
      commit: show,
      rollback: show,
      dispose: (model) => model.dispose(),
    });
    return thing;
  }

  /** The finest level shows at once; the coarser ones follow. */
  private async prepare({ data, files }: Prepared): Promise<Model> {
    const model = await Model.read(data);
    void this.addCoarser(model, files);
    return model;
  }

  private async addCoarser(model: Model, files: readonly AssetFile[]): Promise<void> {
    for (const role of ["lod1", "lod2"]) {
      const file = files.find((one) => one.role === role && one.format === "glb" && one.extensions.length === 0);
      if (file === undefined) return;
      const isThere = await this.bus.fetch(file).then((data) => model.addCoarser(data)).then(() => true, () => false);
      if (!isThere) return; // the finest one has to do
    }
    this.stage.invalidate();
  }
}

function shownIn(group: THREE.Group): Model | null {
  return group.userData.model instanceof Model ? group.userData.model : null;
}
