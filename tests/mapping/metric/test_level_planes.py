"""Up from whole level planes."""

from __future__ import annotations

import numpy as np
import pytest

from mapping.metric import level_planes
from mapping.transforms import F64, exp_so3

UP = np.array([0.0, 1.0, 0.0])


def off_deg(up: F64 | None) -> float:
    assert up is not None
    return float(np.degrees(np.arccos(np.clip(up @ UP, -1, 1))))


def leaning(direction: F64, angle_deg: float) -> F64:
    return exp_so3(np.radians(angle_deg) * np.array([1.0, 0.0, 0.0])) @ direction


def bent_room(rng: np.random.Generator, *, strip_m: float = 2.0, noise_m: float = 0.02) -> tuple[F64, F64]:
    """A wall, and a floor and a table whose normals all lean by 4 degrees, as a bend in every depth map makes them."""
    kinds = rng.choice(3, 4000, p=[0.35, 0.15, 0.5])
    points = rng.uniform([-2, 0, -2], [2, 2.4, 2], (4000, 3))
    points[kinds < 2, 2] *= strip_m / 2.0
    normals = np.where((kinds < 2)[:, None], leaning(UP, 4.0), np.array([1.0, 0.0, 0.0]))
    points[kinds == 0, 1] = 0.0
    points[kinds == 1, 1] = 0.75
    points[kinds == 2, 0] = -2.0
    return points + rng.normal(0, noise_m, points.shape), normals


@pytest.mark.parametrize("seed", range(4))
def test_planes_tell_what_leaning_normals_hide(seed: int) -> None:
    points, normals = bent_room(np.random.default_rng(seed))
    assert off_deg(level_planes.sharpen(points, normals, leaning(UP, 4.0))) < 0.3


def test_it_does_not_matter_in_which_frame() -> None:
    points, normals = bent_room(np.random.default_rng(0))
    turn = exp_so3(np.array([0.3, -1.0, 0.7]))
    here = level_planes.sharpen(points, normals, leaning(UP, 4.0))
    there = level_planes.sharpen(7.0 * points @ turn.T + 3.0, normals @ turn.T, turn @ leaning(UP, 4.0))
    assert here is not None
    assert there is not None
    np.testing.assert_allclose(there, turn @ here, atol=1e-4)


def test_a_strip_hardly_wider_than_its_noise_tells_nothing() -> None:
    points, normals = bent_room(np.random.default_rng(1), strip_m=0.1)
    assert level_planes.sharpen(points, normals, UP) is None


def test_walls_alone_tell_nothing() -> None:
    points, normals = bent_room(np.random.default_rng(2))
    upright = np.abs(normals @ UP) < 0.5
    assert level_planes.sharpen(points[upright], normals[upright], UP) is None
    assert level_planes.sharpen(points[:0], normals[:0], UP) is None
