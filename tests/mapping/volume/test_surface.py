"""The surface of a voxel window: right place, right side, nothing where nothing is known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.measure import marching_cubes

from mapping.changes import VoxelWindow
from mapping.volume.surface import Surface, extract

SIZE_M = 0.05


def window(distance_m: NDArray[np.float64], origin: tuple[int, int, int] = (0, 0, 0)) -> VoxelWindow:
    tsdf_m = np.clip(distance_m, -0.15, 0.15).astype(np.float32)
    rgb = np.full((*tsdf_m.shape, 3), 90, np.uint8)
    return VoxelWindow(origin, tsdf_m, np.ones_like(tsdf_m), rgb)


def centres(shape: tuple[int, int, int], origin: tuple[int, int, int] = (0, 0, 0)) -> NDArray[np.float64]:
    return (np.moveaxis(np.indices(shape), 0, -1) + np.array(origin) + 0.5) * SIZE_M


def ball(shape: tuple[int, int, int], middle: float = 0.8, radius: float = 0.5) -> NDArray[np.float64]:
    return np.linalg.norm(centres(shape) - middle, axis=-1) - radius


def normals(surface: Surface) -> NDArray[np.float64]:
    a, b, c = np.moveaxis(surface.vertices_m[surface.indices].astype(np.float64), 1, 0)
    return np.cross(b - a, c - a) / 2


def test_a_ball_is_where_it_is_and_faces_outwards() -> None:
    surface = extract(window(ball((32, 32, 32))), SIZE_M)
    radii = np.linalg.norm(surface.vertices_m - 0.8, axis=1)
    assert np.abs(radii - 0.5).max() < 0.06 * SIZE_M
    outward = surface.vertices_m[surface.indices].mean(axis=1) - 0.8
    assert np.all(np.sum(normals(surface) * outward, axis=1) > 0)
    assert np.all(surface.rgb == 90)


def test_a_closed_surface_has_no_boundary() -> None:
    surface = extract(window(ball((32, 32, 32))), SIZE_M)
    edges = np.concatenate([surface.indices[:, [0, 1]], surface.indices[:, [1, 2]], surface.indices[:, [2, 0]]])
    forward = {tuple(edge) for edge in edges.tolist()}
    assert len(forward) == len(edges)
    assert all((b, a) in forward for a, b in forward)


def test_agrees_with_marching_cubes() -> None:
    waves = np.sin(7 * centres((24, 24, 24))).sum(axis=-1) * 0.04
    ours = extract(window(waves), SIZE_M)
    theirs, faces, _, _ = marching_cubes(np.clip(waves, -0.15, 0.15), 0.0)
    theirs_m = (theirs + 0.5) * SIZE_M
    gap = np.linalg.norm(ours.vertices_m[:, None] - theirs_m[None], axis=-1)
    assert gap.min(axis=1).max() < SIZE_M
    inner = np.all((theirs_m > 2 * SIZE_M) & (theirs_m < 22 * SIZE_M), axis=1)
    assert gap.min(axis=0)[inner].max() < SIZE_M
    area = np.linalg.norm(normals(ours), axis=1).sum()
    a, b, c = np.moveaxis(theirs_m[faces], 1, 0)
    assert area == pytest.approx(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2, rel=0.15)


def test_ends_where_knowledge_ends() -> None:
    full = window(centres((12, 12, 12))[..., 1] - 0.3)
    weight = full.weight.copy()
    weight[5, 5, 5] = 0
    surface = extract(VoxelWindow((0, 0, 0), full.tsdf_m, weight, full.rgb), SIZE_M)
    unknown_m = centres((12, 12, 12))[5, 5, 5]
    nearest = np.abs(surface.vertices_m - unknown_m)[:, [0, 2]].max(axis=1).min()
    assert nearest > 0.9 * SIZE_M / 2
    assert len(surface.indices) < len(extract(full, SIZE_M).indices)
    assert len(extract(VoxelWindow((0, 0, 0), full.tsdf_m, 0 * weight, full.rgb), SIZE_M).vertices_m) == 0


def test_a_step_too_steep_for_a_surface_is_none() -> None:
    jump = np.where(centres((8, 8, 8))[..., 0] > 0.2, 0.15, -0.15)
    assert len(extract(window(jump), SIZE_M).vertices_m) == 0


def test_overlapping_windows_share_vertices_bit_for_bit() -> None:
    distance = ball((32, 32, 32))
    whole = extract(window(distance), SIZE_M)
    part = extract(window(distance[7:, 3:, 11:], (7, 3, 11)), SIZE_M)
    known = {tuple(vertex) for vertex in whole.vertices_m.tolist()}
    assert len(part.vertices_m) > 100
    assert all(tuple(vertex) in known for vertex in part.vertices_m.tolist())


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 8, 8), (2, 2, 2), (8, 1, 3)])
def test_small_windows_are_no_trouble(shape: tuple[int, int, int]) -> None:
    surface = extract(window(centres(shape)[..., 0] - 0.05), SIZE_M)
    assert surface.indices.shape == (0, 3)
    assert surface.indices.dtype == np.uint32
