/** The coloured points of each keyframe, placed by the pose the keyframe has now. */

import * as THREE from "three";
import { type Placement, readPoints } from "../../sdk/layers.js";
import { KeyedGroup, matrixOf } from "./keyed.js";

export function pointLayer(): KeyedGroup {
  const material = new THREE.PointsMaterial({ size: 0.013, vertexColors: true });
  return new KeyedGroup(({ delta }) => {
    const { xyz, rgb, worldFromCamera } = readPoints(delta);
    if (xyz.length === 0) return null;
    const geometry = new THREE.BufferGeometry();
    geometry.setAttribute("position", new THREE.BufferAttribute(xyz, 3));
    geometry.setAttribute("color", new THREE.BufferAttribute(rgb, 3, true));
    const points = new THREE.Points(geometry, material);
    points.matrixAutoUpdate = false;
    points.matrix.copy(placementMatrix(worldFromCamera));
    const holder = new THREE.Group();
    holder.add(points);
    return holder;
  });
}

export function placementMatrix({ t, qWxyz }: Placement): THREE.Matrix4 {
  return matrixOf({ scale: 1, quatWxyz: qWxyz, translation: t });
}
