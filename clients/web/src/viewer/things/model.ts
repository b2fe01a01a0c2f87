/** A model out of a GLB: the finest level that was chosen, coarser ones for when it is far. */

import * as THREE from "three";
import { GLTFLoader } from "three/examples/jsm/loaders/GLTFLoader.js";
import { AVATAR_ORDER } from "../avatars/figure.js";

/** What the loader reads beyond plain glTF. */
export const READABLE = ["EXT_texture_webp"];
/** A level is left for a coarser one at so many times the model's size. */
const LEVEL_REACH = 14;
/** What stands in for a real thing lies in the very surface that hides the virtual: nearer to the eye by this much. */
const NEARER_M = 0.05;

export class Model {
  readonly root = new THREE.LOD();
  readonly sizeM: THREE.Vector3;

  private constructor(finest: THREE.Object3D) {
    this.sizeM = new THREE.Box3().setFromObject(finest).getSize(new THREE.Vector3());
    this.root.addLevel(finest, 0);
  }

  /** @throws Error when these bytes are no GLB that can be shown */
  static async read(glb: ArrayBuffer): Promise<Model> {
    return new Model(await parse(glb));
  }

  /** Add the next coarser level. */
  async addCoarser(glb: ArrayBuffer): Promise<void> {
    const level = await parse(glb);
    this.root.addLevel(level, LEVEL_REACH * this.root.levels.length * this.sizeM.length());
  }

  dispose(): void {
    this.root.traverse((part) => {
      if (!(part instanceof THREE.Mesh)) return;
      const { geometry, material } = part as THREE.Mesh<THREE.BufferGeometry, THREE.MeshLambertMaterial>;
      geometry.dispose();
      material.map?.dispose();
      material.dispose();
    });
    this.root.removeFromParent();
  }
}

async function parse(glb: ArrayBuffer): Promise<THREE.Object3D> {
  const loader = new GLTFLoader();
  loader.register((parser) => {
    // Images by <img>, which the page's policy lets have blobs; the loader's own way is a fetch of them.
    Object.assign(parser, { textureLoader: new THREE.TextureLoader(parser.options.manager) });
    return { name: "images" };
  });
  const { scene } = await loader.parseAsync(glb, "");
  let triangles = 0;
  scene.traverse((part) => {
    if (!(part instanceof THREE.Mesh)) return;
    const { geometry, material } = part as THREE.Mesh<THREE.BufferGeometry, THREE.MeshStandardMaterial>;
    triangles += (geometry.index?.count ?? geometry.getAttribute("position").count) / 3;
    part.material = shownAs(material, geometry.hasAttribute("color"));
    part.renderOrder = AVATAR_ORDER;
    material.dispose();
  });
  if (triangles === 0) throw new Error("there are no triangles in it");
  return scene;
}

/** Photographs as they were taken; plain colours in the light of the stage. */
function shownAs(given: THREE.MeshStandardMaterial, hasColors: boolean): THREE.Material {
  const { map } = given;
  const common = { color: given.color.clone().convertLinearToSRGB(), vertexColors: hasColors, side: given.side, transparent: true };
  const material = map === null ? new THREE.MeshLambertMaterial(common) : new THREE.MeshBasicMaterial({ ...common, map });
  if (map !== null) map.colorSpace = THREE.NoColorSpace;
  material.onBeforeCompile = (shader) => {
    shader.vertexShader = shader.vertexShader.replace(
      "#include <project_vertex>",
      `#include <project_vertex>
      vec4 nearer = projectionMatrix * (mvPosition + vec4(0.0, 0.0, ${NEARER_M.toFixed(3)}, 0.0));
      gl_Position.z = nearer.z / nearer.w * gl_Position.w;`,
    );
  };
  return material;
}
