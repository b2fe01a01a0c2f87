"""Held-out frames of a room that was seen, and of one that was not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import relocalisation
from benchmarks.clips import Clip
from benchmarks.relocalisation import Query, held_out, measure, photos, summary


def test_known_ground_is_found(painted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = Clip.open(painted)
    monkeypatch.setattr(relocalisation, "_PERIOD", 45)
    monkeypatch.setattr(relocalisation, "_HELD_OUT", 5)
    assert held_out(clip) == [*range(40, 45), *range(85, 90)]
    figures = measure(clip)
    assert figures["queries"] == 10
    assert figures["found"] >= 0.8
    assert figures["wrong"] == 0.0
    assert figures["ms_p50"] > 0


def test_far_off_is_not_found(painted: Path) -> None:
    clip = Clip.open(painted)
    queries = [
        Query(0, 0.1, 0.05, 1.0, 10.0, 1),
        Query(1, 0.3, 0.05, 6.0, 10.0, 1),
        Query(2, 0.3, 0.50, 1.0, 10.0, 1),
        Query(3, 0.1, None, None, None, 10),
    ]
    figures = summary(clip, queries)
    assert figures["posed"] == 0.75
    assert figures["found"] == 0.25
    assert figures["wrong"] == 0.25
    assert figures["far_found"] == 0.0


def test_photos_are_found_in_the_map_of_the_others_and_nowhere_else(
    painted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = Clip.open(painted)
    monkeypatch.setattr(relocalisation, "_PERIOD", 45)
    monkeypatch.setattr(relocalisation, "_HELD_OUT", 5)
    figures = photos(clip, [clip, replace(clip, world="elsewhere", images=clip.images[:6])])
    assert figures["photo_queries"] == 10
    assert figures["photo_found"] == 1.0
    assert figures["photo_wrong"] == 0.0
    assert figures["photo_guess_found"] > 0.7
    assert figures["photo_elsewhere"] == "2 of 2"  # a clip that only says that it was taken elsewhere
