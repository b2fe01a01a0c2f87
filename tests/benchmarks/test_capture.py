"""The benchmark's own truth and measures, without a capture: those are in tests/mapping/objects."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import capture
from mapping.objects.mesh import moved
from mapping.objects.quality import measure
from mapping.transforms import angle_between
from streams.frame import Intrinsics

K = Intrinsics.from_fov(130, 98)
SCENE = capture.build()


def test_the_truth_is_one_solid_mug_on_a_box() -> None:
    quality = measure(SCENE.thing, 10_000)
    assert quality.is_manifold
    assert quality.bodies == 1
    assert SCENE.thing.bounds_m()[1][1] == pytest.approx(0.31)


def test_f1_falls_with_distance_and_is_not_aligned_first() -> None:
    assert capture.f1(SCENE.thing, SCENE.thing) > 0.999
    assert capture.f1(moved(SCENE.thing, np.array([0.0, 0.02, 0.0])), SCENE.thing) < 0.7
    assert capture.f1(moved(SCENE.thing, np.array([0.5, 0.0, 0.0])), SCENE.thing) == 0.0


def test_views_are_exact_and_noise_is_as_large_as_it_says() -> None:
    views = [SCENE.view(pose, K) for pose in capture.poses(SCENE, 2)]
    for view in views:
        assert view.mask is not None
        assert view.depth_m is not None
        assert 300 < view.mask.sum() < 4000
        assert (view.depth_m[view.mask] > 0.4).all()
    off = capture.noisy(views, 1, 0.004, 1.0, 0.01)
    for exact, noisy in zip(views, off, strict=True):
        a, b = exact.world_from_camera, noisy.world_from_camera
        assert np.degrees(angle_between(a[:3, :3], b[:3, :3])) == pytest.approx(1.0)
        assert np.linalg.norm(a[:3, 3] - b[:3, 3]) == pytest.approx(0.01)
        assert exact.depth_m is not None
        known = exact.depth_m > 0
        assert np.std((noisy.depth_m - exact.depth_m)[known]) == pytest.approx(0.004, rel=0.05)
