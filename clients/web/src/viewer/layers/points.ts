/**
 * The coloured points of each keyframe, placed by the pose the keyframe has now. Points are what was seen once; where the
 * surface of the map says by now that nothing is there (a table was taken away), they are left out.
 */

import * as THREE from "three";
import { type Placement, readPoints } from "../../sdk/layers.js";
import { nameOf } from "../../sdk/map.js";
import type { Key } from "../../sdk/protocol.js";
import { Backing } from "./backing.js";
import { KeyedGroup, matrixOf } from "./keyed.js";

type Cloud = THREE.Points<THREE.BufferGeometry, THREE.PointsMaterial>;

export class PointLayer {
  readonly keyed: KeyedGroup;
  private readonly backing = new Backing();
  private readonly surfaceBounds = new Map<string, THREE.Box3>();

  constructor() {
    const material = new THREE.PointsMaterial({ size: 0.013, vertexColors: true });
    this.keyed = new KeyedGroup(({ delta }) => {
      const { xyz, rgb, worldFromCamera } = readPoints(delta);
      if (xyz.length === 0) return null;
      const geometry = new THREE.BufferGeometry();
      geometry.setAttribute("position", new THREE.BufferAttribute(xyz, 3));
      geometry.setAttribute("color", new THREE.BufferAttribute(rgb, 3, true));
      geometry.setIndex(new THREE.BufferAttribute(Uint32Array.from({ length: xyz.length / 3 }, (_, i) => i), 1));
      const points = new THREE.Points(geometry, material);
      points.matrixAutoUpdate = false;
      points.matrix.copy(placementMatrix(worldFromCamera));
      const holder = new THREE.Group();
      holder.add(points);
      return holder;
    });
  }

  /** A tile of the map's surface is new, or (null) gone; returns the keyframes whose points are to be looked at again. */
  setSurface(key: Key, mesh: THREE.Mesh | null): Key[] {
    const name = nameOf("mesh", key);
    const touched = this.surfaceBounds.get(name)?.clone() ?? new THREE.Box3();
    if (mesh === null) {
      this.backing.remove(name);
      this.surfaceBounds.delete(name);
    } else {
      this.backing.set(name, mesh.geometry.getAttribute("position") as THREE.BufferAttribute, mesh.matrix);
      mesh.geometry.computeBoundingBox();
      const bounds = (mesh.geometry.boundingBox ?? new THREE.Box3()).clone().applyMatrix4(mesh.matrix);
      this.surfaceBounds.set(name, bounds);
      touched.union(bounds);
    }
    touched.min.y = -Infinity;
    touched.max.y = Infinity;
    return [...this.keyed.all()].filter(([, held]) => boundsOf(held).intersectsBox(touched)).map(([key]) => key);
  }

  /** Forget all surfaces: they are about to be told anew. */
  clearSurfaces(): void {
    this.backing.clear();
    this.surfaceBounds.clear();
  }

  /** Show those points of a keyframe that still lie on something, or where nothing is known. */
  check(key: Key): void {
    const held = this.keyed.get("points", key);
    if (held === undefined) return;
    const { geometry } = cloudOf(held);
    const [at, worldFromPoints] = [new THREE.Vector3(), worldFromPointsOf(held)];
    const positions = geometry.getAttribute("position");
    const index = geometry.getIndex() as THREE.BufferAttribute;
    let shown = 0;
    for (let i = 0; i < positions.count; i += 1) {
      at.fromBufferAttribute(positions, i).applyMatrix4(worldFromPoints);
      if (!this.backing.isBare(at.x, at.y, at.z)) index.setX(shown++, i);
    }
    index.needsUpdate = true;
    geometry.setDrawRange(0, shown);
  }
}

export function placementMatrix({ t, qWxyz }: Placement): THREE.Matrix4 {
  return matrixOf({ scale: 1, quatWxyz: qWxyz, translation: t });
}

function cloudOf(held: THREE.Object3D): Cloud {
  return held.children[0] as Cloud;
}

function worldFromPointsOf(held: THREE.Object3D): THREE.Matrix4 {
  return held.matrix.clone().multiply(cloudOf(held).matrix);
}

function boundsOf(held: THREE.Object3D): THREE.Box3 {
  const { geometry } = cloudOf(held);
  if (geometry.boundingBox === null) geometry.computeBoundingBox();
  return (geometry.boundingBox ?? new THREE.Box3()).clone().applyMatrix4(worldFromPointsOf(held));
}
