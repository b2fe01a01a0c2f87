// A GLB on stdin as three.js reads it: {positions, indices, color} on stdout. The engines' packages are the first argument.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const packages = createRequire(process.argv[2] + "/");
const load = (name) => import(pathToFileURL(packages.resolve(name)).href);
globalThis.self = globalThis;
const { GLTFLoader } = await load("three/examples/jsm/loaders/GLTFLoader.js");
const { MeshoptDecoder } = await load("three/examples/jsm/libs/meshopt_decoder.module.js");

const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
const bytes = new Uint8Array(Buffer.concat(chunks));
const loader = new GLTFLoader().setMeshoptDecoder(MeshoptDecoder);
loader.parse(bytes.buffer, "", (gltf) => {
  gltf.scene.traverse((node) => {
    if (!node.isMesh) return;
    const positions = Array.from(node.geometry.attributes.position.array);
    const indices = Array.from(node.geometry.index.array);
    process.stdout.write(JSON.stringify({ positions, indices, color: node.material.color.getHex() }));
  });
}, (error) => { console.error(error); process.exit(1); });
