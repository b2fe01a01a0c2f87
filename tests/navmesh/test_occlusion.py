from itertools import product

import numpy as np
import pytest

from benchmarks.sdf_world import Box, SdfWorld, room
from navmesh.incremental import Config as TilesConfig
from navmesh.incremental import Incremental
from navmesh.occlusion import Config, build_surface_tiles, surface_window
from navmesh.recast import Agent
from navmesh.tiles import SurfaceTile, TileKey

CONFIG = Config()
WORLD = SdfWorld([*room(), Box((2.9, 0.0, 1.0), (3.9, 0.7, 1.6)), Box((4.3, 0.4, 4.1), (4.4, 0.8, 5.0))])


def tiles(world: SdfWorld, *keys: tuple[int, int]) -> list[tuple[SurfaceTile, SurfaceTile]]:
    return [
        build_surface_tiles(surface_window(world, TileKey(x, z), (-1, 6), 2), TileKey(x, z), 0.05, CONFIG)
        for x, z in keys
    ]


def triangles(tile: SurfaceTile) -> np.ndarray:
    """Corners (m, 3, 3) in world metres."""
    return tile.vertices_m[tile.indices]


def test_meshes_of_neighbours_meet_without_gap_or_overlap() -> None:
    """Every edge inside the room is used once in each direction, whichever tiles its triangles are in."""
    corners = np.concatenate([triangles(mesh) for mesh, _ in tiles(WORLD, *product(range(-1, 3), repeat=2))])
    inside = np.all((corners[:, :, [0, 2]] > 0.3) & (corners[:, :, [0, 2]] < 5.7), axis=(1, 2))
    names = [[point.tobytes() for point in triangle] for triangle in corners[inside]]
    edges = [(a, b) for p, q, r in names for a, b in ((p, q), (q, r), (r, p))]
    assert len(edges) > 10_000
    distinct = set(edges)
    assert len(distinct) == len(edges)
    open_edges = [(a, b) for a, b in edges if (b, a) not in distinct]
    assert all(is_near_rim(a) or is_near_rim(b) for a, b in open_edges)


def is_near_rim(name: bytes) -> bool:
    """Near where this test cut the surface, or where knowledge ends below the floor."""
    x, y, z = np.frombuffer(name, np.float32)
    return bool(min(x, z) < 0.45 or max(x, z) > 5.55 or y < -0.1)


def test_mesh_triangles_stay_in_their_square_and_look_at_the_free_side() -> None:
    [(mesh, _)] = tiles(WORLD, (0, 0))
    centre = triangles(mesh).mean(axis=1)
    assert (centre[:, [0, 2]] >= 0.0).all()
    assert (centre[:, [0, 2]] < 3.2).all()
    a, b, c = triangles(mesh).transpose(1, 0, 2)
    normal = np.cross(b - a, c - a)
    on_floor = (np.abs(centre[:, 1]) < 0.01) & (np.linalg.norm(normal, axis=1) > 1e-6)
    assert on_floor.sum() > 100
    assert (normal[on_floor, 1] > 0).all()
    assert mesh.rgb is not None
    assert mesh.rgb.shape == mesh.vertices_m.shape


def test_an_occluder_is_small_overlaps_and_stays_near_the_surface() -> None:
    [(mesh, occluder)] = tiles(WORLD, (0, 0))
    assert 0 < len(occluder.indices) < len(mesh.indices) / 10
    assert occluder.rgb is None
    points = occluder.vertices_m.astype(np.float32)
    distance = np.min([shape.distance(*points.T) for shape in WORLD.shapes], axis=0)
    assert np.abs(distance).max() < CONFIG.error_m + 0.03  # corners of cells cut the corners of boxes
    reach = points[:, [0, 2]].max()
    assert 3.2 + 0.05 < reach <= 3.2 + 3 * 0.05


def test_every_index_names_a_vertex_and_every_vertex_is_used() -> None:
    for tile in (tile for pair in tiles(WORLD, (0, 0), (1, 1)) for tile in pair):
        assert sorted(set(tile.indices.ravel().tolist())) == list(range(len(tile.vertices_m)))


def test_a_tile_without_surface_is_empty() -> None:
    for mesh_or_occluder in tiles(SdfWorld(room()), (40, 40))[0]:
        assert mesh_or_occluder.indices.shape == (0, 3)
        assert mesh_or_occluder.vertices_m.shape == (0, 3)


@pytest.mark.parametrize("height_m", [-7.0, 9.0])
def test_surfaces_far_up_or_down_are_found(height_m: float) -> None:
    world = SdfWorld([Box((0.0, height_m - 0.3, 0.0), (3.2, height_m, 3.2))])
    change = Incremental(world, [Agent()], TilesConfig()).step()
    top = max(float(tile.vertices_m[:, 1].max()) for tile in change.mesh)
    assert top == pytest.approx(height_m, abs=1e-3)
