"""Maps of phones that saw one place become one world, as a new epoch that moves nobody; others stay apart."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest

from mapping.changes import MapChange
from mapping.engines import ViewPrediction, WindowPrediction
from mapping.places.recogniser import Recogniser
from mapping.places.storing import from_stored, to_stored
from mapping.placing import keyframe_id
from mapping.scene_map import SceneMap
from mapping.transforms import F64
from streams.frame import Image
from tests.mapping.painted_room import PaintedRoom
from tests.mapping.places.filming import CAMERA, Phone, turned_about, walk


@pytest.fixture(scope="module")
def room() -> PaintedRoom:
    return PaintedRoom()


class Shared:
    """A map and what recognises places for it."""

    def __init__(self) -> None:
        self.map, self.recogniser = SceneMap(), Recogniser()

    def feed(self, phone: Phone, poses: Iterable[F64], *, kept: PaintedRoom | None = None) -> list[MapChange]:
        """Returns the merges among the changes; `kept` is the room that the kept pictures show if not the phone's."""
        changes = []
        for pose in poses:
            tracked, frame = phone.sees(pose)
            self.map.observe(tracked, frame)
            own = tracked.component_from_camera
            assert own is not None
            depth = (kept or phone.room).depth(pose, CAMERA) * np.float32(phone.component_from_room.scale)
            view = ViewPrediction(keyframe_id(frame.stream, frame.seq), own, CAMERA, depth, np.ones_like(depth))
            shown = frame
            if kept is not None:
                shown = replace(frame, image=Image(rgb=np.repeat(kept.render(pose, CAMERA)[:, :, None], 3, axis=2)))
            self.map.place(tracked, shown, WindowPrediction((view,)))
            changes.append(self.map.recognise(self.recogniser.see(tracked, frame)))
            changes.append(self.map.fuse())
        return [change for change in changes if change.reason == "merge"]

    def restarted(self) -> Shared:
        """The same after a restart, as it comes back from the disk."""
        again, known = Shared(), self.map
        again.map.restore(known.blocks(known.voxels.block_keys()), known.snapshot())
        stored = [to_stored(place, known.bend_around(place)) for place in self.recogniser.places()]
        places = from_stored(stored, known.components_in_world())
        again.map.remember(places)
        for place in places:
            again.recogniser.take_in(place)
        return again

    def off_by(self, a: Phone, b: Phone) -> tuple[float, float, float]:
        """Between the rooms that two phones' places in the world imply, in units of phone a."""
        worlds = [self.map.world_from_component(phone.stream, phone.component) for phone in (a, b)]
        assert worlds[0] is not None
        assert worlds[1] is not None
        rooms = [w @ p.component_from_room for w, p in zip(worlds, (a, b), strict=True)]
        shift, angle_deg, stretch = turned_about(*rooms)
        return shift / rooms[0].scale, angle_deg, stretch


def test_a_phone_that_sees_known_ground_joins_in_a_new_epoch_that_moves_nothing(room: PaintedRoom) -> None:
    shared, a, b = Shared(), Phone("a", room, unit_m=0.4), Phone("b", room, unit_m=2.0, seed=1)
    shared.feed(a, walk(6))
    before, epoch = shared.map.world_from_component(a.stream, 0), shared.map.status.epoch
    merges = shared.feed(b, walk(4, start=0.1))
    assert merges
    for merge in merges:
        np.testing.assert_array_equal(merge.new_from_old.matrix(), np.eye(4))
    assert shared.map.status.epoch == merges[-1].epoch == epoch + len(merges)
    assert shared.map.status.unaligned == ()
    assert shared.map.world_from_component(a.stream, 0) is before
    shift, angle_deg, stretch = shared.off_by(a, b)
    assert (shift < 0.01, angle_deg < 0.3, stretch < 0.01) == (True, True, True)


def test_who_knows_only_somebody_who_is_apart_joins_when_that_one_does(room: PaintedRoom) -> None:
    shared = Shared()
    elsewhere, b, c = (Phone(name, room, seed=k) for k, name in enumerate("abc"))
    elsewhere.room = PaintedRoom(5)
    shared.feed(elsewhere, walk(2))
    shared.feed(b, walk(4))
    shared.feed(c, walk(4, start=0.1))
    assert shared.map.status.aligned == ((elsewhere.stream, 0),)
    b.component += 1  # lost, and started anew where the founder is
    b.room = elsewhere.room
    shared.feed(b, walk(4, start=0.1))
    assert shared.map.status.unaligned == ((b.stream, 0), (c.stream, 0))
    shared.map.align(b.stream, 0, shared.map.world_from_component(elsewhere.stream, 0))  # somebody tells
    shared.feed(c, walk(1, start=0.5))
    assert shared.map.status.unaligned == ()
    worlds = [shared.map.world_from_component(phone.stream, 0) for phone in (b, c)]
    rooms = [world @ phone.component_from_room for world, phone in zip(worlds, (b, c), strict=True)]
    shift, angle_deg, stretch = turned_about(*rooms)
    assert (shift / rooms[0].scale < 0.01, angle_deg < 0.3, stretch < 0.01) == (True, True, True)


def test_a_false_start_does_not_keep_other_phones_from_a_world_of_their_own(room: PaintedRoom) -> None:
    shared = Shared()
    first, b, c = (Phone(name, room, seed=k) for k, name in enumerate("abc"))
    first.room = PaintedRoom(5)
    shared.feed(first, walk(2))
    shared.feed(b, walk(5))
    shared.feed(c, walk(4, start=0.1))
    assert shared.map.status.aligned == ((first.stream, 0),), "it may go on yet"
    first.component += 1
    shared.feed(first, walk(1))
    assert shared.map.status.aligned == ((b.stream, 0),)
    shared.feed(c, walk(1, start=0.5))
    assert set(shared.map.status.aligned) == {(b.stream, 0), (c.stream, 0)}


def test_phones_of_different_rooms_stay_apart() -> None:
    shared = Shared()
    a, b = Phone("a", PaintedRoom(3)), Phone("b", PaintedRoom(4), seed=1)
    assert shared.feed(a, walk(6)) == []
    assert shared.feed(b, walk(6)) == []
    assert shared.map.status.unaligned == ((b.stream, 0),)
    assert shared.map.world_from_component(b.stream, 0) is None


@pytest.mark.parametrize("is_same_room", [True, False])
def test_what_is_recognised_is_not_believed_where_the_keyframes_contradict(
    room: PaintedRoom, is_same_room: bool
) -> None:
    shared, a, b = Shared(), Phone("a", room, unit_m=0.4), Phone("b", room, unit_m=2.0, seed=1)
    other = PaintedRoom(4)
    other._walls[6:] = room._walls[6:]  # the table
    shared.feed(a, walk(4))
    shared.feed(b, walk(3, start=0.1), kept=None if is_same_room else other)
    assert (shared.map.status.unaligned == ()) == is_same_room


def test_who_is_forgotten_takes_his_ties_along(room: PaintedRoom) -> None:
    shared, a, b = Shared(), Phone("a", room), Phone("b", room, seed=1)
    shared.feed(a, walk(5))
    shared.feed(b, walk(4, start=0.1))
    place = shared.map.world_from_component(b.stream, 0)
    shared.map.forget(a.stream)
    shared.recogniser.forget(a.stream)
    assert shared.map.world_from_component(b.stream, 0) is place
    c = Phone("c", room, seed=2)
    shared.feed(c, walk(4, start=0.05))
    shift, angle_deg, stretch = shared.off_by(b, c)
    assert (shift < 0.02, angle_deg < 0.3, stretch < 0.01) == (True, True, True)
