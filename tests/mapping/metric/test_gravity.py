"""Up from sensors, planes and habits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapping.metric import gravity
from mapping.metric.gravity import Gravity
from mapping.transforms import F64, exp_so3, rigid, rotation_between

UP = np.array([0.1, -0.95, 0.3]) / np.linalg.norm([0.1, -0.95, 0.3])


def off_deg(estimate: Gravity | None) -> float:
    assert estimate is not None
    return float(np.degrees(np.arccos(np.clip(estimate.up @ UP, -1, 1))))


def tilted(direction: F64, angle_deg: float, rng: np.random.Generator) -> F64:
    axis = np.cross(direction, rng.normal(size=3))
    return exp_so3(np.radians(angle_deg) * axis / np.linalg.norm(axis)) @ direction


def room(rng: np.random.Generator, depth_noise: float, normal_noise: float, num: int = 4000) -> tuple[F64, F64]:
    """Points and normals of a floor, a table and two walls, +Y up, then turned so that UP is up."""
    kinds = rng.choice(4, num, p=[0.35, 0.15, 0.25, 0.25])
    points = rng.uniform([-2, 0, -2], [2, 2.4, 2], (num, 3))
    normals = np.zeros((num, 3))
    for kind, axis, at in ((0, 1, 0.0), (1, 1, 0.75), (2, 0, -2.0), (3, 2, -2.0)):
        points[kinds == kind, axis] = at
        normals[kinds == kind, axis] = 1.0
    points += rng.normal(0, depth_noise, points.shape)
    normals += rng.normal(0, normal_noise, normals.shape)
    turn = rotation_between(np.array([0.0, 1.0, 0.0]), UP)
    return points @ turn.T, (normals / np.linalg.norm(normals, axis=1, keepdims=True)) @ turn.T


def test_sensor_samples_are_averaged_without_the_wild_ones() -> None:
    rng = np.random.default_rng(0)
    ups = np.array([tilted(UP, abs(rng.normal(0, 1.0)), rng) for _ in range(60)])
    ups[:12] = [tilted(UP, 40.0, rng) for _ in range(12)]
    estimate = gravity.up_from_motion(ups)
    assert off_deg(estimate) < 0.7
    assert estimate is not None
    assert estimate.source == "motion"
    assert off_deg(estimate) < 3 * estimate.sigma_deg
    assert gravity.up_from_motion(np.empty((0, 3))) is None


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.floats(0, 30))
def test_a_clean_room_gives_up_to_a_degree_from_a_poor_guess(seed: int, guess_off_deg: float) -> None:
    rng = np.random.default_rng(seed)
    points, normals = room(rng, 0.01, 0.05)
    estimate = gravity.up_from_planes(points, normals, tilted(UP, guess_off_deg, rng))
    assert off_deg(estimate) < 1.0


@pytest.mark.parametrize("seed", range(5))
def test_normals_of_no_use_still_leave_the_heights(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points, normals = room(rng, 0.04, 0.7)
    estimate = gravity.up_from_planes(points, normals, tilted(UP, 20.0, rng))
    assert off_deg(estimate) < 3.0
    assert estimate is not None
    assert estimate.sigma_deg >= 3.0


def test_a_shapeless_cloud_tells_nothing() -> None:
    rng = np.random.default_rng(1)
    points, normals = rng.normal(size=(3000, 3)), rng.normal(size=(3000, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    assert gravity.up_from_planes(points, normals, UP) is None
    assert gravity.up_from_planes(points[:10], normals[:10], UP) is None


def test_cameras_give_a_humble_guess() -> None:
    pose = rigid(rotation_between(np.array([0.0, -1.0, 0.0]), UP), [1, 2, 3])
    estimate = gravity.up_from_cameras([pose, pose])
    assert off_deg(estimate) < 1e-6
    assert estimate is not None
    assert estimate.sigma_deg >= 10
    assert gravity.up_from_cameras([]) is None
    flipped = pose @ rigid(np.diag([-1.0, -1.0, 1.0]), [0, 0, 0])
    assert gravity.up_from_cameras([pose, flipped]) is None


def test_the_surest_wins() -> None:
    a, b = Gravity(UP, 5.0, "planes"), Gravity(UP, 0.8, "motion")
    assert gravity.best([None, a, b]) is b
    assert gravity.best([None]) is None
