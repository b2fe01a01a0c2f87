"""What phones really send: the tracker follows on, or says lost; it never takes a wrong pose for a right one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest

from mapping.tracking.tracked import Tracked
from mapping.tracking.tracker import Tracker, warm_up
from mapping.transforms import F64, angle_between, exp_so3, invert, log_so3, orthonormal
from streams.frame import Intrinsics, StreamId
from tests.mapping.painted_room import CAMERA, FRAME_NS, PaintedRoom, frame, walk

NUM = 100
TRUTH = walk(NUM)
_WALL_Z = 2.0
"""The wall that the walk looks at."""


@pytest.fixture(scope="module")
def room() -> PaintedRoom:
    warm_up()
    return PaintedRoom()


@pytest.fixture(scope="module")
def images(room: PaintedRoom) -> list[np.ndarray]:
    return [room.render(pose) for pose in TRUTH]


def follow(images: list[np.ndarray], *, camera: Intrinsics | None = CAMERA) -> list[Tracked]:
    tracker = Tracker(StreamId("bad"))
    return [tracker.track(frame(image, i, camera=camera)) for i, image in enumerate(images)]


def worst(tracked: list[Tracked], truth: list[F64]) -> tuple[float, float]:
    """Metres and degrees that the worst posed frame is off; the orientations align the worlds, then scale and place."""
    posed = [t for t in tracked if t.component_from_camera is not None]
    mine = np.array([t.component_from_camera for t in posed])
    true = np.array([truth[t.seq] for t in posed])
    rotation = orthonormal(np.einsum("nij,nkj->ik", true[:, :3, :3], mine[:, :3, :3]))
    a, b = (mine[:, :3, 3] - mine[:, :3, 3].mean(0)) @ rotation.T, true[:, :3, 3] - true[:, :3, 3].mean(0)
    scale = np.sum(a * b) / np.sum(a * a)
    degrees = [angle_between(rotation @ m[:3, :3], t[:3, :3]) for m, t in zip(mine, true, strict=True)]
    return float(np.linalg.norm(scale * a - b, axis=1).max()), float(np.degrees(max(degrees)))


def states(tracked: list[Tracked]) -> set[str]:
    return {t.state for t in tracked}


def interrupted(images: list[np.ndarray], *between: np.ndarray) -> tuple[list[np.ndarray], list[F64], slice]:
    """The walk with other pictures in its middle, the truth to it, and where those pictures are."""
    n = len(between)
    return images[:60] + list(between) + images[60:], TRUTH[:60] + [TRUTH[59]] * n + TRUTH[60:], slice(60, 60 + n)


@pytest.mark.parametrize("level", [0, 255], ids=["black", "over-exposed"])
def test_a_picture_without_content_is_lost_and_the_next_one_found(images: list[np.ndarray], level: int) -> None:
    seen, truth, gap = interrupted(images, *[np.full((240, 320), level, np.uint8)] * 6)
    tracked = follow(seen)
    assert states(tracked[gap]) == {"lost"}
    assert states(tracked[gap.stop :]) == {"tracked"}
    assert {t.component for t in tracked} == {0}
    assert worst(tracked, truth)[0] < 0.04


def test_a_frozen_picture_stays_where_it_is(images: list[np.ndarray]) -> None:
    seen, truth, gap = interrupted(images, *[images[59]] * 20)
    tracked = follow(seen)
    assert states(tracked[gap.start :]) == {"tracked"}
    assert worst(tracked, truth)[0] < 0.04


def test_noise_never_starts() -> None:
    for seed in range(3):
        random = np.random.default_rng(seed)
        noise = [random.integers(0, 255, (240, 320)).astype(np.uint8) for _ in range(25)]
        assert states(follow(noise)) == {"starting"}


def test_exposure_may_run_into_saturation(images: list[np.ndarray]) -> None:
    def exposed(i: int) -> np.ndarray:
        gain = 1.0 + (0.25 * (i - 60) if 60 <= i < 72 else 0.0)
        return np.clip(images[i] * gain, 0, 255).astype(np.uint8)

    tracked = follow([exposed(i) for i in range(NUM)])
    assert sum(t.state == "tracked" for t in tracked) > 0.8 * NUM
    assert worst(tracked, TRUTH)[0] < 0.05


@pytest.mark.parametrize("sigma_px", [2.5, 5.0])
def test_a_lens_may_lose_its_focus(images: list[np.ndarray], sigma_px: float) -> None:
    blurred = [cv2.GaussianBlur(im, (0, 0), sigma_px) if 60 <= i < 72 else im for i, im in enumerate(images)]
    tracked = follow([np.asarray(im, np.uint8) for im in blurred])
    assert states(tracked[76:]) == {"tracked"}
    assert {t.component for t in tracked} == {0}
    metres, degrees = worst(tracked, TRUTH)
    assert metres < 0.06
    assert degrees < 4.0


def test_a_rolling_shutter_bends_but_does_not_break(room: PaintedRoom) -> None:
    """Six bands of rows, each as seen at its own moment of the frame."""

    def rolled(i: int) -> np.ndarray:
        here, after = TRUTH[i], TRUTH[min(i + 1, NUM - 1)]
        turn, step = log_so3(here[:3, :3].T @ after[:3, :3]), after[:3, 3] - here[:3, 3]
        out = np.empty((240, 320), np.uint8)
        for band in range(6):
            share, pose = (band + 0.5) / 6 - 0.5, here.copy()
            pose[:3, :3] = here[:3, :3] @ exp_so3(turn * share)
            pose[:3, 3] += share * step
            rows = slice(40 * band, 40 * band + 40)
            out[rows] = room.render(pose)[rows]
        return out

    tracked = follow([rolled(i) for i in range(NUM)])
    assert states(tracked[12:]) == {"tracked"}
    assert worst(tracked, TRUTH)[0] < 0.04


def test_a_phone_may_be_turned_head_over(images: list[np.ndarray]) -> None:
    """Upside down from one frame to the next: the same map, seen by a camera rolled by half a turn."""
    rolled = np.diag([-1.0, -1.0, 1.0, 1.0])
    seen = images[:70] + [np.ascontiguousarray(im[::-1, ::-1]) for im in images[70:]]
    truth = TRUTH[:70] + [pose @ rolled for pose in TRUTH[70:]]
    tracked = follow(seen)
    assert tracked[-1].state == "tracked"
    assert {t.component for t in tracked} == {0}
    metres, degrees = worst(tracked, truth)
    assert metres < 0.04
    assert degrees < 3.0


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_a_wrong_focal_length_costs_shape_not_sanity(images: list[np.ndarray], factor: float) -> None:
    wrong = replace(CAMERA, fx=CAMERA.fx * factor, fy=CAMERA.fy * factor)
    tracked = follow(images, camera=wrong)
    assert worst(tracked, TRUTH)[0] < 0.3
    assert worst(tracked, TRUTH)[1] < 10.0


@pytest.mark.parametrize(
    "stamp",
    [
        lambda i: i // 3 * 3 * FRAME_NS,
        lambda i: i * FRAME_NS + (10**12 if i % 7 == 0 else 0),
        lambda i: (NUM - i) * FRAME_NS,
        lambda i: 0,
    ],
    ids=["repeated", "jumping", "backwards", "stopped"],
)
def test_no_clock_breaks_the_tracking(images: list[np.ndarray], stamp: Callable[[int], int]) -> None:
    tracker = Tracker(StreamId("bad"))
    tracked = [tracker.track(replace(frame(image, i), capture_ns=10**18 + stamp(i))) for i, image in enumerate(images)]
    assert sum(t.state == "tracked" for t in tracked) > 0.9 * NUM
    assert worst(tracked, TRUTH)[0] < 0.04


def test_an_8k_frame_is_a_frame(images: list[np.ndarray]) -> None:
    big = [cv2.resize(im, (7680, 5760), interpolation=cv2.INTER_LINEAR) for im in images[40:42]]
    tracker = Tracker(StreamId("bad"))
    for i in range(40):
        tracker.track(frame(images[i], i))
    for i, image in enumerate(big):
        answer = tracker.track(frame(np.asarray(image, np.uint8), 40 + i, camera=CAMERA.scaled(7680, 5760)))
        assert answer.state == "tracked"
        assert answer.intrinsics.width == 7680


def on_wall(pose: F64, left: float, right: float, bottom: float, top: float) -> tuple[np.ndarray, np.ndarray, F64]:
    """Where (share of width and height, (h, w) each) and whether each pixel meets a rectangle of the far wall."""
    v, u = np.mgrid[0 : CAMERA.height, 0 : CAMERA.width] + 0.5
    rays = np.stack([(u - CAMERA.cx) / CAMERA.fx, (v - CAMERA.cy) / CAMERA.fy, np.ones_like(u)], -1) @ pose[:3, :3].T
    distance = (_WALL_Z - pose[2, 3]) / rays[..., 2]
    x = (pose[0, 3] + distance * rays[..., 0] - left) / (right - left)
    y = (pose[1, 3] + distance * rays[..., 1] - bottom) / (top - bottom)
    return x, y, (distance > 0) & (x > 0) & (x < 1) & (y > 0) & (y < 1)


def test_a_mirror_is_a_window(room: PaintedRoom) -> None:
    """What is seen in it stands still behind the wall: it may be mapped there, but it must not move the camera."""
    behind = np.diag([1.0, 1.0, -1.0, 1.0])
    behind[2, 3] = 2 * _WALL_Z

    def seen(pose: F64) -> np.ndarray:
        _, _, inside = on_wall(pose, -1.0, 1.0, 0.6, 1.9)
        return np.where(inside, room.render(behind @ pose), room.render(pose))

    tracked = follow([seen(pose) for pose in TRUTH])
    assert states(tracked[12:]) == {"tracked"}
    assert worst(tracked, TRUTH)[0] < 0.04


@pytest.fixture(scope="module")
def film() -> list[np.ndarray]:
    other = PaintedRoom(seed=5)
    return [other.render(pose) for pose in walk(2 * NUM)[::2]]


def screen(room: PaintedRoom, pose: F64, picture: np.ndarray, half_m: float) -> np.ndarray:
    """The room with a screen on its far wall that shows a picture."""
    x, y, inside = on_wall(pose, -half_m, half_m, 0.4, 1.75)
    u, v = (np.where(inside, s * (n - 1), 0).astype(np.float32) for s, n in ((x, 320), (y, 240)))
    return np.where(inside, cv2.remap(picture, u, v, cv2.INTER_LINEAR), room.render(pose)).astype(np.uint8)


def test_a_screen_with_a_film_does_not_move_the_camera(room: PaintedRoom, film: list[np.ndarray]) -> None:
    """A tenth of the picture is a walk through another room."""
    tracked = follow([screen(room, pose, film[i], 0.6) for i, pose in enumerate(TRUTH)])
    metres, degrees = worst(tracked, TRUTH)
    assert metres < 0.05
    assert degrees < 6.0


def test_a_film_starts_no_map_for_a_camera_that_stands_still(room: PaintedRoom, film: list[np.ndarray]) -> None:
    still = TRUTH[40]
    assert states(follow([screen(room, still, picture, 0.9) for picture in film[:60]])) == {"starting"}


def test_a_film_that_fills_the_picture_of_a_lost_camera_brings_no_old_map_back(
    images: list[np.ndarray], film: list[np.ndarray]
) -> None:
    """Nothing tells it from a walk elsewhere, so it may be a map of its own; never a place in the one before."""
    tracker = Tracker(StreamId("bad"))
    for i in range(60):
        tracker.track(frame(images[i], i))
    away = [tracker.track(frame(picture, 60 + i)) for i, picture in enumerate(film[:70])]
    assert away[0].state == "lost"
    assert all(t.component != 0 for t in away if t.state == "tracked")
    home = [tracker.track(frame(images[i], 70 + i)) for i in range(60, 90)]
    assert home[-1].state == "tracked"
    assert home[-1].component == 0
    first = next(i for i, t in enumerate(home) if t.component == 0 and t.state == "tracked")
    assert first < 30  # within a second of seeing known ground
    relative = invert(home[-1].component_from_camera) @ home[first].component_from_camera
    wanted = invert(TRUTH[89]) @ TRUTH[60 + first]
    assert np.degrees(angle_between(relative[:3, :3], wanted[:3, :3])) < 2.0
