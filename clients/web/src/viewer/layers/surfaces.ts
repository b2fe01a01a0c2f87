/** Mesh tiles in their own colours, and occluder tiles as a tint over what they hide. */

import * as THREE from "three";
import { readSurface, type Surface } from "../../sdk/layers.js";
import { type Build, KeyedGroup } from "./keyed.js";

export function meshLayer(): KeyedGroup {
  const coloured = new THREE.MeshLambertMaterial({ vertexColors: true });
  const plain = new THREE.MeshLambertMaterial({ color: 0x9aa7b5 });
  return new KeyedGroup(({ delta }) => {
    const surface = readSurface(delta);
    const geometry = geometryOf(surface);
    if (geometry === null) return null;
    geometry.computeVertexNormals();
    return new THREE.Mesh(geometry, surface.rgb === null ? plain : coloured);
  });
}

export function occluderLayer(): KeyedGroup {
  const tint = new THREE.MeshBasicMaterial({
    color: 0xa78bfa,
    transparent: true,
    opacity: 0.14,
    depthWrite: false,
    polygonOffset: true,
    polygonOffsetFactor: -1,
    polygonOffsetUnits: -2,
  });
  const edge = new THREE.LineBasicMaterial({ color: 0xc4b5fd, transparent: true, opacity: 0.2, depthWrite: false });
  const build: Build = ({ delta }) => {
    const geometry = geometryOf(readSurface(delta));
    if (geometry === null) return null;
    const mesh = new THREE.Mesh(geometry, tint);
    mesh.renderOrder = 2;
    mesh.add(new THREE.LineSegments(new THREE.WireframeGeometry(geometry), edge));
    return mesh;
  };
  return new KeyedGroup(build);
}

export function geometryOf({ vertices, indices, rgb }: Surface): THREE.BufferGeometry | null {
  if (indices.length === 0) return null;
  const geometry = new THREE.BufferGeometry();
  geometry.setAttribute("position", new THREE.BufferAttribute(vertices, 3));
  geometry.setIndex(new THREE.BufferAttribute(indices, 1));
  if (rgb !== null) geometry.setAttribute("color", new THREE.BufferAttribute(rgb, 3, true));
  return geometry;
}
