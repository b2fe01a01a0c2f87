"""The tracker on rendered rooms: how far off, how honest when blind, how soon back."""

from __future__ import annotations

import os
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from mapping.tracking.tracked import Tracked
from mapping.tracking.tracker import Tracker, TrackerConfig, warm_up
from mapping.transforms import F64, Sim3, angle_between, exp_so3, rigid, umeyama
from streams.frame import DepthMap, GivenPose, Intrinsics, Motion, StreamId
from tests.mapping.painted_room import CAMERA, FRAME_NS, PaintedRoom, frame, walk

STREAM = StreamId("painted")


@pytest.fixture(scope="module")
def room() -> PaintedRoom:
    warm_up()
    return PaintedRoom()


@pytest.fixture(scope="module")
def images(room: PaintedRoom) -> list[np.ndarray]:
    return [room.render(pose) for pose in walk(130)]


def follow(images: list[np.ndarray], tracker: Tracker, *, first_seq: int = 0) -> list[Tracked]:
    return [tracker.track(frame(image, first_seq + i)) for i, image in enumerate(images)]


def aligned(tracked: list[Tracked], truth: list[F64]) -> tuple[Sim3, F64]:
    """Sim(3) onto the truth and the position error (n,) of every tracked frame; seq indexes the truth."""
    posed = [t for t in tracked if t.state == "tracked"]
    mine = np.array([t.component_from_camera[:3, 3] for t in posed])
    true = np.array([truth[t.seq][:3, 3] for t in posed])
    sim3 = umeyama(mine, true)
    return sim3, np.linalg.norm(sim3.apply(mine) - true, axis=1)


def test_follows_a_walk_within_two_percent_of_its_length(images: list[np.ndarray]) -> None:
    truth = walk(130)
    tracked = follow(images, Tracker(STREAM))
    path_m = sum(np.linalg.norm(b[:3, 3] - a[:3, 3]) for a, b in pairwise(truth))
    posed = [t for t in tracked if t.state == "tracked"]
    assert len(posed) > 0.85 * len(tracked)
    assert {t.component for t in posed} == {0}
    sim3, error = aligned(tracked, truth)
    assert error.max() < 0.02 * path_m
    for t in posed:
        assert np.degrees(angle_between(sim3.rotation @ t.component_from_camera[:3, :3], truth[t.seq][:3, :3])) < 2.0


def test_keyframes_carry_landmarks_and_corrections_name_earlier_nodes(images: list[np.ndarray]) -> None:
    tracked = follow(images, Tracker(STREAM))
    nodes = [t for t in tracked if t.keyframe]
    assert 5 < len(nodes) < 0.5 * len(tracked)
    assert all(t.landmarks_component is not None and len(t.landmarks_component) > 30 for t in nodes)
    assert all(t.landmarks_component is None for t in tracked if not t.keyframe)
    seqs = {t.seq for t in tracked}
    assert any(t.corrected for t in nodes[1:])
    assert all(seq in seqs and seq < t.seq for t in tracked for seq in t.corrected)


def test_poses_are_answered_before_the_map_takes_them_in(images: list[np.ndarray]) -> None:
    """Asked in two halves, or never for the second: the same map either way, and no half is lost."""
    whole, halves, hasty = Tracker(STREAM), Tracker(STREAM), Tracker(STREAM)
    nodes = 0
    for i, image in enumerate(images):
        expected, first, alone = whole.track(frame(image, i)), halves.pose(frame(image, i)), hasty.pose(frame(image, i))
        second = halves.grow()
        assert (first.state, first.component, first.keyframe) == (expected.state, expected.component, expected.keyframe)
        assert halves.grow() is None
        last = second or first
        if expected.component_from_camera is not None:
            np.testing.assert_array_equal(last.component_from_camera, expected.component_from_camera)
            np.testing.assert_array_equal(alone.component_from_camera, first.component_from_camera)
        if second is not None:
            assert first.landmarks_component is None
            assert not first.corrected
            assert second.landmarks_component is not None
            assert second.keyframe
            nodes += 1
    assert nodes > 5


def test_frames_that_waited_for_the_map_get_their_poses(images: list[np.ndarray]) -> None:
    tracked = follow(images[:40], Tracker(STREAM))
    first = next(t for t in tracked if t.state == "tracked")
    assert first.seq > 2
    assert [late.seq for late in first.backfilled] == list(range(first.seq))
    assert [late.capture_ns for late in first.backfilled] == [t.capture_ns for t in tracked[: first.seq]]
    assert not any(t.backfilled for t in tracked if t is not first)
    waited = [
        replace(t, state="tracked", component_from_camera=late.component_from_camera)
        for t, late in zip(tracked, first.backfilled, strict=False)
    ]
    assert aligned(waited + tracked[first.seq :], walk(130))[1].max() < 0.02


def test_a_camera_that_hardly_moves_is_answered_in_the_frame_of_the_map_to_come(room: PaintedRoom) -> None:
    """Two black pictures, two seconds in an unsteady hand, then the walk: longer than frames are remembered."""
    random = np.random.default_rng(3)
    first, *path = walk(130)[:45]
    held = [first @ rigid(exp_so3(random.normal(0, 0.001, 3)), random.normal(0, 0.002, 3)) for _ in range(58)]
    truth = [first, first, *held, *path]
    images = [room.render(pose) for pose in truth]
    images[0] = images[1] = np.zeros_like(images[0])
    tracked = follow(images, Tracker(STREAM))
    assert [t.component_from_camera is None for t in tracked[:4]] == [True, True, True, False]
    assert tracked[-1].state == "tracked"
    early = [t for t in tracked if t.state == "starting" and t.component_from_camera is not None]
    assert len(early) > 50
    assert {t.component for t in early} == {tracked[-1].component}
    assert not any(t.keyframe for t in early)
    world_from_component = truth[early[0].seq - 1]  # stands where the first picture was taken that shows anything
    later = [t for t in tracked if t.state == "tracked"]
    mine = np.array([t.component_from_camera[:3, 3] for t in later])
    true = np.array([(np.linalg.inv(world_from_component) @ truth[t.seq])[:3, 3] for t in later])
    scale = np.sum(mine * true) / np.sum(mine * mine)
    assert np.linalg.norm(scale * mine - true, axis=1).max() < 0.03
    for t in early + later:
        turned = world_from_component[:3, :3] @ t.component_from_camera[:3, :3]
        assert np.degrees(angle_between(turned, truth[t.seq][:3, :3])) < 1.5


def test_a_camera_that_moves_on_without_a_map_is_not_answered(room: PaintedRoom) -> None:
    """Turning is not enough for a map, and too much to be taken for standing still."""
    first = walk(2)[0]
    turning = [
        room.render(first @ rigid(exp_so3(np.array([0.0, np.radians(0.5 * i), 0.0])), np.zeros(3))) for i in range(12)
    ]
    tracked = follow(turning, Tracker(STREAM))
    assert {t.state for t in tracked} == {"starting"}
    assert all(t.component_from_camera is None for t in tracked[4:])


def test_same_frames_same_bytes(images: list[np.ndarray]) -> None:
    first, second = (follow(images[:80], Tracker(STREAM)) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert (a.state, a.keyframe, a.inliers, a.overlap) == (b.state, b.keyframe, b.inliers, b.overlap)
        np.testing.assert_array_equal(a.component_from_camera, b.component_from_camera)


def test_blind_is_lost_and_sight_brings_the_same_map_back(images: list[np.ndarray]) -> None:
    tracker = Tracker(STREAM)
    seen = follow(images[:70], tracker)
    assert seen[-1].state == "tracked"
    random = np.random.default_rng(0)
    blind = [np.full_like(images[0], 90)] * 6 + [random.integers(0, 255, images[0].shape).astype(np.uint8)] * 3
    dark = follow(blind, tracker, first_seq=70)
    assert [t.state for t in dark] == ["lost"] * len(blind)
    assert all(t.component_from_camera is None for t in dark)
    back = [tracker.track(replace(frame(images[i], i), capture_ns=10**18 + (i + 60) * FRAME_NS)) for i in range(40, 60)]
    found = [t for t in back if t.state == "tracked"]
    assert len(found) >= 15
    assert {t.component for t in found} == {0}
    truth = walk(130)
    sim3, _ = aligned(seen, truth)
    for t in found:
        assert np.linalg.norm(sim3.apply(t.component_from_camera[:3, 3]) - truth[t.seq][:3, 3]) < 0.03


def test_elsewhere_is_another_component_until_known_ground_returns(images: list[np.ndarray]) -> None:
    tracker = Tracker(STREAM, TrackerConfig(give_up_after_s=0.3))
    follow(images[:60], tracker)
    other = PaintedRoom(seed=7)
    away = follow([other.render(pose) for pose in walk(70)], tracker, first_seq=60)
    assert away[0].state == "lost"
    assert away[-1].state == "tracked"
    assert away[-1].component == 1
    home = follow(images[20:60], tracker, first_seq=130)
    assert home[-1].state == "tracked"
    assert home[-1].component == 0


def test_turning_on_the_spot_stays_tracked_and_does_not_travel(room: PaintedRoom, images: list[np.ndarray]) -> None:
    truth = walk(70)
    turns = [truth[-1] @ rigid(exp_so3(np.array([0.0, np.radians(0.5 * i), 0.0])), np.zeros(3)) for i in range(1, 30)]
    tracker = Tracker(STREAM)
    tracked = follow(images[:70], tracker) + follow([room.render(p) for p in turns], tracker, first_seq=70)
    sim3, _ = aligned(tracked[:70], truth)
    posed = [t for t in tracked[70:] if t.state == "tracked"]
    assert len(posed) >= 25
    for t in posed:
        assert np.linalg.norm(sim3.apply(t.component_from_camera[:3, 3]) - truth[-1][:3, 3]) < 0.04


def test_a_still_camera_never_starts(images: list[np.ndarray]) -> None:
    assert {t.state for t in follow([images[0]] * 40, Tracker(STREAM))} == {"starting"}


def test_a_turning_camera_never_starts(room: PaintedRoom) -> None:
    at = walk(1)[0]
    turns = [at @ rigid(exp_so3(np.array([0.0, np.radians(0.6 * i), 0.0])), np.zeros(3)) for i in range(45)]
    assert {t.state for t in follow([room.render(p) for p in turns], Tracker(STREAM))} == {"starting"}


def test_brightness_may_jump(images: list[np.ndarray]) -> None:
    def exposed(i: int) -> np.ndarray:
        return np.clip(images[i] * (0.6 if (i // 9) % 2 else 1.15) + 5, 0, 255).astype(np.uint8)

    tracked = follow([exposed(i) for i in range(110)], Tracker(STREAM))
    posed = [t for t in tracked if t.state == "tracked"]
    assert len(posed) > 0.7 * len(tracked)
    assert aligned([t for t in posed if t.component == posed[-1].component], walk(130))[1].max() < 0.04


@pytest.mark.parametrize("size", [(240, 180), (480, 360)])
def test_the_picture_may_change_its_size(images: list[np.ndarray], size: tuple[int, int]) -> None:
    tracker = Tracker(STREAM)
    tracked = follow(images[:60], tracker)
    for i in range(60, 110):
        resized = cv2.resize(images[i], size, interpolation=cv2.INTER_AREA)
        tracked.append(tracker.track(frame(resized, i, camera=CAMERA.scaled(*size))))
    assert {t.state for t in tracked[60:]} == {"tracked"}
    assert (tracked[-1].intrinsics.width, tracked[-1].intrinsics.height) == size
    assert aligned(tracked, walk(130))[1].max() < 0.03


def test_the_phone_may_be_turned_upright(room: PaintedRoom, images: list[np.ndarray]) -> None:
    truth = walk(130)
    tracker = Tracker(STREAM)
    follow(images[:70], tracker)
    upright = Intrinsics(CAMERA.fy, CAMERA.fx, CAMERA.cy, CAMERA.cx, CAMERA.height, CAMERA.width)
    after = [tracker.track(frame(room.render(truth[i], upright), i, camera=upright)) for i in range(70, 110)]
    assert all(t.state in {"tracked", "lost", "starting"} for t in after)
    assert sum(t.state == "tracked" for t in after) >= 30
    assert after[-1].component == 0


def test_an_unknown_camera_is_guessed_and_then_refined(images: list[np.ndarray]) -> None:
    tracker = Tracker(STREAM, TrackerConfig(guessed_fov_deg=58.0))  # the truth is 63.2
    guess = Intrinsics.from_fov(CAMERA.width, CAMERA.height, 58.0).fx
    tracked = [tracker.track(frame(image, i, camera=None)) for i, image in enumerate(images)]
    assert tracked[0].intrinsics.fx == guess
    assert abs(tracked[-1].intrinsics.fx - CAMERA.fx) < 0.6 * abs(guess - CAMERA.fx)


def test_a_gyro_carries_through_a_fast_turn(room: PaintedRoom, images: list[np.ndarray]) -> None:
    """Half the frames are missing and the camera swings: only the gyro says how far."""
    truth = walk(60)
    rate_deg = 7.0
    swing = [
        truth[-1] @ rigid(exp_so3(np.array([0.0, np.radians(rate_deg * i), 0.0])), np.zeros(3)) for i in range(1, 4)
    ]
    tracker = Tracker(STREAM)
    follow(images[:60], tracker)
    motion = Motion(rate_camera_rad_s=np.array([0.0, np.radians(rate_deg) / (FRAME_NS * 1e-9), 0.0]))
    tracked = [tracker.track(frame(room.render(p), 60 + i, motion=motion)) for i, p in enumerate(swing)]
    assert [t.state for t in tracked] == ["tracked"] * 3


def test_given_poses_are_used_as_given(room: PaintedRoom) -> None:
    tracker, truth = Tracker(STREAM), walk(60)
    tracked = []
    for i, pose in enumerate(truth):
        depth = DepthMap(np.full((60, 80), 2.0, np.float32), CAMERA.scaled(80, 60)) if i % 4 == 0 else None
        tracked.append(tracker.track(replace(frame(room.render(pose), i), pose=GivenPose(pose), depth=depth)))
    for t, pose in zip(tracked, truth, strict=True):
        assert t.state == "tracked"
        np.testing.assert_array_equal(t.component_from_camera, pose)
    nodes = [t for t in tracked if t.keyframe]
    assert nodes[0].seq == 0
    assert len(nodes) > 3
    assert all(t.seq % 4 == 0 for t in nodes)  # a source with depth has its nodes where depth is
    assert {t.component for t in tracked} == {0}
    assert np.median(nodes[-1].landmarks_component @ np.ones(3)) != 0


def test_given_poses_without_depth_get_landmarks_by_triangulation(room: PaintedRoom) -> None:
    tracker, truth = Tracker(STREAM), walk(60)
    tracked = [tracker.track(replace(frame(room.render(p), i), pose=GivenPose(p))) for i, p in enumerate(truth)]
    last = [t for t in tracked if t.keyframe][-1]
    forward = (last.landmarks_component - last.component_from_camera[:3, 3]) @ last.component_from_camera[:3, 2]
    assert len(forward) > 30
    assert 0.8 < np.median(forward) < 4.0


def test_a_pose_that_is_no_pose_is_lost() -> None:
    broken = GivenPose(np.full((4, 4), np.nan))
    image = np.zeros((48, 64), np.uint8)
    tracked = Tracker(STREAM).track(replace(frame(image, 0, camera=None), pose=broken))
    assert tracked.state == "lost"
    assert tracked.component_from_camera is None


def test_a_source_that_stops_posing_goes_on_in_a_component_of_its_own(
    room: PaintedRoom, images: list[np.ndarray]
) -> None:
    tracker, truth = Tracker(STREAM), walk(90)
    for i in range(10):
        tracker.track(replace(frame(images[i], i), pose=GivenPose(truth[i])))
    unposed = follow(images[10:90], tracker, first_seq=10)
    assert unposed[0].component_from_camera is None
    assert unposed[-1].state == "tracked"
    assert unposed[-1].component == 1


@pytest.mark.parametrize("shape", [(1, 1), (2, 900), (16, 16), (30, 40), (1080, 24)])
def test_odd_sizes_do_not_crash(shape: tuple[int, int], images: list[np.ndarray]) -> None:
    random = np.random.default_rng(0)
    tracker = Tracker(STREAM)
    follow(images[:30], tracker)
    for i in range(4):
        image = random.integers(0, 255, shape).astype(np.uint8)
        assert tracker.track(frame(image, 30 + i, camera=None)).component_from_camera is None


def test_clocks_may_jump(images: list[np.ndarray]) -> None:
    tracker = Tracker(STREAM)
    follow(images[:50], tracker)
    for i, offset_ns in enumerate([-(10**15), 0, 10**15, 0]):
        late = frame(images[50 + i], 50 + i)
        assert tracker.track(replace(late, capture_ns=late.capture_ns + offset_ns)).state in {"tracked", "lost"}


@pytest.mark.slow
def test_live_kitchen_meets_its_promise() -> None:
    from benchmarks.clips import Clip, data_folder
    from benchmarks.evaluation.fast import play_fast
    from benchmarks.evaluation.options import Options
    from benchmarks.evaluation.phone import Phone
    from benchmarks.evaluation.result import judge

    folder: Path = data_folder() / "redkitchen"
    if not folder.exists():
        if os.environ.get("CI"):
            pytest.fail(f"CI has no footage at {folder}: set COMMONGROUND_DATA")
        pytest.skip(f"no footage at {folder}: set COMMONGROUND_DATA")
    options = Options(with_map=False)
    session = play_fast([Phone.of(Clip.open(folder))], options)
    figures, _ = judge(session, session.played[0], options)
    assert figures["coverage"] >= 0.95
    assert figures["ate_sim3_m"] is not None
    assert figures["ate_sim3_m"] <= 0.055
    assert figures["wrong_pose_rate"] is not None
    assert figures["wrong_pose_rate"] <= 0.005
