// Follows a live scene in both engines and says what they hold, one line of JSON after the snapshot and each change.
// Usage: node follow.mjs <server> <scene> <"[[from, to], ...]">
import { connect } from "@commonground/sdk";
import * as recast from "@recast-navigation/core";
import { Box3, Raycaster, Vector3 } from "three";
import WebSocket from "ws";
import { LiveNavMesh } from "../dist/recast.js";
import { NavMeshGroup } from "../dist/three.js";

const [, , server, sceneName, queries] = process.argv;
await recast.init();
const client = connect(server, { openSocket: (url, subprotocol) => new WebSocket(url, subprotocol) });
client.on("error", ({ detail }) => {
  console.error(detail);
  process.exit(1);
});
const scene = client.subscribe(sceneName, { layers: ["nav"], parts: ["blob", "detail"] });
const live = new LiveNavMesh(scene, { agent: "human" });
const drawn = new NavMeshGroup(scene, { agent: "human" });
let isComplete = false;
scene.on("change", (change) => {
  isComplete ||= change.kind === "complete";
  if (isComplete) console.log(JSON.stringify(report()));
});

const vec = ([x, y, z]) => ({ x, y, z });
const halfExtents = { x: 1, y: 2, z: 1 };

function report() {
  const versions = Object.fromEntries([...scene.map.entries("nav")].map(({ delta }) => [delta.key.join(), delta.ver]));
  return { versions, tiles: live.size, paths: live.size ? JSON.parse(queries).map(path) : [], three: figures() };
}

function path([from, to]) {
  const query = live.query;
  const start = query.findNearestPoly(vec(from), { halfExtents });
  const goal = query.findNearestPoly(vec(to), { halfExtents });
  const corridor = query.findPath(start.nearestRef, goal.nearestRef, start.nearestPoint, goal.nearestPoint).polys;
  const reached = corridor.size > 0 && corridor.get(corridor.size - 1) === goal.nearestRef;
  const straight = query.findStraightPath(start.nearestPoint, goal.nearestPoint, corridor);
  return { reached, points: [...straight.straightPath.toTypedArray()].slice(0, 3 * straight.straightPathCount) };
}

// What three.js makes of it: walkable square metres by kind of ground, bounds, and what a ray from above hits.
function figures() {
  drawn.group.updateMatrixWorld(true);
  const areaM2 = {};
  let triangles = 0;
  const [a, b, c] = [new Vector3(), new Vector3(), new Vector3()];
  for (const mesh of drawn.group.children) {
    const { position } = mesh.geometry.attributes;
    const { index, groups, userData } = mesh.geometry;
    triangles += index.count / 3;
    for (const group of groups) {
      for (let i = group.start; i < group.start + group.count; i += 3) {
        [a, b, c].forEach((v, k) => v.fromBufferAttribute(position, index.getX(i + k)).applyMatrix4(mesh.matrixWorld));
        const turn = b.sub(a).cross(c.sub(a)).y / 2;
        if (userData.areas[userData.polygons[i / 3]] !== group.materialIndex) throw new Error("wrong kind of ground");
        areaM2[group.materialIndex] = (areaM2[group.materialIndex] ?? 0) + turn;
      }
    }
  }
  const hits = JSON.parse(queries).map(([from]) => {
    const ray = new Raycaster(new Vector3(from[0], from[1] + 1, from[2]), new Vector3(0, -1, 0), 0, 2);
    return ray.intersectObject(drawn.group)[0]?.point.y ?? null;
  });
  const minX = new Box3().setFromObject(drawn.group).min.x;
  return { meshes: drawn.group.children.length, triangles, areaM2, hits, minX };
}
