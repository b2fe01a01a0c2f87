/** One 3D object for each key of a layer, moved along when the map is corrected. */

import * as THREE from "three";
import { type Entry, nameOf, type SceneMap } from "../../sdk/map.js";
import type { Key, Layer } from "../../sdk/protocol.js";
import type { Similarity } from "../../sdk/transform.js";

/** Builds what one entry shows, in the coordinates it was sent in; null when it shows nothing. */
export type Build = (entry: Entry) => THREE.Object3D | null;

export class KeyedGroup {
  readonly group = new THREE.Group();
  private readonly objects = new Map<string, { object: THREE.Object3D; layer: Layer; key: Key }>();

  constructor(private readonly build: Build) {}

  set(entry: Entry): void {
    const { layer, key } = entry.delta;
    const object = this.build(entry);
    this.remove(layer, key);
    if (object === null) return;
    object.matrixAutoUpdate = false;
    object.matrix.copy(matrixOf(entry.worldFromEntry));
    object.matrixWorldNeedsUpdate = true;
    this.objects.set(nameOf(layer, key), { object, layer, key });
    this.group.add(object);
  }

  remove(layer: Layer, key: Key): void {
    const name = nameOf(layer, key);
    const held = this.objects.get(name);
    if (held === undefined) return;
    this.objects.delete(name);
    this.group.remove(held.object);
    dispose(held.object);
  }

  get(layer: Layer, key: Key): THREE.Object3D | undefined {
    return this.objects.get(nameOf(layer, key))?.object;
  }

  *all(): IterableIterator<[Key, THREE.Object3D]> {
    for (const { key, object } of this.objects.values()) yield [key, object];
  }

  /** Bring every object to the place the map now gives it. */
  move(map: SceneMap): void {
    for (const { object, layer, key } of this.objects.values()) {
      const entry = map.get(layer, key);
      if (entry === undefined) continue;
      object.matrix.copy(matrixOf(entry.worldFromEntry));
      object.matrixWorldNeedsUpdate = true;
    }
  }

  clear(): void {
    for (const { layer, key } of [...this.objects.values()]) this.remove(layer, key);
  }

  get size(): number {
    return this.objects.size;
  }

  /** Bounds of what is there, in world metres. */
  bounds(): THREE.Box3 {
    return new THREE.Box3().setFromObject(this.group);
  }
}

export function matrixOf({ scale, quatWxyz: [w, x, y, z], translation }: Similarity): THREE.Matrix4 {
  return new THREE.Matrix4().compose(
    new THREE.Vector3(...translation),
    new THREE.Quaternion(x, y, z, w),
    new THREE.Vector3(scale, scale, scale),
  );
}

/** Free the buffers of an object; materials are shared by a layer and stay. */
function dispose(object: THREE.Object3D): void {
  object.traverse((part) => {
    if (part instanceof THREE.Mesh || part instanceof THREE.Points || part instanceof THREE.LineSegments) {
      (part.geometry as THREE.BufferGeometry).dispose();
    }
  });
}
