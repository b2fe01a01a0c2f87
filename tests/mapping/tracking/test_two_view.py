"""The first map: found when motion shows, refused when it does not, never mistaken on a plane."""

from __future__ import annotations

import numpy as np
import pytest

from mapping.tracking.ambiguity import scan
from mapping.tracking.two_view import StartConfig, fit_rotation, stands, start_map
from mapping.transforms import F64, angle_between, exp_so3

FOCAL = 500.0


def cloud(random: np.random.Generator, count: int = 200) -> F64:
    return random.uniform([-2, -1.5, 2], [2, 1.5, 6], (count, 3))


def plane(random: np.random.Generator, count: int = 200) -> F64:
    """A slanted wall."""
    xy = random.uniform([-2, -1.5], [2, 1.5], (count, 2))
    return np.column_stack([xy, 3.0 + 0.4 * xy[:, 0] - 0.2 * xy[:, 1]])


def cameras(baseline: F64, turn: F64, views: int = 5) -> F64:
    """Poses (v, 3, 4) evenly along a motion."""
    poses = []
    for s in np.linspace(0, 1, views):
        rotation = exp_so3(turn * s)
        poses.append(np.column_stack([rotation, -rotation @ (baseline * s)]))
    return np.array(poses)


def seen(points: F64, poses: F64, random: np.random.Generator, noise_px: float = 0.3) -> F64:
    local = np.einsum("vij,nj->vni", poses[:, :, :3], points) + poses[:, None, :, 3]
    return FOCAL * local[..., :2] / local[..., 2:] + random.normal(0, noise_px, (*local.shape[:2], 2))


SIDEWAYS = np.array([0.25, 0.02, 0.05])
FORWARD = np.array([0.02, 0.01, 0.5])
TURN = np.array([0.02, 0.06, -0.01])


@pytest.mark.parametrize("baseline", [SIDEWAYS, FORWARD, -SIDEWAYS], ids=["sideways", "forward", "other way"])
@pytest.mark.parametrize("scene", [cloud, plane])
def test_finds_the_motion(scene: object, baseline: F64) -> None:
    random = np.random.default_rng(3)
    poses = cameras(baseline, TURN)
    start = start_map(seen(scene(random), poses, random), FOCAL)  # type: ignore[operator]
    if start is None:
        assert scene is plane  # a plane may be refused, but it must not be got wrong
        return
    mine, true = start.camera_from_map[-1], poses[-1]
    assert np.degrees(angle_between(mine[:, :3], true[:, :3])) < 0.6
    cosine = mine[:, 3] @ true[:, 3] / np.linalg.norm(mine[:, 3]) / np.linalg.norm(true[:, 3])
    assert np.degrees(np.arccos(min(cosine, 1.0))) < 10.0
    assert start.good.mean() > 0.8
    assert np.median(start.points[start.good, 2]) == pytest.approx(1.0)


def test_most_planes_are_solved() -> None:
    solved = 0
    for seed in range(6):
        random = np.random.default_rng(seed)
        solved += start_map(seen(plane(random), cameras(SIDEWAYS, TURN), random), FOCAL) is not None
    assert solved >= 4


@pytest.mark.parametrize("seed", range(4))
def test_a_camera_that_only_turns_starts_nothing(seed: int) -> None:
    random = np.random.default_rng(seed)
    assert start_map(seen(cloud(random), cameras(np.zeros(3), 5 * TURN), random), FOCAL) is None


def test_a_far_scene_starts_nothing() -> None:
    random = np.random.default_rng(0)
    assert start_map(seen(100 * cloud(random), cameras(SIDEWAYS, TURN), random), FOCAL) is None


def test_too_few_points_start_nothing() -> None:
    random = np.random.default_rng(0)
    few = cloud(random, StartConfig().min_points - 1)
    assert start_map(seen(few, cameras(SIDEWAYS, TURN), random), FOCAL) is None


def test_wrong_tracks_are_left_out() -> None:
    random = np.random.default_rng(5)
    pixels = seen(cloud(random), cameras(SIDEWAYS, TURN), random)
    pixels[1:, :30] += random.uniform(-40, 40, (4, 30, 2))
    start = start_map(pixels, FOCAL)
    assert start is not None
    assert start.good[:30].mean() < 0.2 < 0.8 < start.good[30:].mean()


@pytest.mark.parametrize("scene", [cloud, plane])
def test_a_true_map_stands_and_a_false_one_falls(scene: object) -> None:
    random = np.random.default_rng(7)
    poses = cameras(2 * SIDEWAYS, TURN)
    pixels = seen(scene(random), poses, random)  # type: ignore[operator]
    assert stands(pixels, FOCAL, poses)
    believes_it_went_forward = cameras(FORWARD, np.array([0.02, -0.1, 0.0]))
    assert not stands(pixels, FOCAL, believes_it_went_forward)


def test_rotation_is_found_despite_parallax_of_a_few() -> None:
    random = np.random.default_rng(1)
    points = cloud(random)
    pixels = seen(points, cameras(np.zeros(3), TURN), random)
    pixels[-1, :20] += 15.0
    assert np.degrees(angle_between(fit_rotation(pixels[0], pixels[-1], FOCAL), exp_so3(TURN))) < 0.1


def test_a_long_baseline_narrows_the_valley() -> None:
    spreads = []
    for length in (0.02, 0.6):
        random = np.random.default_rng(2)
        pixels = seen(cloud(random), cameras(length * np.array([1.0, 0.0, 0.0]), TURN), random)
        turn = fit_rotation(pixels[0], pixels[-1], FOCAL)
        valley = scan(pixels[0], pixels[-1], FOCAL, turn)
        spreads.append(valley.spread_rad(1.5))
    assert spreads[1] < 0.5 * spreads[0]
