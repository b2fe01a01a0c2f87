"""Our tiles and paths beside those of recast-navigation-js, and its time on the triangles of the same tiles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import trimesh

from benchmarks.copies import furnished, fused
from benchmarks.recast_peer import PeerMissing, ask, paths_job, slivers, tile_job
from benchmarks.sdf_world import SdfWorld
from mapping.volume.surface import extract
from navmesh.build import border_cells
from navmesh.incremental import Config as TilesConfig
from navmesh.incremental import Incremental
from navmesh.latch import Config as LatchConfig
from navmesh.latch import LatchedCells
from navmesh.occlusion import surface_window
from navmesh.query import Query
from navmesh.recast import Agent, Config, Point, TileFrame, World, build_from_spans, build_from_triangles, radius_cells
from navmesh.spans import Config as SpanConfig
from navmesh.spans import spans_of
from navmesh.tiles import NavTile, TileKey

HUMAN, CONFIG = Agent(), Config()
WATERSHED = Config(partition="watershed")
"""What the peer's own tile generators use."""
BASE_M = -102.4
NEAR_M: Point = (1.0, 2.0, 1.0)
MESH_AGENT = Agent(name="mesh", radius_m=0.6, height_m=2.0, max_climb_m=0.9, max_slope_deg=45.0)
"""The settings of Recast's own demo, for meshes made for it."""
MESH_CELL_M, MESH_CELL_HEIGHT_M, MESH_TILE_CELLS = 0.3, 0.2, 32


def triangle_route_ms() -> dict[str, Any]:
    """What the peer takes for a tile given as triangles, its border included."""
    world = SdfWorld(furnished(), noise_m=0.006)
    source = fused(world, world.block_keys())
    jobs = []
    for key in (TileKey(x, z) for x in range(1, 5) for z in range(1, 5)):
        surface = extract(surface_window(source, key, (-1, 6), 15), 0.05)
        frame = TileFrame(key, 0.05, 0.025, radius_cells(HUMAN, 0.05, CONFIG) + 3, grid_origin_m=(0.0, BASE_M, 0.0))
        jobs.append(tile_job(surface.vertices_m, surface.indices.astype(np.int32), None, frame, HUMAN, WATERSHED))
    try:
        answers = ask(jobs * 4)[len(jobs) :]  # the first round warms the compiler up
    except PeerMissing as reason:
        return {"triangle_peer_missing": str(reason)}
    rounds = np.array([answer["ms"] for answer in answers]).reshape(3, -1)
    return {"triangle_peer_ms_p50": float(np.median(rounds.min(axis=0)))}  # its clock is the wall's: its best of three


def path_parity(num_paths: int) -> dict[str, Any]:
    """Share of paths that are the same within 1 mm with our blobs loaded into the peer."""
    tiles = Incremental(SdfWorld(furnished()), [HUMAN], TilesConfig(surfaces=False)).step().nav
    query = Query([HUMAN], 0.05)
    query.set(tiles)
    rng = np.random.default_rng(9)
    places: list[Point] = []
    while len(places) < 2 * num_paths:
        x, z = rng.uniform(0.0, 19.2, 2).tolist()
        place = query.nearest((x, 0.0, z), "human", (0.05, 0.3, 0.05))
        if place is not None:
            places.append(place)
    pairs = list(zip(places[::2], places[1::2], strict=True))
    blobs = [tile.blob for tile in tiles if tile.blob]
    try:
        [theirs] = ask([paths_job(blobs, pairs, 3.2, (0.0, BASE_M, 0.0), NEAR_M)])
    except PeerMissing as reason:
        return {"parity_missing": str(reason)}
    equal = 0
    for (start, goal), other in zip(pairs, theirs["paths"], strict=True):
        path = query.path(start, goal, "human")
        equal += same_path(path.points_m.ravel(), other, path.is_partial)
    return {"parity_paths_equal": equal / num_paths, "parity_paths": num_paths}


def same_path(points: np.ndarray, other: dict[str, Any] | None, is_partial: bool) -> bool:
    """Equal to 1 mm; a goal on another island must be so for both."""
    if other is None or is_partial:
        return (other is None or not other["reached"]) and is_partial
    theirs = np.array(other["points"])
    return bool(other["reached"] and len(points) == len(theirs) and np.abs(points - theirs).max() <= 1e-3)


def tile_parity(files: Sequence[Path]) -> dict[str, Any]:
    """Tiles of the furnished floor's spans, and of meshes, beside the peer's: shares that are equal."""
    figures, of_meshes = voxel_parity(), mesh_parity(files)
    if not of_meshes or "parity_missing" in figures | of_meshes:
        return figures | of_meshes
    total = figures["parity_tiles"] + of_meshes["parity_tiles"]
    equal = sum(part["parity_tiles_equal"] * part["parity_tiles"] for part in (figures, of_meshes))
    return of_meshes | {"parity_tiles_equal": equal / total, "parity_tiles": total}


def voxel_parity() -> dict[str, Any]:
    """Share of tiles, from the same spans, whose polygons and adjacency equal the peer's."""
    world = SdfWorld(furnished(), noise_m=0.006)
    cells = LatchedCells([HUMAN.max_slope_deg], 0.05, LatchConfig())
    cells.refresh(world, cells.mark(world.block_keys()))
    ours, jobs = [], []
    for key in (TileKey(x, z) for x in range(6) for z in range(6)):
        frame = TileFrame(key, 0.05, 0.025, border_cells(HUMAN, 0.05, CONFIG), grid_origin_m=(0.0, BASE_M, 0.0))
        spans = spans_of(cells, key, frame.border_cells, 0, SpanConfig())
        ours.append(build_from_spans(spans, frame, HUMAN, CONFIG))
        jobs.append(tile_job(*slivers(spans, frame), frame, HUMAN, CONFIG))
    try:
        theirs = ask(jobs)
    except PeerMissing as reason:
        return {"parity_missing": str(reason)}
    equal = sum(same_tile(tile, other) for tile, other in zip(ours, theirs, strict=True))
    return {"parity_tiles_equal": equal / len(ours), "parity_tiles": len(ours)}


def mesh_parity(files: Sequence[Path]) -> dict[str, Any]:
    """Share of a mesh's tiles, by either partition, whose polygons and adjacency equal the peer's, and of paths."""
    equal = total = paths_equal = paths = 0
    for file in files:
        mesh = trimesh.load(file, force="mesh", process=False)
        vertices = np.asarray(mesh.vertices, np.float32)
        triangles = np.asarray(mesh.faces, np.int32)
        frames = mesh_frames(vertices)
        for config in (CONFIG, WATERSHED):
            ours = [build_from_triangles(vertices, triangles, frame, MESH_AGENT, config) for frame in frames]
            try:
                theirs = ask([tile_job(vertices, triangles, None, frame, MESH_AGENT, config) for frame in frames])
            except PeerMissing as reason:
                return {"parity_missing": str(reason)}
            total += len(frames)
            equal += sum(same_tile(tile, other) for tile, other in zip(ours, theirs, strict=True))
            same, asked = mesh_paths(ours, frames[0].grid_origin_m, vertices)
            paths_equal, paths = paths_equal + same, paths + asked
    if not files:
        return {}
    return {
        "parity_tiles_equal": equal / total,
        "parity_tiles": total,
        "parity_mesh_paths_equal": paths_equal / max(paths, 1),
        "parity_mesh_paths": paths,
    }


def mesh_frames(vertices: np.ndarray) -> list[TileFrame]:
    """Tiles that cover a mesh, counted from its low corner."""
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    tile_m = MESH_TILE_CELLS * MESH_CELL_M
    origin = (float(low[0]), float(low[1]), float(low[2]))
    border = radius_cells(MESH_AGENT, MESH_CELL_M, CONFIG) + 3
    across, along = (int(np.ceil((high[axis] - low[axis]) / tile_m)) for axis in (0, 2))
    return [
        TileFrame(TileKey(x, z), MESH_CELL_M, MESH_CELL_HEIGHT_M, border, MESH_TILE_CELLS, origin)
        for x in range(across)
        for z in range(along)
    ]


def same_tile(tile: NavTile, other: dict[str, Any]) -> bool:
    polygons = np.hstack([tile.polys, tile.neighbours]).ravel().tolist()
    return bool(tile.verts.ravel().tolist() == other["verts"] and polygons == other["polys"])


def mesh_paths(tiles: Sequence[NavTile], origin_m: Point, vertices: np.ndarray, num: int = 500) -> tuple[int, int]:
    """(equal, asked) of random paths between points on the mesh's walkable tiles."""
    tile_m = MESH_TILE_CELLS * MESH_CELL_M
    world = World(tile_m, origin_m)
    for tile in tiles:
        world.set(tile.key, tile.blob)
    rng = np.random.default_rng(10)
    places: list[Point] = []
    for x, y, z in rng.uniform(vertices.min(axis=0), vertices.max(axis=0), (20 * num, 3)).tolist():
        found = world.nearest((x, y, z), (0.3, 2.0, 0.3))
        if found is not None:
            places.append(found.point_m)
    pairs = list(zip(places[: 2 * num : 2], places[1 : 2 * num : 2], strict=False))
    [theirs] = ask([paths_job([t.blob for t in tiles if t.blob], pairs, tile_m, origin_m, NEAR_M)])
    equal = 0
    for (start, goal), other in zip(pairs, theirs["paths"], strict=True):
        points, _, is_partial = world.path(start, goal, NEAR_M)
        equal += same_path(points.ravel(), other, is_partial)
    return equal, len(pairs)
