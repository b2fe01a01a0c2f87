"""A walk that comes back to where it began is closed, and only if it did come back; phones share what they know."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from mapping.changes import KeyframeId, MapChange
from mapping.engines import ViewPrediction, WindowPrediction
from mapping.metric.markers import Config as MarkerConfig
from mapping.places.recogniser import Config as RecogniserConfig
from mapping.places.recogniser import Recogniser
from mapping.scene_map import Config, SceneMap
from mapping.transforms import F64, Sim3, exp_so3, umeyama
from tests.mapping.painted_room import PaintedRoom
from tests.mapping.places.filming import CAMERA, Phone, turned_about, walk

AWAY = 9
DRIFT = Sim3(1.003, exp_so3(np.array([0.001, 0.0042, 0.0])), np.array([0.002, 0.0, 0.0]))
"""From one keyframe to the next, in the camera's axes."""


class Walker:
    """A phone whose tracker drifts, and the map that it makes."""

    def __init__(self, room: PaintedRoom, walked_on: int) -> None:
        self.map = SceneMap(Config(marker=MarkerConfig(search=False), depth_side_px=32))
        self.recogniser = Recogniser(RecogniserConfig(walked_on=walked_on))
        self.phone = Phone("a", room, unit_m=0.5)
        self.truth: list[F64] = []
        self.tracked: list[F64] = []

    def walks(self, poses: Sequence[F64], *, drifts: bool = True) -> list[MapChange]:
        changes = []
        for pose in poses:
            tracked, frame = self.phone.sees(pose)
            own = tracked.component_from_camera
            assert own is not None
            depth = np.full((24, 32), 1.5 / 0.5, np.float32)
            key = KeyframeId(f"{self.phone.stream}/{frame.seq}")
            view = ViewPrediction(key, own, CAMERA.scaled(32, 24), depth, np.ones_like(depth))
            self.map.observe(tracked, frame)
            self.map.place(tracked, frame, WindowPrediction((view,)))
            changes += [self.map.fuse(), self.map.recognise(self.recogniser.see(tracked, frame)), self.map.fuse()]
            self.truth.append(pose)
            self.tracked.append(own)
            if drifts:
                camera = Sim3.from_rigid(own)
                self.phone.component_from_room = camera @ DRIFT @ camera.inverse() @ self.phone.component_from_room
        return changes

    def in_map(self) -> list[F64]:
        """world_from_camera of every keyframe as the map has it."""
        poses = self.map.keyframe_poses()
        return [poses[KeyframeId(f"{self.phone.stream}/{seq}")] for seq in range(self.phone.seq)]

    def error_m(self, poses: Sequence[F64]) -> float:
        """RMS of positions, in metres of the room, after the similarity that fits them best."""
        mine, true = (np.array([pose[:3, 3] for pose in some]) for some in (poses, self.truth))
        return float(np.sqrt(np.mean(np.sum((umeyama(mine, true).apply(mine) - true) ** 2, axis=1))))


@pytest.fixture(scope="module")
def returned() -> tuple[Walker, list[MapChange]]:
    walker = Walker(PaintedRoom(), walked_on=17)
    return walker, walker.walks([*walk(2 * AWAY), *walk(6, start=0.05)])


def test_a_walk_that_returns_to_its_start_is_closed(returned: tuple[Walker, list[MapChange]]) -> None:
    walker, _ = returned
    before, after = walker.error_m(walker.tracked), walker.error_m(walker.in_map())
    assert before > 0.025
    assert after < 0.3 * before


def test_frames_are_answered_where_the_keyframe_before_them_was_put(returned: tuple[Walker, list[MapChange]]) -> None:
    walker, _ = returned
    newest = walker.phone.seq - 1
    for seq in (newest, newest + 7):
        world = walker.map.world_from_component(walker.phone.stream, 0, seq)
        assert world is not None
        np.testing.assert_allclose(world.apply_pose(walker.tracked[-1]), walker.in_map()[-1], atol=1e-9)
    whole = walker.map.world_from_component(walker.phone.stream, 0)
    assert whole is not None
    assert turned_about(world, whole)[1] > 0.3, "the end of the walk is bent back"


def test_a_noticeable_bend_is_told_by_an_epoch_that_moves_nothing(returned: tuple[Walker, list[MapChange]]) -> None:
    walker, changes = returned
    told = [change for change in changes if change.reason == "loop"]
    assert told
    for change in told:
        assert change.new_from_old is not None
        np.testing.assert_array_equal(change.new_from_old.matrix(), np.eye(4))
    assert not walker.map.status.is_rebuilding, "what moved is fused anew bit by bit"
    assert walker.map.status.epoch >= told[-1].epoch


def test_the_volume_follows(returned: tuple[Walker, list[MapChange]]) -> None:
    walker, _ = returned
    while walker.map.status.num_pending:
        walker.map.fuse()
    for seq, pose in enumerate(walker.in_map()):
        view = walker.map.depth_view(KeyframeId(f"{walker.phone.stream}/{seq}"))
        assert view is not None
        np.testing.assert_allclose(view.world_from_camera, pose, atol=1e-9)


def test_another_room_that_looks_the_same_is_not_taken_for_the_first() -> None:
    """Furnished alike, a few steps on: the tracker cannot have gone astray that far."""
    walker = Walker(PaintedRoom(), walked_on=AWAY - 2)
    there = walk(AWAY)
    walker.walks(there, drifts=False)
    away = Sim3(1.0, np.eye(3), np.array([4.0, 0.0, 0.0]))  # the twin stands 4 m to the side
    walker.phone.component_from_room = walker.phone.component_from_room @ away
    changes = walker.walks(there, drifts=False)
    assert not [change for change in changes if change.reason == "loop"]
    for seq, own in enumerate(walker.tracked):
        world = walker.map.world_from_component(walker.phone.stream, 0, seq)
        whole = walker.map.world_from_component(walker.phone.stream, 0)
        assert world is not None
        assert whole is not None
        np.testing.assert_allclose(world.apply_pose(own), whole.apply_pose(own), atol=0.01)
