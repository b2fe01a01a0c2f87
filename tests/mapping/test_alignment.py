"""A similarity between two frames from cameras known in both."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapping.alignment import fit_cameras
from mapping.transforms import F64, Sim3, angle_between, exp_so3, rigid


def cameras(rng: np.random.Generator, num: int, *, on_a_line: bool = False) -> F64:
    places = np.outer(np.linspace(0, 1, num), [1.0, 0.2, 0.1]) if on_a_line else rng.uniform(-1, 1, (num, 3))
    return np.array([rigid(exp_so3(rng.normal(0, 0.5, 3)), place) for place in places])


def similarity(rng: np.random.Generator) -> Sim3:
    return Sim3(float(rng.uniform(0.2, 5)), exp_so3(rng.normal(0, 1, 3)), rng.normal(0, 3, 3))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 12), st.booleans())
def test_finds_any_similarity_from_two_cameras_on(seed: int, num: int, on_a_line: bool) -> None:
    rng = np.random.default_rng(seed)
    truth, poses = similarity(rng), cameras(rng, num, on_a_line=on_a_line)
    fit = fit_cameras(poses, np.array([truth.apply_pose(pose) for pose in poses]))
    assert fit is not None
    assert fit.b_from_a.scale == pytest.approx(truth.scale, rel=1e-6)
    assert angle_between(fit.b_from_a.rotation, truth.rotation) < 1e-6
    np.testing.assert_allclose(fit.b_from_a.translation, truth.translation, atol=1e-6)
    assert fit.residual < 1e-6


def test_leaves_out_cameras_that_disagree() -> None:
    rng = np.random.default_rng(3)
    truth, poses = similarity(rng), cameras(rng, 12)
    seen = np.array([truth.apply_pose(pose) for pose in poses])
    seen[2, :3, :3] = exp_so3(np.array([0.0, 1.5, 0.0])) @ seen[2, :3, :3]
    seen[7, :3, 3] += 20 * truth.scale
    fit = fit_cameras(poses, seen)
    assert fit is not None
    assert fit.num_cameras == 10
    assert fit.b_from_a.scale == pytest.approx(truth.scale, rel=1e-6)


def test_says_how_sure_the_scale_is() -> None:
    rng = np.random.default_rng(4)
    errors, claims = [], []
    for _ in range(60):
        poses = cameras(rng, 8)
        seen = poses.copy()
        seen[:, :3, 3] += rng.normal(0, 0.02, (8, 3))
        fit = fit_cameras(poses, seen)
        assert fit is not None
        errors.append(abs(fit.b_from_a.scale - 1))
        claims.append(fit.scale_sigma)
    assert 0.4 < np.median(errors) / np.median(claims) < 1.6


def test_one_place_tells_nothing() -> None:
    poses = cameras(np.random.default_rng(5), 4)
    poses[:, :3, 3] = 1.0
    assert fit_cameras(poses, poses) is None
    assert fit_cameras(poses[:1], poses[:1]) is None
