"""A pattern that repeats is no evidence of a place, however much of it agrees."""

from __future__ import annotations

import numpy as np
import pytest

from mapping.places import ties
from mapping.places.repetition import Repetition, repetition
from mapping.scene_map import SceneMap
from mapping.transforms import F64
from tests.mapping.painted_room import PaintedRoom
from tests.mapping.places.filming import Phone, walk
from tests.mapping.places.test_merging import Shared

HALF_TURN = np.diag([-1.0, 1.0, -1.0, 1.0])


def papered(period_px: int) -> PaintedRoom:
    """Walls, floor and ceiling of one paper (160 px are a metre); the table in it is painted."""
    room = PaintedRoom(3)
    patch = room._walls[0][: period_px // 2, : period_px // 2]
    seamless = np.block([[patch, patch[:, ::-1]], [patch[::-1], patch[::-1, ::-1]]])
    times = -(-1024 // period_px)
    room._walls[:6] = np.tile(seamless, (times, times))[:1024, :1024]
    return room


def filmed(room: PaintedRoom, other_side: list[F64], *, is_restarted: bool) -> tuple[SceneMap, Phone, Phone]:
    shared, a, b = Shared(), Phone("a", room), Phone("b", room, unit_m=2.0, seed=1)
    shared.feed(a, walk(5))
    if is_restarted:
        shared = shared.restarted()
    shared.feed(b, other_side)
    return shared.map, a, b


@pytest.mark.parametrize("is_restarted", [False, True])
def test_phones_on_both_sides_of_a_papered_room_are_not_laid_over_each_other(is_restarted: bool) -> None:
    other_side = [HALF_TURN @ pose for pose in walk(5, start=0.15)]
    scene, _, b = filmed(papered(128), other_side, is_restarted=is_restarted)
    assert scene.status.unaligned == ((b.stream, 0),)


@pytest.mark.parametrize("is_restarted", [False, True])
def test_phones_in_a_painted_room_are_merged_on_what_occurs_once(is_restarted: bool) -> None:
    scene, _, b = filmed(PaintedRoom(3), walk(5, start=0.15), is_restarted=is_restarted)
    assert (b.stream, 0) in scene.status.aligned


def test_who_keeps_no_picture_yet_is_not_believed() -> None:
    shared, a, b = Shared(), Phone("a", PaintedRoom(3)), Phone("b", PaintedRoom(3), unit_m=2.0, seed=1)
    for phone, start in ((a, 0.0), (b, 0.15)):
        for pose in walk(5, start=start):
            tracked, frame = phone.sees(pose)
            shared.map.observe(tracked, frame)
            shared.map.recognise(shared.recogniser.see(tracked, frame))
    assert shared.map.status.unaligned == ((b.stream, 0),)
    shared.feed(b, walk(2, start=0.6))
    assert shared.map.status.unaligned == ()


def test_what_was_refused_is_looked_at_again_only_when_much_more_was_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[Repetition] = []
    monkeypatch.setattr(ties, "repetition", lambda pairs: looks.append(repetition(pairs)) or looks[-1])
    other_side = [HALF_TURN @ pose for pose in walk(12, start=0.05)]
    scene, _, b = filmed(papered(128), other_side, is_restarted=False)
    assert scene.status.unaligned == ((b.stream, 0),)
    assert 1 <= len(looks) <= 2


def test_of_nothing_nothing_is_said() -> None:
    assert not repetition([]).is_mere_pattern()


def test_asking_again_changes_little() -> None:
    often = Repetition(2, 50) + Repetition(5, 50) + Repetition(17, 50)
    assert often.is_mere_pattern()
    assert not Repetition(17, 50).is_mere_pattern()
