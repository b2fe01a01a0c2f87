"""A learned engine sees old places and other phones' in its windows: loops close, maps merge, wrong ones harm nobody.

The engine is an oracle: the truth with stated noise, in a frame and unit of its own for each window.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

from mapping import window_pairs
from mapping.changes import KeyframeId
from mapping.engines import ViewPrediction, WindowPrediction
from mapping.kept import Kept
from mapping.metric.markers import Config as MarkerConfig
from mapping.places.agreement import Seen
from mapping.places.pose_graph import Edges, Poses
from mapping.placing import keyframe_id
from mapping.scene_map import Config, SceneMap
from mapping.transforms import F64, Sim3, exp_so3, invert, umeyama
from streams.frame import Intrinsics
from tests.mapping.painted_room import PaintedRoom
from tests.mapping.places.filming import CAMERA, Phone, turned_about, walk

DEPTH = Intrinsics(130.0, 130.0, 80.25, 60.25, 160, 120)
"""Every other pixel of the camera's."""
RECENT, FAR = 8, 3
DRIFT = Sim3(1.003, exp_so3(np.array([0.001, 0.005, 0.0])), np.array([0.002, 0.0, 0.0]))
"""From one keyframe to the next, in the camera's axes."""
Lie = Callable[[F64, int], F64]
"""What the engine says instead of the truth (4, 4) about a far camera, in its n-th window."""


def honest(room_from_camera: F64, _: int) -> F64:
    return room_from_camera


@dataclass(slots=True, eq=False)
class Oracle:
    """Sees where cameras truly are, but for noise of its own."""

    turn_rad: float = 0.005
    shift_m: float = 0.01
    lie: Lie = honest
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(5))
    windows: int = 0

    def sees(self, truth: dict[KeyframeId, F64], far: Sequence[KeyframeId]) -> dict[KeyframeId, NDArray[np.float64]]:
        """Poses of a window's cameras in its own frame and unit."""
        self.windows += 1
        own_from_room = Sim3(
            float(np.exp(self.random.normal())), exp_so3(self.random.normal(0, 1, 3)), self.random.normal(0, 1, 3)
        )
        told = {key: self.lie(pose, self.windows) if key in far else pose for key, pose in truth.items()}
        return {key: own_from_room.apply_pose(self._noisy(pose)) for key, pose in told.items()}

    def _noisy(self, pose: F64) -> F64:
        out = pose.copy()
        out[:3, :3] = pose[:3, :3] @ exp_so3(self.random.normal(0, self.turn_rad, 3))
        out[:3, 3] += self.random.normal(0, self.shift_m, 3)
        return out


class Walked:
    """A map of phones whose windows an oracle has seen; nothing else recognises places."""

    def __init__(self, oracle: Oracle | None = None) -> None:
        self.map = SceneMap(Config(marker=MarkerConfig(search=False), depth_side_px=160))
        self.oracle = oracle or Oracle()
        self.truth: dict[KeyframeId, F64] = {}
        self.tracked: dict[KeyframeId, F64] = {}

    def walks(self, phone: Phone, poses: Sequence[F64], *, drifts: bool = False, alone: bool = False) -> None:
        """`alone`: its windows show no other phone's keyframes."""
        for pose in poses:
            true_m = phone.room.depth(pose, CAMERA)
            tracked, frame = phone.shows(phone.room.render(pose, CAMERA), true_m, pose)
            own = tracked.component_from_camera
            assert own is not None
            key = keyframe_id(phone.stream, frame.seq)
            self.truth[key], self.tracked[key] = pose, own
            window = self._window(key, alone=alone)
            seen = self.oracle.sees({k: self.truth[k] for k in window}, window[: -RECENT - 1])
            noise = np.exp(self.oracle.random.normal(0, 0.02, (120, 160))).astype(np.float32)
            depth = true_m[::2, ::2] * np.float32(phone.component_from_room.scale) * noise
            views = [ViewPrediction(k, self.tracked[k], DEPTH, own_from_camera=seen[k]) for k in window[:-1]]
            newest = ViewPrediction(key, own, DEPTH, depth, np.ones_like(depth), own_from_camera=seen[key])
            self.map.observe(tracked, frame)
            self.map.place(tracked, frame, WindowPrediction((*views, newest)))
            if drifts:
                camera = Sim3.from_rigid(own)
                phone.component_from_room = camera @ DRIFT @ camera.inverse() @ phone.component_from_room

    def _window(self, newest: KeyframeId, *, alone: bool) -> list[KeyframeId]:
        stream = newest.rpartition("/")[0]
        own = [key for key in self.truth if key.rpartition("/")[0] == stream]
        rest = [key for key in self.truth if key not in own[-RECENT - 1 :] and (key in own or not alone)]
        here = self.truth[newest][:3, 3]
        rest.sort(key=lambda key: float(np.linalg.norm(self.truth[key][:3, 3] - here)))
        return [*rest[:FAR], *own[-RECENT - 1 :]]

    def error_m(self, poses: dict[KeyframeId, F64]) -> float:
        """RMS of positions, in metres of the room, after the similarity that fits them best."""
        keys = list(self.truth)
        mine, true = (np.array([some[key][:3, 3] for key in keys]) for some in (poses, self.truth))
        return float(np.sqrt(np.mean(np.sum((umeyama(mine, true).apply(mine) - true) ** 2, axis=1))))

    def off_by(self, a: Phone, b: Phone) -> tuple[float, float, float]:
        """Between the rooms that two phones' places in the world imply: metres, degrees, relative scale."""
        rooms = []
        for phone in (a, b):
            world = self.map.world_from_component(phone.stream, phone.component)
            assert world is not None
            rooms.append(world @ phone.component_from_room)
        shift, angle_deg, stretch = turned_about(*rooms)
        return shift / rooms[0].scale, angle_deg, stretch


@pytest.fixture(scope="module")
def room() -> PaintedRoom:
    return PaintedRoom()


def returning(oracle: Oracle, room: PaintedRoom) -> Walked:
    walked = Walked(oracle)
    walked.walks(Phone("a", room, unit_m=0.5), [*walk(18), *walk(6, start=0.05)], drifts=True)
    return walked


def test_a_walk_that_returns_is_closed_by_what_windows_show(room: PaintedRoom) -> None:
    walked = returning(Oracle(), room)
    before, after = walked.error_m(walked.tracked), walked.error_m(walked.map.keyframe_poses())
    assert before > 0.025
    assert after < 0.5 * before


def elsewhere(pose: F64, window: int) -> F64:
    """Another wrong place in every window."""
    random = np.random.default_rng(window)
    return Sim3(1.0, exp_so3(random.normal(0, 0.4, 3)), random.normal(0, 0.5, 3)).apply_pose(pose)


def always_there(pose: F64, _: int) -> F64:
    """The same wrong place in all windows."""
    return Sim3(1.0, exp_so3(np.array([0.0, 0.3, 0.0])), np.array([0.4, 0.0, 0.2])).apply_pose(pose)


def a_little_off(pose: F64, _: int) -> F64:
    """Wrong by what a tracker may have drifted."""
    return Sim3(1.0, exp_so3(np.array([0.0, 0.07, 0.0])), np.array([0.06, 0.0, 0.1])).apply_pose(pose)


@pytest.mark.parametrize("lie", [pytest.param(elsewhere, marks=pytest.mark.slow), always_there, a_little_off])
def test_wrong_windows_do_no_harm(lie: Lie, room: PaintedRoom) -> None:
    walked = returning(Oracle(lie=lie), room)
    assert walked.error_m(walked.map.keyframe_poses()) < 1.05 * walked.error_m(walked.tracked)


def test_a_loop_is_closed_though_every_third_window_is_wrong(room: PaintedRoom) -> None:
    def sometimes(pose: F64, window: int) -> F64:
        return elsewhere(pose, window) if window % 3 == 0 else pose

    walked = returning(Oracle(lie=sometimes), room)
    assert walked.error_m(walked.map.keyframe_poses()) < 0.5 * walked.error_m(walked.tracked)


def test_phones_in_one_window_come_to_lie_in_one_world(room: PaintedRoom) -> None:
    walked, a, b = Walked(), Phone("a", room, unit_m=0.4), Phone("b", room, unit_m=2.0, seed=1)
    walked.walks(a, walk(8))
    walked.walks(b, walk(9, start=0.1))
    assert walked.map.status.unaligned == ()
    shift_m, angle_deg, stretch = walked.off_by(a, b)
    assert (shift_m < 0.06, angle_deg < 1.0, stretch < 0.02) == (True, True, True)


def test_who_is_in_nobody_else_s_window_stays_apart(room: PaintedRoom) -> None:
    walked, a, b = Walked(), Phone("a", room), Phone("b", room, seed=1)
    walked.walks(a, walk(8))
    walked.walks(b, walk(9, start=0.1), alone=True)
    assert walked.map.status.unaligned == ((b.stream, 0),)


def test_rooms_of_one_plan_stay_apart_whatever_the_engine_says(room: PaintedRoom) -> None:
    walked, a, b = Walked(), Phone("a", room), Phone("b", PaintedRoom(4), seed=1)
    walked.walks(a, walk(8))
    walked.walks(b, walk(12, start=0.1))
    assert walked.map.status.unaligned == ((b.stream, 0),)


def found(oracle: Oracle, room: PaintedRoom) -> tuple[list[Seen], Walked]:
    """All pairs that the windows of a walk without drift give."""
    walked, pairs = Walked(oracle), []
    phone = Phone("a", room, unit_m=0.5)
    place = window_pairs.pairs_of

    def listening(prediction: WindowPrediction, kept_of: Callable[[KeyframeId], Kept | None], order: object) -> list:
        pairs.extend(place(prediction, kept_of, order))  # type: ignore[arg-type]
        return []

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(window_pairs, "pairs_of", listening)
        walked.walks(phone, [*walk(18), *walk(8, start=0.05)])
    return pairs, walked


@pytest.mark.parametrize("noise", [0.5, pytest.param(2.0, marks=pytest.mark.slow)])
def test_a_pair_is_as_sure_as_the_engine_is_good(noise: float, room: PaintedRoom) -> None:
    pairs, walked = found(Oracle(turn_rad=0.004 * noise, shift_m=0.006 * noise), room)
    assert len(pairs) > 5
    squared = []
    for seen in pairs:
        one = np.zeros(1, np.int64)
        edge = Edges(one, one + 1, Poses.of([seen.pair.b_from_a]), seen.pair.information[None], np.full(1, np.inf))
        truth = Poses.of([Sim3.from_rigid(invert(walked.truth[seen.b]) @ walked.truth[seen.a])])
        b_from_a = Sim3(1.0, truth.rotation[0], truth.position[0] * 2.0)  # half a metre is the unit
        error = edge.errors(Poses.of([b_from_a, Sim3.identity()]))[0]
        squared.append(float(error @ (seen.pair.information / window_pairs.NOISE_PX**2) @ error))
    assert 0.02 < np.mean(squared) / 7 < 1.5


def test_an_engine_that_contradicts_the_tracker_is_not_heard(room: PaintedRoom) -> None:
    assert found(Oracle(turn_rad=0.1, shift_m=0.2), room)[0] == []
