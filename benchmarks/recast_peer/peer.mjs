// The peer: answers one JSON list of jobs from stdin with one JSON list on stdout. All units are Recast's.
import { performance } from 'node:perf_hooks';
import * as R from '@recast-navigation/core';

await R.init();

const read = async () => {
  const chunks = [];
  for await (const chunk of process.stdin) chunks.push(chunk);
  return JSON.parse(Buffer.concat(chunks).toString('utf8'));
};

const filled = (array, values) => (array.copy(values), array);
const bytes = (base64, Type) => {
  const buffer = Buffer.from(base64, 'base64');
  return new Type(buffer.buffer.slice(buffer.byteOffset, buffer.byteOffset + buffer.length));
};
const vec = ([x, y, z]) => ({ x, y, z });

// Recast's pipeline on triangles whose areas are given, or found by slope.
const buildTile = (job) => {
  const context = new R.RecastBuildContext(false);
  const begun = performance.now();
  const vertices = filled(new R.FloatArray(), bytes(job.vertices, Float32Array));
  const triangles = filled(new R.IntArray(), bytes(job.triangles, Int32Array));
  const count = triangles.size / 3;
  const areas = filled(new R.UnsignedCharArray(), job.areas ? bytes(job.areas, Uint8Array) : new Uint8Array(count));
  if (!job.areas) R.markWalkableTriangles(context, job.max_slope_deg, vertices, vertices.size / 3, triangles, count, areas);

  const field = R.allocHeightfield();
  R.createHeightfield(context, field, job.side, job.side, job.bmin, job.bmax, job.cs, job.ch);
  R.rasterizeTriangles(context, vertices, vertices.size / 3, triangles, areas, count, field, job.merge_climb);
  if (job.filter_low_hanging) R.filterLowHangingWalkableObstacles(context, job.climb, field);
  R.filterLedgeSpans(context, job.height, job.climb, field);
  R.filterWalkableLowHeightSpans(context, job.height, field);
  const compact = R.allocCompactHeightfield();
  R.buildCompactHeightfield(context, job.height, job.climb, field, compact);
  R.freeHeightfield(field);
  R.erodeWalkableArea(context, job.radius, compact);
  if (job.partition === 'monotone') {
    R.buildRegionsMonotone(context, compact, job.border, job.min_region, job.merge_region);
  } else {
    R.buildDistanceField(context, compact);
    R.buildRegions(context, compact, job.border, job.min_region, job.merge_region);
  }
  const contours = R.allocContourSet();
  R.buildContours(context, compact, job.contour_error, job.max_edge, contours, 1);
  const mesh = R.allocPolyMesh();
  R.buildPolyMesh(context, contours, 6, mesh);
  const detail = R.allocPolyMeshDetail();
  R.buildPolyMeshDetail(context, mesh, compact, job.detail_sample, job.detail_error, detail);
  const ms = performance.now() - begun;

  const stride = 12;
  const answer = { ms, verts: [], polys: [], areas: [] };
  for (let i = 0; i < 3 * mesh.nverts(); i++) answer.verts.push(mesh.verts(i));
  for (let i = 0; i < stride * mesh.npolys(); i++) answer.polys.push(mesh.polys(i));
  for (let i = 0; i < mesh.npolys(); i++) answer.areas.push(mesh.areas(i));
  R.freeCompactHeightfield(compact);
  R.freeContourSet(contours);
  R.freePolyMesh(mesh);
  R.freePolyMeshDetail(detail);
  for (const array of [vertices, triangles, areas]) array.destroy();
  return answer;
};

// Our Detour blobs in the peer's navmesh, and paths between points on it.
const findPaths = (job) => {
  const mesh = new R.NavMesh();
  mesh.initTiled(
    R.NavMeshParams.create({
      orig: vec(job.origin),
      tileWidth: job.tile_size,
      tileHeight: job.tile_size,
      maxTiles: 1 << job.tile_bits,
      maxPolys: 1 << job.poly_bits,
    }),
  );
  let added = 0;
  for (const blob of job.tiles) {
    const data = filled(new R.UnsignedCharArray(), bytes(blob, Uint8Array));
    added += R.statusSucceed(mesh.addTile(data, 1, 0).status) ? 1 : 0;
  }
  const query = new R.NavMeshQuery(mesh, { maxNodes: 16384 });
  const halfExtents = vec(job.half_extents);
  const paths = job.queries.map(([start, goal]) => {
    const from = query.findNearestPoly(vec(start), { halfExtents });
    const to = query.findNearestPoly(vec(goal), { halfExtents });
    if (!from.nearestRef || !to.nearestRef) return null;
    const corridor = query.findPath(from.nearestRef, to.nearestRef, from.nearestPoint, to.nearestPoint, { maxPathPolys: 4096 });
    const reached = corridor.polys.size > 0 && corridor.polys.get(corridor.polys.size - 1) === to.nearestRef;
    const straight = query.findStraightPath(from.nearestPoint, to.nearestPoint, corridor.polys, { maxStraightPathPoints: 4096 });
    const points = [...straight.straightPath.toTypedArray()].slice(0, 3 * straight.straightPathCount);
    for (const array of [corridor.polys, straight.straightPath, straight.straightPathFlags, straight.straightPathRefs]) array.destroy();
    return { reached, points };
  });
  return { added, paths };
};

const jobs = { build_tile: buildTile, find_paths: findPaths };
const answers = (await read()).map((job) => jobs[job.job](job));
process.stdout.write(JSON.stringify(answers));
