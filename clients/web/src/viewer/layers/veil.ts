/**
 * What really stands there, drawn into the depth buffer only: whatever is drawn after it is hidden behind real things,
 * whether their surfaces are shown or not.
 */

import * as THREE from "three";
import { readSurface } from "../../sdk/layers.js";
import { KeyedGroup } from "./keyed.js";
import { geometryOf } from "./surfaces.js";

/** After everything that shows the map, before everything that walks in it. */
const ORDER = 10;

export function veilLayer(): KeyedGroup {
  const depthOnly = new THREE.MeshBasicMaterial({
    colorWrite: false,
    transparent: true, // sorts it after the opaque map; seen from behind, walls hide as little as their surfaces do
    polygonOffset: true, // occluders are simplified by up to 2 cm: feet on the floor must not drown in it
    polygonOffsetFactor: 1.5,
    polygonOffsetUnits: 4,
  });
  return new KeyedGroup(({ delta }) => {
    const geometry = geometryOf(readSurface(delta));
    if (geometry === null) return null;
    const mesh = new THREE.Mesh(geometry, depthOnly);
    mesh.renderOrder = ORDER;
    return mesh;
  });
}
