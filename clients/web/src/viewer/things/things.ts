/** Virtual things in the map: every slot of the scene that has a place, showing what the asset bus puts into it. */

import * as THREE from "three";
import { type Api, ApiError } from "../../sdk/api.js";
import type { AssetBus, AssetEvent, AssetFile, Binding, Prepared } from "../../sdk/assets.js";
import type { Job } from "../../sdk/jobs.js";
import type { Vector3 } from "../../sdk/protocol.js";
import { matrixOf } from "../layers/keyed.js";
import type { Stage } from "../stage.js";
import { Model, READABLE } from "./model.js";
import { readSlot, type SlotView } from "./slot-view.js";

export interface Thing {
  readonly slot: string;
  /** Null until the server knows of it. */
  view: SlotView | null;
  /** What is made for it, or was made last. */
  job: Job | null;
  /** Something is done to it: nothing else can be. */
  isBusy: boolean;
  /** What went wrong, for people. */
  trouble: string;
  /** Why this page does not show what stands there. */
  unshown: string;
  binding: Binding<Model> | null;
  readonly group: THREE.Group;
}

/** What stands somewhere and is in the way. */
export interface Obstacle {
  readonly foot: Vector3;
  readonly radiusM: number;
}

/** Nobody walks around more than that of a thing. */
const WIDEST_M = 1;

export class Things {
  private readonly bySlot = new Map<string, Thing>();
  private readonly group = new THREE.Group();
  private scene = "";
  /** Slots that something happened to since they were read; null: all of them. */
  private stale: Set<string> | null = new Set();
  private isReading = false;
  /** Slots that were removed since it was asked last: the answer may not know yet. */
  private readonly removed = new Set<string>();

  constructor(
    private readonly stage: Stage,
    private readonly api: Api,
    private readonly bus: AssetBus,
  ) {
    stage.scene.add(this.group);
    bus.on("event", (event) => this.hear(event));
    bus.on("state", (state) => {
      if (state === "open") this.lookAtAll();
    });
  }

  get all(): readonly Thing[] {
    return [...this.bySlot.values()];
  }

  has(thing: Thing): boolean {
    return this.bySlot.get(thing.slot) === thing;
  }

  /** Show what stands in this scene. */
  choose(scene: string): void {
    for (const slot of [...this.bySlot.keys()]) this.drop(slot);
    this.scene = scene;
    this.lookAtAll();
  }

  /** A thing that is about to be made. */
  expect(slot: string): Thing {
    return this.bySlot.get(slot) ?? this.add(slot);
  }

  drop(slot: string): void {
    const thing = this.bySlot.get(slot);
    if (thing === undefined) return;
    this.bySlot.delete(slot);
    if (thing.binding !== null) this.bus.unbind(slot);
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

  /** What avatars may have to walk around: the map itself knows nothing of it. */
  get obstacles(): Obstacle[] {
    return this.all.flatMap(({ group: { matrix }, binding }) => {
      const sizeM = binding?.shown?.sizeM;
      if (sizeM === undefined) return [];
      const radiusM = Math.min(WIDEST_M, (matrix.getMaxScaleOnAxis() * (sizeM.x + sizeM.z)) / 4);
      return [{ foot: new THREE.Vector3().setFromMatrixPosition(matrix).toArray(), radiusM }];
    });
  }

  private hear({ type, slot }: AssetEvent): void {
    if (type === "resync") return this.lookAtAll();
    if (typeof slot !== "string" || !type.startsWith("slot.")) return;
    if (type === "slot.removed") {
      this.removed.add(slot);
      this.stale?.delete(slot);
      return this.drop(slot);
    }
    this.stale?.add(slot);
    void this.read();
  }

  private lookAtAll(): void {
    this.stale = null;
    void this.read();
  }

  /** Read what is stale, one answer after the other: so none is older than what is shown. */
  private async read(): Promise<void> {
    if (this.isReading) return;
    this.isReading = true;
    while (this.stale === null || this.stale.size > 0) {
      const [slot] = this.stale ?? [];
      if (slot === undefined) this.stale = new Set();
      else this.stale?.delete(slot);
      this.removed.clear();
      // What cannot be read now stays as it is: the bus opens again when the server is back.
      await (slot === undefined ? this.readAll() : this.readOne(slot)).catch(() => undefined);
    }
    this.isReading = false;
  }

  private async readAll(): Promise<void> {
    const views = await this.api.json("v1/slots", (answer) => (answer as unknown[]).map(readSlot));
    const there = new Set(views.map(({ slot }) => slot));
    for (const { slot, view } of this.all) {
      if (view !== null && !there.has(slot)) this.drop(slot);
    }
    for (const view of views) this.take(view);
  }

  private async readOne(slot: string): Promise<void> {
    try {
      this.take(await this.api.json(`v1/slots/${slot}`, readSlot));
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) this.drop(slot);
    }
  }

  private take(view: SlotView): void {
    if (view.scene !== this.scene || view.placement === null || this.removed.has(view.slot)) return;
    const thing = this.bySlot.get(view.slot) ?? this.add(view.slot);
    thing.view = view;
    thing.group.matrix.copy(matrixOf(view.placement));
    thing.group.matrixWorldNeedsUpdate = true;
    this.stage.invalidate();
  }

  private add(slot: string): Thing {
    const group = new THREE.Group();
    group.matrixAutoUpdate = false;
    const thing: Thing = { slot, view: null, job: null, isBusy: false, trouble: "", unshown: "", binding: null, group };
    this.bySlot.set(slot, thing);
    this.group.add(group);
    if (this.bus.isFull) thing.unshown = "there are too many things for one page";
    else thing.binding = this.bind(thing);
    return thing;
  }

  private bind(thing: Thing): Binding<Model> {
    const show = (model: Model): void => {
      thing.unshown = "";
      thing.group.clear();
      thing.group.add(model.root);
      this.stage.invalidate();
    };
    return this.bus.bind<Model>(thing.slot, {
      accept: { ext: READABLE },
      prepare: (asset) => this.prepare(asset),
      commit: show,
      rollback: show,
      failed: (reason) => (thing.unshown = reason),
      dispose: (model) => model.dispose(),
    });
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
