"""Up from sensors, planes and habits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapping.metric import gravity
from mapping.metric.gravity import Gravity
from mapping.metric.upright_lines import Edges
from mapping.transforms import F64, exp_so3, look_at, rigid, rotation_between

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


def held(yaw_deg: float, down_deg: float, roll_deg: float) -> F64:
    """A camera in a world whose up is UP."""
    down, roll = np.radians(down_deg), np.radians(roll_deg)
    level = look_at([0, 0, 0], [np.sin(np.radians(yaw_deg)), 0, -np.cos(np.radians(yaw_deg))])
    turn = rotation_between(np.array([0.0, 1.0, 0.0]), UP)
    return rigid(turn @ level[:3, :3] @ exp_so3(np.array([-down, 0, 0])) @ exp_so3(np.array([0, 0, roll])), [1, 2, 3])


def test_cameras_give_a_humble_guess() -> None:
    for down_deg in (0.0, 15.0, 35.0):
        estimate = gravity.up_from_cameras([held(20.0, down_deg, 0.0)] * 2)
        assert off_deg(estimate) < 21
        assert estimate is not None
        assert off_deg(estimate) < 2 * estimate.sigma_deg
        assert estimate.sigma_deg >= 10
    assert gravity.up_from_cameras([]) is None
    pose = held(0.0, 0.0, 0.0)
    assert gravity.up_from_cameras([pose, pose @ rigid(np.diag([-1.0, -1.0, 1.0]), [0, 0, 0])]) is None


def test_who_looks_around_knows_up_however_he_tilts_the_phone() -> None:
    rng = np.random.default_rng(3)
    still = gravity.up_from_cameras([held(0.0, 40.0, 3.0)])
    around = gravity.up_from_cameras([held(yaw, 40.0, rng.normal(0, 3)) for yaw in range(0, 180, 10)])
    assert off_deg(around) < 4 < off_deg(still)
    assert still is not None
    assert around is not None
    assert around.sigma_deg < 0.6 * still.sigma_deg


@pytest.mark.parametrize("down_deg", [0.0, 25.0])
def test_a_phone_held_head_over_is_told_by_floors_and_tables(down_deg: float) -> None:
    _, normals = room(np.random.default_rng(1), 0.01, 0.2)
    upright = [held(yaw, down_deg, 2.0) for yaw in range(0, 60, 10)]
    head_over = [pose @ rigid(np.diag([-1.0, -1.0, 1.0]), np.zeros(3)) for pose in upright]
    expected = gravity.up_from_cameras(upright)
    assert off_deg(expected) < 20
    for poses in (upright, head_over):
        assert off_deg(gravity.up_from_holding(poses, normals)) == pytest.approx(off_deg(expected), abs=1e-6)
    walls = normals[np.abs(normals @ UP) < 0.5]
    for unsure in (walls, normals[:200], np.empty((0, 3))):
        assert off_deg(gravity.up_from_holding(upright, unsure)) < 20
        assert off_deg(gravity.up_from_holding(head_over, unsure)) > 120
    assert gravity.up_from_holding([], normals) is None


@pytest.mark.parametrize("seed", range(4))
def test_lines_give_up_to_a_degree_and_claim_what_they_are_off(seed: int) -> None:
    rng = np.random.default_rng(seed)
    guess = Gravity(tilted(UP, 7.0, rng), 5.0, "planes")
    estimate = gravity.up_from_lines(walk_edges(rng, num=30), guess)
    assert estimate is not None
    assert estimate.source == "lines"
    assert off_deg(estimate) < 1.0
    assert 1.0 <= estimate.sigma_deg < 2.0


def walk_edges(rng: np.random.Generator, num: int) -> list[Edges]:
    """A third of the edges upright, each image leaning a little its own way; the others anyhow."""
    images = []
    for _ in range(num):
        anyhow = rng.normal(size=(60, 3))
        leaning = tilted(UP, abs(rng.normal(0, 1.0)), rng)
        upright = np.cross(rng.normal(size=(30, 3)), leaning)
        normals = np.concatenate([anyhow, upright])
        images.append(Edges(normals / np.linalg.norm(normals, axis=1, keepdims=True), np.full(90, 1 / 90)))
    return images


def test_estimates_that_agree_are_averaged_by_their_errors() -> None:
    rng = np.random.default_rng(5)
    near = Gravity(tilted(UP, 1.0, rng), 1.0, "motion")
    far = Gravity(tilted(UP, 2.0, rng), 2.0, "lines")
    both = gravity.fuse([far, None, near])
    assert both is not None
    assert both.source == "motion"
    assert both.sigma_deg < near.sigma_deg
    assert np.degrees(np.arccos(both.up @ near.up)) < np.degrees(np.arccos(both.up @ far.up)) / 3
    assert gravity.fuse([None]) is None


def test_an_estimate_that_contradicts_a_surer_one_does_not_pull_it() -> None:
    sure, wrong = Gravity(UP, 0.8, "motion"), Gravity(tilted(UP, 15.0, np.random.default_rng(6)), 2.0, "lines")
    assert off_deg(gravity.fuse([wrong, sure])) < 1e-6


def test_estimates_that_scatter_more_than_they_claim_are_believed_less() -> None:
    rng = np.random.default_rng(7)
    apart = [Gravity(tilted(UP, 6.0, rng), 1.5, "lines"), Gravity(UP, 1.5, "planes")]
    alike = gravity.fuse([Gravity(UP, 1.5, "lines"), Gravity(UP, 1.5, "planes")])
    doubted = gravity.fuse(apart)
    assert alike is not None
    assert doubted is not None
    assert doubted.sigma_deg > 1.9 * alike.sigma_deg
