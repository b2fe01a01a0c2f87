"""Cameras, canvas, unit and trust: the arithmetic around the network."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mapping.cross_check import Heard, hear
from mapping.engines.vggt.cameras import camera_from_world, focal_px, shared_focal_px, window_from_camera
from mapping.engines.vggt.canvas import alike, arrange
from mapping.engines.vggt.landmarks import Comparison, compare
from mapping.engines.vggt.trust import confidence
from mapping.engines.vggt.unit import window_from_network
from mapping.transforms import F64, Sim3, exp_so3, quat_from_rotation, rigid
from streams.frame import Intrinsics
from tests.mapping.test_cross_check import wall

RNG = np.random.default_rng(5)


def encoding(pose: F64, fov: tuple[float, float] = (0.9, 1.1), length: float = 1.0) -> np.ndarray:
    """What the network would say of camera_from_world (4, 4)."""
    w, x, y, z = length * quat_from_rotation(pose[:3, :3])
    return np.array([*pose[:3, 3], x, y, z, w, *fov], np.float32)


@given(st.lists(st.floats(-3, 3), min_size=6, max_size=6), st.floats(0.2, 5))
def test_encodings_of_any_length_become_poses(numbers: list[float], length: float) -> None:
    pose = rigid(exp_so3(np.array(numbers[:3])), numbers[3:])
    found = camera_from_world(encoding(pose, length=length)[None])[0]
    np.testing.assert_allclose(found, pose, atol=1e-5)
    window = window_from_camera(encoding(pose, length=length)[None])[0]
    assert window is not None
    np.testing.assert_allclose(window @ pose, np.eye(4), atol=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_no_pose(bad: float) -> None:
    broken = encoding(np.eye(4))
    broken[1] = bad
    silent = encoding(np.eye(4))
    silent[3:7] = 0
    assert window_from_camera(np.stack([broken, silent])) == [None, None]


def test_focal_lengths_survive_a_field_of_view_of_zero() -> None:
    assert focal_px(encoding(np.eye(4), (0.9, 1.1)), 392, 518) == pytest.approx((422.5, 405.7), abs=0.5)
    for fov in [(0.9, 0.0), (0.9, np.nan), (0.9, np.inf)]:
        assert focal_px(encoding(np.eye(4), fov), 392, 518) == pytest.approx((405.7, 405.7), abs=0.5)
    assert focal_px(encoding(np.eye(4), (0.0, 0.0)), 392, 518) is None


def test_a_phone_has_one_focal_length() -> None:
    views = np.stack([encoding(np.eye(4), (fov, 1.2 * fov)) for fov in (0.88, 0.9, 0.0, 0.91, 2.4)])
    fx, fy = shared_focal_px(views, 392, 518)
    assert fy == pytest.approx(196 / np.tan(0.455), rel=0.02)
    assert np.isfinite(fx)
    assert shared_focal_px(np.zeros((2, 9), np.float32), 392, 518)[0] == Intrinsics.from_fov(518, 392).fx


@given(st.lists(st.tuples(st.integers(40, 4000), st.integers(40, 4000)), min_size=1, max_size=4))
def test_the_whole_of_every_image_lies_on_the_canvas(sizes: list[tuple[int, int]]) -> None:
    for (height, width), place in zip(sizes, arrange(sizes, 518), strict=True):
        assert max(place.height, place.width) == 518
        assert place.height % 14 == place.width % 14 == place.canvas[0] % 14 == place.canvas[1] % 14 == 0
        assert 0 <= place.top <= place.canvas[0] - place.height
        assert 0 <= place.left <= place.canvas[1] - place.width
        stretch = (place.height / height) / (place.width / width)
        assert min(place.height, place.width) == 14 or abs(np.log(stretch)) <= np.log(1 + 7 / 14)


def test_usual_phones_are_hardly_stretched_and_portrait_is_whole() -> None:
    landscape, portrait = arrange([(480, 640)], 518)[0], arrange([(1280, 720)], 518)[0]
    assert landscape.canvas == (392, 518)
    assert (portrait.height, portrait.width) == (518, 294)


def test_a_camera_on_a_shared_canvas_maps_back() -> None:
    low, tall = arrange([(72, 96), (96, 72)], 98)
    assert low.canvas == tall.canvas == (98, 98)
    camera = low.camera(100.0, 101.0)
    assert (camera.cx, camera.cy, camera.width, camera.height) == (49, 35, 98, 70)
    assert (low.rows, low.columns) == (slice(14, 84), slice(0, 98))


def cameras(num: int) -> list[F64]:
    return [rigid(exp_so3(RNG.normal(0, 0.3, 3)), RNG.normal(0, 1, 3)) for _ in range(num)]


def test_the_network_is_brought_to_the_priors() -> None:
    truth = Sim3(3.0, exp_so3(np.array([0.3, -0.2, 0.5])), np.array([1.0, 2.0, 3.0]))
    theirs = cameras(5)
    priors: list[F64 | None] = [truth.apply_pose(pose) for pose in theirs]
    priors[1] = None
    found = window_from_network(theirs, priors, None)
    np.testing.assert_allclose(found.matrix(), truth.matrix(), atol=1e-6)


def test_one_prior_and_landmarks_suffice() -> None:
    theirs = cameras(3)
    prior = rigid(exp_so3(np.array([0.1, 0.2, 0.3])), [5.0, 0.0, 1.0])
    found = window_from_network(theirs, [None, None, prior], 2.5)
    assert found.scale == 2.5
    np.testing.assert_allclose(found.apply_pose(theirs[-1]), prior, atol=1e-9)


def test_without_priors_the_frame_is_the_network_s_own() -> None:
    np.testing.assert_array_equal(window_from_network(cameras(2), [None, None], None).matrix(), np.eye(4))
    with pytest.raises(ValueError, match="unit"):
        window_from_network(cameras(1), cameras(1), None)
    with pytest.raises(ValueError, match="none of the views"):
        window_from_network([None], cameras(1), 1.0)


def test_landmarks_are_looked_up_where_they_lie() -> None:
    camera = Intrinsics.from_fov(98, 70)
    pose = rigid(exp_so3(np.array([0.2, 0.1, 0.0])), [1.0, 0.0, 2.0])
    depth = np.full((70, 98), 2.0, np.float32)
    depth[:, 49:] = 4.0
    depth[:10] = 0
    pixels = RNG.uniform([0, 0], [98, 70], (200, 2))
    z = np.where(pixels[:, 0] < 49, 2.0, 4.0) * 1.7
    points = np.column_stack([(pixels - [camera.cx, camera.cy]) / [camera.fx, camera.fy], np.ones(200)]) * z[:, None]
    behind = np.array([[0.0, 0.0, -1.0]])
    window = np.vstack([points, behind]) @ pose[:3, :3].T + pose[:3, 3]
    found = compare(window.astype(np.float32), pose, camera, depth, np.full((70, 98), 1.5, np.float32))
    assert len(found.ratio) == pytest.approx(np.count_nonzero(pixels[:, 1] >= 10), abs=3)
    assert found.scale == pytest.approx(1.7, rel=1e-3)
    assert compare(None, pose, camera, depth, depth).scale is None
    assert compare(window[:5].astype(np.float32), pose, camera, depth, depth).scale is None


PORTRAIT, LANDSCAPE, HALF = (640, 480), (480, 640), (240, 320)


@pytest.mark.parametrize(
    ("sizes", "kept"),
    [
        ([PORTRAIT, *[LANDSCAPE] * 4], [1, 2, 3, 4]),
        ([PORTRAIT, LANDSCAPE, HALF, LANDSCAPE, HALF], [1, 2, 3, 4]),
        ([*[PORTRAIT] * 9, *[LANDSCAPE] * 3], list(range(12))),
        ([LANDSCAPE] * 3, [0, 1, 2]),
    ],
    ids=["an anchor held otherwise", "one shape in two sizes", "just turned", "all alike"],
)
def test_pictures_of_another_shape_are_left_out_where_enough_remain(
    sizes: list[tuple[int, int]], kept: list[int]
) -> None:
    assert alike(sizes) == kept


def silent(height: int, width: int) -> Heard:
    none = np.zeros((height, width), np.int16)
    return Heard(np.zeros((height, width), np.float32), none, none)


def test_confidence_is_one_half_where_the_expected_error_is_the_tolerance() -> None:
    certainty = RNG.uniform(1, 20, 4000)
    errors = 0.4 / certainty * RNG.choice([-1, 1], 4000)
    comparison = Comparison(2.0 / (1 + errors), certainty)
    sure = confidence(np.array([[8.0, 2.0, 80.0]], np.float32), comparison, silent(1, 3), 0.05)
    assert sure[0, 0] == pytest.approx(0.5, abs=0.03), "the scale is a median of the same points"
    assert sure[0, 1] < 0.1
    assert sure[0, 2] > 0.95


NO_LANDMARKS = Comparison(np.empty(0), np.empty(0))


def test_without_any_measure_confidence_still_grows_with_certainty() -> None:
    sure = confidence(np.array([[1.0, 4.0]], np.float32), NO_LANDMARKS, silent(1, 2), 0.05)
    np.testing.assert_allclose(sure, [[0.0, 0.75]])


def test_what_others_look_through_is_trusted_nowhere() -> None:
    certainty = np.full((48, 64), 9.0, np.float32)
    assert not confidence(certainty, NO_LANDMARKS, hear(wall(0.0, 1.0), [wall(0.1, 3.0)], 0.15), 0.05)[:, 5:].any()


def test_depth_that_differs_between_views_is_worth_less() -> None:
    certainty = np.full((48, 64), 9.0, np.float32)
    sure = [
        np.median(confidence(certainty, NO_LANDMARKS, hear(wall(0.0, 2.0, n), [wall(0.3, 2.0, n)], 0.15), 0.05))
        for n in (0.005, 0.02, 0.06)
    ]
    assert sure[0] > 0.95 > sure[1] > 0.7 > sure[2]
