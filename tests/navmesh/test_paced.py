"""Pace as algebra: nothing is lost, nothing comes too often."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from navmesh.paced import Paced
from navmesh.tiles import TileKey

KEYS = st.builds(TileKey, st.integers(0, 3), st.integers(0, 3))
PERIOD_S = 0.25  # ticks and period are exact in binary: sums of them are, too


@given(st.lists(st.tuples(st.integers(0, 5), st.sets(KEYS)), max_size=40))
def test_every_marked_tile_is_built_again_and_never_too_early(rounds: list[tuple[int, set[TileKey]]]) -> None:
    paced, now_s = Paced(PERIOD_S), 0.0
    owed: set[TileKey] = set()
    last_s: dict[TileKey, float] = {}
    for ticks, marked in rounds:
        now_s += 0.0625 * ticks
        paced.mark(marked)
        owed |= marked
        due = paced.due(now_s)
        assert due <= owed
        for key in due:
            assert now_s - last_s.get(key, -1.0) >= PERIOD_S
            last_s[key] = now_s
        paced.built(dict.fromkeys(due, 1), now_s)
        owed -= due
        assert len(paced) == len(owed)
    assert paced.due(now_s + PERIOD_S) == owed


def test_hurry_forgets_when_tiles_were_built() -> None:
    paced = Paced(PERIOD_S)
    paced.mark([TileKey(0, 0)])
    paced.built({TileKey(0, 0): 1}, 1.0)
    paced.mark([TileKey(0, 0)])
    assert paced.due(1.1) == set()
    paced.hurry()
    assert paced.due(1.1) == {TileKey(0, 0)}


def test_a_tile_that_stays_as_large_is_built_less_and_less_often_until_it_changes() -> None:
    key, now_s, waits_s = TileKey(0, 0), 0.0, []
    paced = Paced(PERIOD_S, 4 * PERIOD_S)
    for size in (100, 102, 99, 101, 100, 110, 111, 0, 0):
        paced.mark([key])
        paced.built({key: size}, now_s)
        paced.mark([key])
        wait_s = paced.wait_s(now_s)
        assert wait_s is not None
        waits_s.append(wait_s)
        now_s += wait_s
    assert waits_s == [PERIOD_S * n for n in (1, 2, 4, 4, 4, 1, 2, 1, 2)]
