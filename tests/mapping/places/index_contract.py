"""What every place index does, in this process or in a database."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mapping.changes import KeyframeId
from mapping.places.embedding import DIMENSIONS
from mapping.places.index import Entry, PlaceIndex
from streams.frame import Intrinsics, StreamId

MakeIndex = Callable[[int], PlaceIndex]
"""An empty index that holds so many entries at most."""


def looks(seed: int) -> np.ndarray:
    vector = np.random.default_rng(seed).normal(size=DIMENSIONS)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def entry(name: str, seed: int, component: int = 0) -> Entry:
    stream, _, seq = name.rpartition("/")
    return Entry(
        KeyframeId(name), StreamId(stream), component, looks(seed), np.eye(4), Intrinsics.from_fov(640, 480),
        1_700_000_000_000_000_000 + int(seq),
    )  # fmt: skip


class IndexContract:
    """Subclass it with a fixture `make`."""

    def test_the_most_alike_comes_first(self, make: MakeIndex) -> None:
        index = make(100)
        for seed in range(20):
            index.add(entry(f"a/{seed}", seed))
        near = looks(7) + 0.3 * looks(3)
        found = index.nearest((near / np.linalg.norm(near)).astype(np.float32), 3)
        assert [match.keyframe for match in found[:2]] == ["a/7", "a/3"]
        assert found[0].likeness == pytest.approx(float(looks(7) @ near / np.linalg.norm(near)), abs=1e-4)
        assert (found[0].stream, found[0].component) == ("a", 0)
        assert [m.likeness for m in found] == sorted((m.likeness for m in found), reverse=True)

    def test_fewer_than_asked_for_is_no_error(self, make: MakeIndex) -> None:
        index = make(100)
        assert index.nearest(looks(0), 5) == []
        index.add(entry("a/1", 1))
        assert len(index.nearest(looks(0), 5)) == len(index) == 1

    def test_ones_own_component_is_left_out_and_no_other(self, make: MakeIndex) -> None:
        index = make(100)
        index.add(entry("a/1", 1))
        index.add(entry("a/2", 2, component=1))
        index.add(entry("b/3", 3))
        found = index.nearest(looks(1), 5, without=(StreamId("a"), 0))
        assert {match.keyframe for match in found} == {"a/2", "b/3"}

    def test_an_entry_of_the_same_id_is_replaced(self, make: MakeIndex) -> None:
        index = make(100)
        index.add(entry("a/1", 1))
        index.add(entry("a/1", 2))
        assert len(index) == 1
        assert index.nearest(looks(2), 1)[0].likeness == pytest.approx(1.0, abs=1e-4)

    def test_the_oldest_goes_when_it_is_full(self, make: MakeIndex) -> None:
        index = make(3)
        for seed in range(5):
            index.add(entry(f"a/{seed}", seed))
        assert len(index) == 3
        assert {match.keyframe for match in index.nearest(looks(0), 9)} == {"a/2", "a/3", "a/4"}

    def test_streams_and_keyframes_are_forgotten(self, make: MakeIndex) -> None:
        index = make(100)
        for seed, name in enumerate(("a/1", "a/2", "b/3", "b/4")):
            index.add(entry(name, seed))
        index.remove(StreamId("a"))
        index.discard([KeyframeId("b/3"), KeyframeId("unknown/1")])
        assert [match.keyframe for match in index.nearest(looks(0), 9)] == ["b/4"]

    def test_names_are_never_read_as_anything_else(self, make: MakeIndex) -> None:
        index = make(100)
        evil = """x'); drop table scene_geometry; --"\\%s{}"""
        index.add(entry(f"{evil}/1", 1))
        index.add(entry("b/2", 2))
        assert index.nearest(looks(1), 1)[0].stream == evil
        index.remove(StreamId("' or '1'='1"))
        assert len(index) == 2
        index.remove(StreamId(evil))
        assert len(index) == 1

    @pytest.mark.parametrize("bad", [np.zeros(3, np.float32), np.full(DIMENSIONS, np.nan, np.float32)])
    def test_what_is_no_embedding_is_refused(self, make: MakeIndex, bad: np.ndarray) -> None:
        with pytest.raises(ValueError, match="embedding"):
            make(10).nearest(bad, 1)
