"""Streams on several devices: they stay, they spread, and they make room when the load has become lopsided."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from server.workers.affinity import Affinity, Config
from streams.frame import StreamId

BOTH = ("cuda:0", "cuda:1")


def ask(affinity: Affinity, streams: str, now: float, up: tuple[str, ...] = BOTH) -> dict[str, str]:
    return {name: affinity.choose(StreamId(name), up, BOTH, now) for name in streams}


def test_streams_stay_with_their_device_and_spread() -> None:
    affinity = Affinity()
    first = ask(affinity, "abcd", 0.0)
    assert sorted(first.values()) == ["cuda:0", "cuda:0", "cuda:1", "cuda:1"]
    assert ask(affinity, "abcd", 1.0) == first
    assert ask(affinity, "a", 2.0, up=("cuda:1",))["a"] == "cuda:1", "its device is down"
    assert ask(affinity, "e", 2.0, up=())["e"] in BOTH, "none is up: it will wait"
    assert affinity.moves == 0


def test_a_device_that_comes_back_takes_its_share() -> None:
    affinity = Affinity()
    assert set(ask(affinity, "abcdef", 0.0, up=BOTH[:1]).values()) == {"cuda:0"}
    after = ask(affinity, "abcdef", 1.0)
    assert Counter(after.values()) == {"cuda:0": 3, "cuda:1": 3}
    assert affinity.moves == 3, "no more than have to"
    assert ask(affinity, "abcdef", 2.0) == after


def test_streams_that_left_are_no_load() -> None:
    affinity = Affinity(Config(idle_s=10.0))
    homes = ask(affinity, "abcd", 0.0)
    stay = "".join(name for name, device in homes.items() if device == "cuda:0")
    ask(affinity, stay, 9.0)
    later = ask(affinity, stay, 18.0)
    assert sorted(later.values()) == ["cuda:0", "cuda:1"], "the other device is empty by now"


@given(
    st.lists(st.tuples(st.sampled_from("abcdefghij"), st.sets(st.sampled_from(["0", "1", "2"]), min_size=1))),
    st.integers(2, 4),
)
def test_whatever_happens_streams_are_on_devices_that_are_up_and_end_up_balanced(
    story: list[tuple[str, set[str]]], imbalance: int
) -> None:
    affinity, devices = Affinity(Config(imbalance=imbalance)), ("0", "1", "2")
    for n, (stream, up) in enumerate(story):
        assert affinity.choose(StreamId(stream), sorted(up), devices, n * 0.01) in up
    now = len(story) * 0.01
    for _ in range(3):
        homes = {s: affinity.choose(StreamId(s), devices, devices, now) for s in "abcdefghij"}
    load = Counter(dict.fromkeys(devices, 0) | Counter(homes.values()))
    assert max(load.values()) - min(load.values()) < imbalance
    moves = affinity.moves
    assert {s: affinity.choose(StreamId(s), devices, devices, now) for s in "abcdefghij"} == homes
    assert affinity.moves == moves, "once balanced, nobody moves"
