"""What happens to triangles on their way to an occluder."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from navmesh.coarsen import coarsen
from navmesh.triangles import compact, in_strips, inside, normals, pushed

F32 = NDArray[np.float32]
U32 = NDArray[np.uint32]


def sheet(side: int, bend_m: float = 0.0, noise_m: float = 0.0) -> tuple[F32, U32]:
    """A square of cells of 5 cm looking up, folded along its middle by `bend_m` a metre."""
    x, z = np.meshgrid(np.arange(side + 1), np.arange(side + 1), indexing="ij")
    y = np.abs(x - side // 2) * 0.05 * bend_m + np.random.default_rng(0).normal(0, 1, x.shape) * noise_m
    corner = (x * (side + 1) + z)[:-1, :-1].reshape(-1, 1, 1)
    indices = (corner + np.array([[0, 1, side + 1], [side + 1, 1, side + 2]])).reshape(-1, 3)
    return np.stack([x * 0.05, y, z * 0.05], axis=-1).reshape(-1, 3).astype(np.float32), indices.astype(np.uint32)


def area(vertices_m: F32, indices: U32) -> float:
    a, b, c = vertices_m[indices].transpose(1, 0, 2)
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)


def rim(vertices_m: F32, indices: U32) -> set[bytes]:
    """Edges with a triangle on one side only, by their ends."""
    edges = {(vertices_m[t[n]].tobytes(), vertices_m[t[n - 2]].tobytes()) for t in indices for n in range(3)}
    return {a + b for a, b in edges if (b, a) not in edges}


def test_a_flat_sheet_becomes_few_triangles_of_the_same_area_and_rim() -> None:
    flat = sheet(32)
    fewer = coarsen(*flat, 0.2, 0.01)
    assert len(fewer[1]) < len(flat[1]) / 3
    assert area(*fewer) == pytest.approx(area(*flat), rel=1e-5)
    assert rim(*fewer) == rim(*flat)
    assert (normals(*fewer)[0][:, 1] > 0).all()


def test_noise_within_the_tolerance_is_averaged() -> None:
    noisy = sheet(32, noise_m=0.003)
    fewer = coarsen(*noisy, 0.2, 0.012)
    assert len(fewer[1]) < len(noisy[1]) / 2
    assert np.abs(fewer[0][:, 1]).max() <= np.abs(noisy[0][:, 1]).max() + 1e-6


def test_a_fold_keeps_every_vertex_near_it() -> None:
    folded = sheet(32, bend_m=1.0)
    fewer, _ = coarsen(*folded, 0.2, 0.01)
    kept = {vertex.tobytes() for vertex in fewer}
    ridge = folded[0][np.abs(folded[0][:, 0] - 0.8) < 0.01]
    assert all(vertex.tobytes() in kept for vertex in ridge)
    assert len(fewer) < len(folded[0])


def test_two_sides_of_a_thin_wall_never_become_one() -> None:
    vertices, indices = sheet(16)
    below = vertices - np.float32([0, 0.06, 0])
    wall = np.concatenate([vertices, below]), np.concatenate([indices, indices[:, ::-1] + np.uint32(len(vertices))])
    fewer, _ = coarsen(*wall, 0.2, 0.01)
    assert set(np.round(fewer[:, 1], 3).tolist()) == {0.0, np.round(np.float32(-0.06), 3)}


@given(st.integers(3, 40), st.integers(0, 60), st.integers(0, 9))
def test_order_changes_no_triangle(num_vertices: int, num_triangles: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    vertices = rng.random((num_vertices, 3), np.float32)
    indices = rng.permuted(np.tile(np.arange(num_vertices, dtype=np.uint32), (num_triangles, 1)), axis=1)[:, :3]
    for reorder in (in_strips, compact):
        new_vertices, new_indices = reorder(vertices, np.ascontiguousarray(indices))
        assert turned(new_vertices[new_indices]) == turned(vertices[indices])
        first_use = list(dict.fromkeys(new_indices.ravel().tolist()))
        assert first_use == list(range(len(new_vertices)))


def turned(corners: F32) -> list[bytes]:
    """Triangles by their corners, whichever comes first, in any order."""
    return sorted(min(np.roll(t, n, axis=0).tobytes() for n in range(3)) for t in corners)


def test_every_triangle_is_inside_one_square_of_a_grid() -> None:
    vertices, indices = sheet(30, noise_m=0.01)
    parts = [inside(vertices, indices, x * 0.5, z * 0.5, 0.5) for x in range(-1, 4) for z in range(-1, 4)]
    assert sorted(map(tuple, np.concatenate(parts).tolist())) == sorted(map(tuple, indices.tolist()))


def test_pushing_moves_a_sheet_up_and_corners_along_their_bisector() -> None:
    vertices, indices = sheet(8)
    np.testing.assert_allclose(pushed(vertices, indices, 0.01) - vertices, np.tile([0, 0.01, 0], (81, 1)), atol=1e-6)
    assert len(pushed(vertices[:0], indices[:0], 0.01)) == 0


def test_nothing_in_nothing_out() -> None:
    none = np.empty((0, 3), np.float32), np.empty((0, 3), np.uint32)
    assert len(coarsen(*none, 0.2, 0.01)[1]) == 0
    assert len(in_strips(*none)[1]) == 0
