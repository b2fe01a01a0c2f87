"""Noise leaves flat places; edges and rims stay."""

from __future__ import annotations

import numpy as np

from benchmarks.sdf_world import Box, SdfWorld
from mapping.volume.surface import extract
from navmesh.calm import calmed


def test_flat_ground_loses_noise_and_no_vertex_moves_farther_than_allowed() -> None:
    floor = SdfWorld([Box((-5.0, -1.0, -5.0), (5.0, 0.0, 5.0))], noise_m=0.008)
    surface = extract(floor.window((0, -4, 0), (40, 8, 40)), 0.05)
    calm = calmed(surface.vertices_m, surface.indices, 0.02)
    inner = np.all((surface.vertices_m[:, [0, 2]] > 0.2) & (surface.vertices_m[:, [0, 2]] < 1.8), axis=1)
    assert calm[inner, 1].std() < 0.7 * surface.vertices_m[inner, 1].std()
    barely = calmed(surface.vertices_m, surface.indices, 0.001)
    moved_m = np.linalg.norm(barely - surface.vertices_m, axis=1)
    assert 0.0009 < moved_m.max() < 0.0011


def test_edges_and_corners_of_a_box_stay() -> None:
    box = SdfWorld([Box((0.5, 0.5, 0.5), (1.5, 1.5, 1.5))])
    surface = extract(box.window((0, 0, 0), (40, 40, 40)), 0.05)
    calm = calmed(surface.vertices_m, surface.indices, 0.005)
    beyond = np.abs(surface.vertices_m - 1.0)
    at_edge = np.sort(beyond, axis=1)[:, 1] > 0.47
    assert at_edge.sum() > 100
    np.testing.assert_array_equal(calm[at_edge], surface.vertices_m[at_edge])


def test_nothing_comes_of_nothing() -> None:
    empty = np.empty((0, 3), np.float32)
    assert calmed(empty, np.empty((0, 3), np.uint32), 0.005).shape == (0, 3)
