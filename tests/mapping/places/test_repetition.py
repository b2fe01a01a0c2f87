"""A pattern that repeats is no evidence of a place, however much of it agrees."""

from __future__ import annotations

import numpy as np
import pytest

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


def filmed(room: PaintedRoom, other_side: list[F64]) -> tuple[SceneMap, Phone, Phone]:
    shared, a, b = Shared(), Phone("a", room), Phone("b", room, unit_m=2.0, seed=1)
    shared.feed(a, walk(5), kept=room)
    shared.feed(b, other_side, kept=room)
    return shared.map, a, b


@pytest.mark.parametrize("period_px", [128])
def test_phones_on_both_sides_of_a_papered_room_are_not_laid_over_each_other(period_px: int) -> None:
    scene, a, b = filmed(papered(period_px), [HALF_TURN @ pose for pose in walk(5, start=0.15)])
    assert scene.status.aligned == ((a.stream, 0),)
    assert scene.status.unaligned == ((b.stream, 0),)


def test_phones_in_a_painted_room_are_merged_on_what_occurs_once() -> None:
    scene, a, b = filmed(PaintedRoom(3), walk(5, start=0.15))
    assert set(scene.status.aligned) == {(a.stream, 0), (b.stream, 0)}


def test_of_nothing_nothing_is_said() -> None:
    assert not repetition([]).is_mere_pattern()


def test_asking_again_changes_little() -> None:
    often = Repetition(2, 50) + Repetition(5, 50) + Repetition(17, 50)
    assert often.is_mere_pattern()
    assert not Repetition(17, 50).is_mere_pattern()
