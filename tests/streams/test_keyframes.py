from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from streams.keyframes import KeyframeConfig, KeyframeSelector, ViewChange, pose_change, sharpness


def test_the_first_posed_view_is_kept_and_a_still_camera_only_refreshes() -> None:
    selector = KeyframeSelector(KeyframeConfig(max_age_s=5))
    assert selector.offer(ViewChange(posed=False), 0.0) is None
    assert selector.offer(ViewChange(), 0.1) == "first"
    kept = [t for t in range(1, 300) if selector.offer(ViewChange(), 0.1 + t / 30)]
    assert kept == [150]


@pytest.mark.parametrize(
    ("view", "reason"),
    [
        (ViewChange(parallax_rad=np.radians(5)), "parallax"),
        (ViewChange(overlap=0.5), "overlap"),
        (ViewChange(rotation_rad=np.radians(15)), "rotation"),
        (ViewChange(parallax_rad=np.radians(2), overlap=0.9, rotation_rad=np.radians(7)), None),
    ],
)
def test_each_kind_of_change_is_a_reason(view: ViewChange, reason: str | None) -> None:
    selector = KeyframeSelector()
    selector.offer(ViewChange(), 0.0)
    assert selector.offer(view, 1.0) == reason


def test_keyframes_keep_their_least_distance() -> None:
    selector = KeyframeSelector(KeyframeConfig(min_age_s=0.19))
    kept = [i for i in range(60) if selector.offer(ViewChange(overlap=0.5), i / 30)]
    assert kept == list(range(0, 60, 6))


def test_a_due_frame_waits_for_a_sharp_one_but_not_for_ever() -> None:
    selector = KeyframeSelector(KeyframeConfig(patience_s=0.3))
    for i in range(10):
        selector.offer(ViewChange(sharpness=1.0), i / 30)
    moved_blurred = ViewChange(parallax_rad=0.2, sharpness=0.3)
    assert selector.offer(moved_blurred, 1.0) is None
    assert selector.offer(ViewChange(parallax_rad=0.2, sharpness=0.9), 1.03) == "parallax"
    assert selector.offer(moved_blurred, 2.0) is None
    assert selector.offer(moved_blurred, 2.2) is None
    assert selector.offer(moved_blurred, 2.31) == "parallax"
    assert selector.blurred == 3


def test_losing_sight_of_the_map_is_more_urgent_than_blur() -> None:
    selector = KeyframeSelector()
    for i in range(10):
        selector.offer(ViewChange(sharpness=1.0), i / 30)
    assert selector.offer(ViewChange(overlap=0.3, sharpness=0.1), 1.0) == "overlap"


def test_a_clock_that_steps_back_does_not_stop_keyframes() -> None:
    selector = KeyframeSelector()
    selector.offer(ViewChange(), 1000.0)
    assert [selector.offer(ViewChange(overlap=0.5), t / 10) for t in range(3)] == [None, "overlap", "overlap"]


def test_after_a_reset_the_next_posed_view_is_a_first_one() -> None:
    selector = KeyframeSelector()
    selector.offer(ViewChange(), 0.0)
    selector.reset()
    assert selector.offer(ViewChange(), 0.01) == "first"


def textured(width: int, height: int, seed: int = 0) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (45, 80), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)


def test_sharpness_means_the_same_at_every_resolution_and_contrast() -> None:
    image = textured(1280, 720)
    values = [
        sharpness(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
        for size in [(1280, 720), (960, 540), (640, 360)]
    ]
    assert max(values) / min(values) < 1.15
    assert sharpness((image // 2 + 30).astype(np.uint8)) == pytest.approx(values[0], rel=0.05)


def test_sharpness_falls_with_blur() -> None:
    image = textured(640, 480)
    values = [sharpness(image), *(sharpness(cv2.GaussianBlur(image, (0, 0), s)) for s in (4, 8, 16))]
    assert values == sorted(values, reverse=True)
    assert values[2] < 0.6 * values[0]
    assert sharpness(np.full((480, 640), 7, np.uint8)) == 0.0


def test_pose_change_sees_turning_and_moving() -> None:
    still = pose_change(np.eye(4), np.eye(4))
    assert (still.parallax_rad, still.rotation_rad, still.overlap) == (0, 0, 1)
    moved = np.eye(4)
    moved[:3, 3] = [0.2, 0, 0]
    assert pose_change(np.eye(4), moved).parallax_rad == pytest.approx(0.0997, abs=1e-3)
    turned = np.eye(4)
    turned[:3, :3], _ = cv2.Rodrigues(np.array([0, 0.5, 0]))
    change = pose_change(np.eye(4), turned)
    assert change.rotation_rad == pytest.approx(0.5)
    assert change.overlap == pytest.approx(0.5)
