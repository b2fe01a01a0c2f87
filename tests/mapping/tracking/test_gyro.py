"""The gyro: carries the pose through blurred turns once it has earned trust, and does no harm when it lies."""

from __future__ import annotations

import numpy as np
import pytest

from mapping.tracking.gyro import Gyro
from mapping.tracking.tracked import Tracked
from mapping.tracking.tracker import Tracker, warm_up
from mapping.transforms import F64, angle_between, exp_so3, invert, log_so3, rigid, umeyama
from streams.frame import Motion, StreamId
from tests.mapping.painted_room import FRAME_NS, PaintedRoom, frame, walk

WALK = walk(60)
DT_S = FRAME_NS * 1e-9


@pytest.fixture(scope="module")
def room() -> PaintedRoom:
    warm_up()
    return PaintedRoom()


def swing(peak_deg: float, num_frames: int) -> list[F64]:
    """Away from the last pose of the walk and back, then still."""
    yaw_rad = np.radians([peak_deg * np.sin(np.pi * i / num_frames) ** 2 for i in range(1, num_frames + 1)] + [0.0] * 6)
    return [WALK[-1] @ rigid(exp_so3(np.array([0.1 * yaw, yaw, 0.0])), np.zeros(3)) for yaw in yaw_rad]


def rates(poses: list[F64]) -> list[F64]:
    """Angular velocity of the camera at each frame, rad/s in its own axes."""
    ends = [poses[0], *poses, poses[-1]]
    return [log_so3(a[:3, :3].T @ b[:3, :3]) / (2 * DT_S) for a, b in zip(ends, ends[2:], strict=False)]


def blurred(room: PaintedRoom, pose: F64, rate: F64, exposure: float) -> np.ndarray:
    """What a shutter that is open for that share of a frame sees of a turning camera."""
    shares = np.linspace(-0.5, 0.5, 7) * exposure * DT_S
    seen = [room.render(pose @ rigid(exp_so3(rate * s), np.zeros(3))).astype(np.float32) for s in shares]
    return np.mean(seen, axis=0).astype(np.uint8)


def turn_fast(room: PaintedRoom, sense: F64 | None) -> tuple[list[Tracked], list[Tracked], list[F64]]:
    """Walk, then swing with motion blur; `sense` (3, 3) makes the gyro's axes of the true ones, None = no gyro."""
    away = swing(60.0, 10)
    poses, truth_rates = WALK + away, rates(WALK + away)
    tracker, answers = Tracker(StreamId("gyro")), []
    for i, (pose, rate) in enumerate(zip(poses, truth_rates, strict=True)):
        image = room.render(pose) if i < len(WALK) else blurred(room, pose, rate, 0.6)
        motion = None if sense is None else Motion(rate_camera_rad_s=sense @ rate)
        answers.append(tracker.track(frame(image, i, motion=motion)))
    return answers[: len(WALK)], answers[len(WALK) :], away


def errors(walked: list[Tracked], turned: list[Tracked], truth: list[F64]) -> list[tuple[float, float]]:
    """Metres and degrees off, of the posed frames of the turn, measured from the walk's last frame."""
    posed = [t for t in walked if t.component_from_camera is not None]
    mine = np.array([t.component_from_camera[:3, 3] for t in posed])
    scale = umeyama(mine, np.array([WALK[t.seq][:3, 3] for t in posed])).scale
    off = []
    for t, true in zip(turned, truth, strict=True):
        if t.component_from_camera is not None:
            found = invert(posed[-1].component_from_camera) @ t.component_from_camera
            wanted = invert(WALK[-1]) @ true
            place = float(np.linalg.norm(scale * found[:3, 3] - wanted[:3, 3]))
            off.append((place, float(np.degrees(angle_between(found[:3, :3], wanted[:3, :3])))))
    return off


def test_a_gyro_carries_through_blur_that_no_picture_survives(room: PaintedRoom) -> None:
    blind_walk, blind_turn, truth = turn_fast(room, None)
    walked, turned, _ = turn_fast(room, np.eye(3))
    lost_without = sum(t.state == "lost" for t in blind_turn)
    assert lost_without >= 4
    assert sum(t.state == "lost" for t in turned) <= lost_without // 3
    assert any(t.inliers == 0 and t.state == "tracked" for t in turned)
    assert not any(t.keyframe for t in turned if t.inliers == 0)
    for metres, degrees in errors(walked, turned, truth) + errors(blind_walk, blind_turn, truth):
        assert metres < 0.08
        assert degrees < 6.0  # two rates a turn of 20 degrees: the gyro is read once a frame


@pytest.mark.parametrize(
    "sense", [-np.eye(3), np.diag([-1.0, -1.0, 1.0]), np.eye(3)[[1, 2, 0]]], ids=["reversed", "upside down", "mixed up"]
)
def test_a_gyro_with_other_axes_is_not_believed(room: PaintedRoom, sense: F64) -> None:
    walked, turned, truth = turn_fast(room, sense)
    assert sum(t.state == "tracked" for t in walked) > 45
    assert all(t.inliers > 0 for t in turned if t.state == "tracked")
    assert turned[-1].state == "tracked"
    for metres, degrees in errors(walked, turned, truth):
        assert metres < 0.08
        assert degrees < 2.0


def test_a_bridge_ends(room: PaintedRoom) -> None:
    """A hand over the lens is not a turn: after a quarter of a second the camera is lost, gyro or not."""
    tracker = Tracker(StreamId("gyro"))
    for i, (pose, rate) in enumerate(zip(WALK, rates(WALK), strict=True)):
        tracker.track(frame(room.render(pose), i, motion=Motion(rate_camera_rad_s=rate)))
    dark = np.zeros((240, 320), np.uint8)
    still = Motion(rate_camera_rad_s=np.zeros(3))
    states = [tracker.track(frame(dark, 60 + i, motion=still)).state for i in range(15)]
    assert states[0] == "tracked"
    assert "lost" in states[:9]
    assert set(states[8:]) == {"lost"}


def test_trust_takes_several_turns_and_goes_with_a_lie() -> None:
    gyro = Gyro()
    right, still = exp_so3(np.array([0.0, 0.03, 0.0])), np.eye(3)
    for _ in range(3):
        gyro.judge(right, right)
    assert not gyro.is_trusted
    for _ in range(10):
        gyro.judge(right, right)
    assert gyro.is_trusted
    for _ in range(10):
        gyro.judge(right, still)
    assert not gyro.is_trusted


def test_rates_that_are_no_rates_are_no_turn() -> None:
    gyro = Gyro()
    assert gyro.turn(None, 0.03) is None
    assert gyro.turn(Motion(up_camera=np.array([0.0, -1.0, 0.0])), 0.03) is None
    assert gyro.turn(Motion(rate_camera_rad_s=np.array([np.nan, 0.0, 0.0])), 0.03) is None
    turned = gyro.turn(Motion(rate_camera_rad_s=np.array([0.0, 1.0, 0.0])), 0.1)
    assert turned is not None
    np.testing.assert_allclose(log_so3(turned), [0.0, -0.1, 0.0], atol=1e-9)
