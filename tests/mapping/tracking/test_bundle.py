"""Bundle adjustment against problems whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapping.tracking.bundle import Bundle, adjust, centres
from mapping.tracking.bundle_kernels import move_pose
from mapping.tracking.cholesky import cholesky_solve
from mapping.transforms import F64, exp_so3, umeyama

FOCAL = 500.0


def problem(seed: int, *, noise_px: float, num_cameras: int = 8, num_points: int = 150) -> tuple[Bundle, Bundle]:
    """(disturbed, true) bundles: cameras along a curve that look at a cloud 2-5 m away."""
    random = np.random.default_rng(seed)
    points = random.uniform([-2, -1.5, 2], [2, 1.5, 5], (num_points, 3))
    cameras = []
    for i in range(num_cameras):
        rotation = exp_so3(random.normal(0, 0.05, 3))
        centre = np.array([i * 0.1, 0.05 * np.sin(i), 0.03 * i])
        cameras.append(np.column_stack([rotation, -rotation @ centre]))
    poses = np.array(cameras)
    camera_index, point_index = (x.ravel() for x in np.meshgrid(np.arange(num_cameras), np.arange(num_points)))
    pixels = projected(poses, points, camera_index, point_index, FOCAL)
    true = Bundle(poses, points, camera_index, point_index, pixels, FOCAL)
    wrong = poses.copy()
    for i in range(1, num_cameras):
        move_pose(poses[i], random.normal(0, 0.02, 6), wrong[i])
    measured = pixels + random.normal(0, noise_px, pixels.shape)
    disturbed = points * (1 + random.normal(0, 0.05, (num_points, 1)))
    return Bundle(wrong, disturbed, camera_index, point_index, measured, FOCAL), true


def projected(poses: F64, points: F64, camera_index: F64, point_index: F64, focal: float) -> F64:
    local = np.einsum("oij,oj->oi", poses[camera_index][:, :, :3], points[point_index]) + poses[camera_index][:, :, 3]
    return focal * local[:, :2] / local[:, 2:]


def all_but_first(bundle: Bundle) -> np.ndarray:
    free = np.ones(len(bundle.camera_from_map), np.bool_)
    free[0] = False
    return free


def test_recovers_cameras_up_to_scale() -> None:
    disturbed, true = problem(1, noise_px=0.3)
    before = np.linalg.norm(centres(disturbed.camera_from_map) - centres(true.camera_from_map), axis=1).max()
    result = adjust(disturbed, all_but_first(disturbed), iterations=20)
    mine, theirs = centres(result.camera_from_map), centres(true.camera_from_map)
    error = np.linalg.norm(umeyama(mine, theirs).apply(mine) - theirs, axis=1).max()
    assert error < 0.004 < before
    assert np.sqrt(np.mean(result.squared_error_px2)) < 0.45


def test_fixed_camera_stays_and_scale_is_kept() -> None:
    disturbed, _ = problem(2, noise_px=0.5)
    result = adjust(disturbed, all_but_first(disturbed))
    np.testing.assert_array_equal(result.camera_from_map[0], disturbed.camera_from_map[0])
    before, after = (
        np.linalg.norm(centres(p) - centres(p)[0]) for p in (disturbed.camera_from_map, result.camera_from_map)
    )
    assert after == pytest.approx(before, rel=1e-9)


def test_wrong_observations_do_not_drag_the_cameras() -> None:
    disturbed, true = problem(3, noise_px=0.3)
    random = np.random.default_rng(0)
    wrong = random.random(len(disturbed.pixels)) < 0.05
    disturbed.pixels[wrong] += random.uniform(-60, 60, (int(wrong.sum()), 2))
    result = adjust(disturbed, all_but_first(disturbed), iterations=25)
    mine, theirs = centres(result.camera_from_map), centres(true.camera_from_map)
    assert np.linalg.norm(umeyama(mine, theirs).apply(mine) - theirs, axis=1).max() < 0.02
    assert np.median(result.squared_error_px2[wrong]) > 100 * np.median(result.squared_error_px2[~wrong])


def test_finds_a_focal_length_that_was_guessed_wrong() -> None:
    disturbed, _ = problem(4, noise_px=0.3)
    guessed = Bundle(
        disturbed.camera_from_map,
        disturbed.points,
        disturbed.camera_index,
        disturbed.point_index,
        disturbed.pixels,
        1.08 * FOCAL,
    )
    result = adjust(guessed, all_but_first(guessed), iterations=30, focal_prior_sigma=0.15)
    assert result.focal_px == pytest.approx(FOCAL, abs=max(4 * result.focal_sigma_px, 3.0))
    assert result.focal_sigma_px < 0.02 * FOCAL


def test_refuses_to_float() -> None:
    disturbed, _ = problem(5, noise_px=0.0)
    with pytest.raises(ValueError, match="fix at least one camera"):
        adjust(disturbed, np.ones(len(disturbed.camera_from_map), np.bool_))


def test_observations_behind_a_camera_are_infinite_not_fatal() -> None:
    disturbed, _ = problem(6, noise_px=0.3)
    disturbed.points[0] = [0.0, 0.0, -3.0]
    result = adjust(disturbed, all_but_first(disturbed))
    assert np.isfinite(result.camera_from_map).all()
    assert np.isinf(result.squared_error_px2[disturbed.point_index == 0]).any()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.0, 2.0))
def test_never_makes_things_worse(seed: int, noise_px: float) -> None:
    disturbed, _ = problem(seed, noise_px=noise_px, num_cameras=3, num_points=20)
    result = adjust(disturbed, all_but_first(disturbed), iterations=4, robust_px=1e6)
    start = projected(disturbed.camera_from_map, disturbed.points, disturbed.camera_index, disturbed.point_index, FOCAL)
    assert result.squared_error_px2.sum() <= np.sum((start - disturbed.pixels) ** 2) * (1 + 1e-9)
    for pose in result.camera_from_map:
        np.testing.assert_allclose(pose[:, :3] @ pose[:, :3].T, np.eye(3), atol=1e-9)


@given(st.integers(0, 10_000), st.integers(1, 9))
def test_cholesky_solves_and_refuses(seed: int, size: int) -> None:
    random = np.random.default_rng(seed)
    a = random.normal(size=(size, size))
    positive = a @ a.T + 0.1 * np.eye(size)
    b = random.normal(size=size)
    x = b.copy()
    assert cholesky_solve(positive.copy(), x)
    np.testing.assert_allclose(positive @ x, b, rtol=1e-6, atol=1e-6)
    assert not cholesky_solve(-positive, b.copy())
