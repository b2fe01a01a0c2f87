"""What one session learns of a lens is the guess of the next one, in memory and on disk."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mapping.tracking.lenses import Lenses
from mapping.tracking.tracker import Tracker, TrackerConfig, warm_up
from streams.frame import Intrinsics, StreamId
from tests.mapping.painted_room import CAMERA, PaintedRoom, frame, walk


def test_estimates_are_averaged_by_their_certainty() -> None:
    lenses = Lenses()
    lenses.learn("phone", 0.80, 0.03)
    lenses.learn("phone", 0.90, 0.06)
    known = lenses.recall("phone")
    assert known is not None
    assert known.focal == pytest.approx((0.80 * 4 + 0.90) / 5)
    assert known.sigma < 0.03
    assert known.fov_deg == pytest.approx(np.degrees(2 * np.arctan(0.5 / known.focal)))
    assert lenses.recall("another") is None


def test_the_longest_unused_is_forgotten() -> None:
    lenses = Lenses()
    for i in range(600):
        lenses.learn(f"phone {i}", 0.8, 0.05)
        lenses.recall("phone 0")
    assert lenses.recall("phone 0") is not None
    assert lenses.recall("phone 1") is None
    assert lenses.recall("phone 599") is not None


def test_what_is_written_is_read() -> None:
    lenses = Lenses()
    lenses.learn("phone, back", 0.77, 0.025)
    again = Lenses.from_json(lenses.to_json())
    assert again.recall("phone, back") == lenses.recall("phone, back")
    for broken in ("", "[]", '{"a": 3}', '{"a": [0, 1]}', '{"a": [1, "x"]}'):
        with pytest.raises(ValueError, match=r".*"):
            Lenses.from_json(broken)


def test_the_next_session_of_a_lens_starts_where_the_last_one_arrived() -> None:
    warm_up()
    room, config = PaintedRoom(), TrackerConfig(guessed_fov_deg=58.0)  # the truth is 63.2
    images = [room.render(pose) for pose in walk(200)]
    lenses = Lenses()
    guess = Intrinsics.from_fov(CAMERA.width, CAMERA.height, 58.0).fx
    first = Tracker(StreamId("first"), config, lenses)
    for i, image in enumerate(images):
        first.track(replace(frame(image, i, camera=None), camera="phone, back"))
    opening = replace(frame(images[0], 0, camera=None), camera="phone, back")
    same = Tracker(StreamId("same"), config, lenses).track(opening)
    other = Tracker(StreamId("other"), config, lenses).track(replace(opening, camera="phone, front"))
    assert abs(same.intrinsics.fx - CAMERA.fx) < 0.5 * abs(guess - CAMERA.fx)
    assert other.intrinsics.fx == guess
