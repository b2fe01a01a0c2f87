/** The scene on the stage: every change of the map goes to the layer that shows it. */

import * as THREE from "three";
import { readIslands } from "../sdk/layers.js";
import { type Change, type Entry, nameOf, type SceneMap } from "../sdk/map.js";
import { type Key, ProtocolError } from "../sdk/protocol.js";
import { BuildQueue } from "./building.js";
import { CameraLayer } from "./layers/cameras.js";
import { type KeyedGroup, matrixOf } from "./layers/keyed.js";
import { NavLayer } from "./layers/nav.js";
import { PointLayer } from "./layers/points.js";
import { meshLayer, occluderLayer } from "./layers/surfaces.js";
import { veilLayer } from "./layers/veil.js";
import type { Stage } from "./stage.js";

export const SHOWN = ["cameras", "trails", "points", "mesh", "nav", "occluder"] as const;
export type Shown = (typeof SHOWN)[number];

/** What building may take of one frame, and looking after points when there is nothing to build. */
const BUILD_MS = 8;
const CHECK_MS = 2;

export class World {
  readonly cameras: CameraLayer;
  readonly nav = new NavLayer();
  private readonly points = new PointLayer();
  private readonly mesh = meshLayer();
  private readonly occluder = occluderLayer();
  private readonly veil = veilLayer();
  private readonly keyed: Readonly<Record<"points" | "mesh" | "nav" | "occluder", KeyedGroup>>;
  private readonly groups: Readonly<Record<Shown, THREE.Group>>;
  private readonly wanted = new Set<Shown>(SHOWN);
  private readonly building = new BuildQueue();
  private readonly checking = new BuildQueue();
  private isBare = false;

  constructor(
    private readonly stage: Stage,
    private readonly onUnreadable: (what: string) => void,
  ) {
    this.cameras = new CameraLayer(() => stage.invalidate());
    this.keyed = { points: this.points.keyed, mesh: this.mesh, nav: this.nav.keyed, occluder: this.occluder };
    this.groups = {
      cameras: this.cameras.group,
      trails: this.cameras.trails,
      points: this.points.keyed.group,
      mesh: this.mesh.group,
      nav: this.nav.keyed.group,
      occluder: this.occluder.group,
    };
    stage.scene.add(...Object.values(this.groups), this.veil.group);
  }

  apply(change: Change, map: SceneMap): void {
    this.attempt(() => this.show(change, map));
  }

  /** A slice of the work that has come up; to be called every frame. */
  build(): void {
    if (this.building.run(BUILD_MS) === 0) this.checking.run(CHECK_MS);
  }

  /** How many things are received and not yet to be seen. */
  get numWaiting(): number {
    return this.building.size;
  }

  setVisible(layer: Shown, visible: boolean): void {
    if (visible) this.wanted.add(layer);
    else this.wanted.delete(layer);
    this.arrange();
  }

  lookThrough(stream: string | null): void {
    this.cameras.lookThrough(stream);
    this.arrange();
  }

  /** Show where this agent can walk. */
  showAgent(agent: string): void {
    this.nav.showAgent(agent);
    this.stage.invalidate();
  }

  /**
   * Show nothing of the map itself: only what is virtual, before the picture of the camera that is looked through. From
   * elsewhere there is no picture, and a sketch of what hides things has to do.
   */
  setBare(isBare: boolean): void {
    this.isBare = isBare;
    this.cameras.setBare(isBare);
    this.stage.setGrid(!isBare);
    this.arrange();
  }

  /** What taps can hit: real surfaces, whether they are shown or not. */
  surfaces(): THREE.Object3D[] {
    return [...this.mesh.all()].map(([, object]) => object);
  }

  count(layer: Shown): number {
    if (layer === "cameras" || layer === "trails") return this.cameras.views.length;
    return this.keyed[layer].size;
  }

  /** What there is to see: surfaces first, bare points or cameras only while there is nothing better. */
  bounds(): THREE.Box3 {
    const solid = this.mesh.bounds().union(this.nav.keyed.bounds()).union(this.occluder.bounds());
    const all = solid.isEmpty() ? this.points.keyed.bounds() : solid;
    return all.union(this.cameras.bounds());
  }

  /** Height of the lowest walkable floor, or of the lowest surface. */
  floorY(): number {
    const nav = this.nav.keyed.bounds();
    const box = nav.isEmpty() ? this.bounds() : nav;
    return box.isEmpty() ? 0 : box.min.y;
  }

  clear(): void {
    this.building.clear();
    this.checking.clear();
    this.points.clearSurfaces();
    for (const layer of Object.values(this.keyed)) layer.clear();
    this.nav.clearIslands();
    this.veil.clear();
    this.cameras.clear();
    this.stage.invalidate();
  }

  private arrange(): void {
    for (const layer of SHOWN) {
      this.groups[layer].visible = this.isBare ? this.isShownBare(layer) : this.wanted.has(layer);
    }
    this.stage.invalidate();
  }

  private isShownBare(layer: Shown): boolean {
    return layer === "cameras" || (layer === "occluder" && !this.cameras.isLookedThrough);
  }

  /** By the time it is built the map may have moved: what is built is what the map holds then. */
  private buildLater({ delta: { layer, key } }: Entry, map: SceneMap): void {
    this.building.put(nameOf(layer, key), () => {
      const entry = map.get(layer, key);
      if (entry === undefined || !isKeyed(layer)) return;
      this.attempt(() => {
        this.keyed[layer].set(entry);
        if (layer === "occluder") this.veil.set(entry);
        if (layer === "mesh") this.setSurface(key);
        if (layer === "points") this.points.check(key);
      });
    });
  }

  /** Points that lay on what was there before have to be looked at again. */
  private setSurface(key: Key): void {
    for (const keyframe of this.points.setSurface(key, (this.mesh.get("mesh", key) as THREE.Mesh | undefined) ?? null)) {
      this.checking.put(nameOf("points", keyframe), () => {
        this.points.check(keyframe);
        this.stage.invalidate();
      });
    }
  }

  private showIslands(key: Key, rows: ReadonlySet<number>, map: SceneMap): void {
    this.nav.setIslands(key, rows);
    const tile = map.get("nav", key);
    if (tile !== undefined) this.nav.keyed.set(tile);
  }

  private attempt(show: () => void): void {
    try {
      show();
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.onUnreadable(error.message); // one bad tile must not take the others along
    }
    this.stage.invalidate();
  }

  private show(change: Change, map: SceneMap): void {
    switch (change.kind) {
      case "set":
        if (change.layer === "pose") this.cameras.setPose(change.entry);
        else if (change.layer === "thumbnail") void this.cameras.setThumbnail(change.entry).catch(() => undefined);
        else if (change.layer === "nav") this.nav.keyed.set(change.entry); // small, and what clicks go to
        else if (change.layer === "islands") this.showIslands(change.entry.delta.key, readIslands(change.entry.delta), map);
        else if (isKeyed(change.layer)) this.buildLater(change.entry, map);
        break;
      case "removed":
        this.building.drop(nameOf(change.layer, change.key));
        if (change.layer === "pose") this.cameras.removePose(String(change.key[0]));
        else if (change.layer === "islands") this.showIslands(change.key, new Set(), map);
        else if (isKeyed(change.layer)) this.keyed[change.layer].remove(change.layer, change.key);
        if (change.layer === "occluder") this.veil.remove(change.layer, change.key);
        if (change.layer === "mesh") this.setSurface(change.key);
        break;
      case "moved":
        for (const layer of [...Object.values(this.keyed), this.veil]) layer.move(map);
        this.points.clearSurfaces();
        for (const [key] of this.mesh.all()) this.checking.put(nameOf("mesh", key), () => this.setSurface(key));
        this.cameras.moveTrails(
          matrixOf({
            scale: change.xform.scale,
            quatWxyz: change.xform.quat_wxyz,
            translation: change.xform.translation_m,
          }),
        );
        for (const entry of map.entries("pose")) this.cameras.setPose(entry);
        break;
    }
  }
}

function isKeyed(layer: string): layer is "points" | "mesh" | "nav" | "occluder" {
  return layer === "points" || layer === "mesh" || layer === "nav" || layer === "occluder";
}
