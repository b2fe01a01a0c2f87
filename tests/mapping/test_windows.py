"""Which keyframes are seen together: what holds for every walk, and a walk that comes back to where it was."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mapping import engines
from mapping.changes import KeyframeId
from mapping.windows import Config, WindowPolicy
from streams.frame import StreamId

A, B = StreamId("a"), StreamId("b")
WALK = (A, 0)


def name(n: int, stream: StreamId = A) -> KeyframeId:
    return KeyframeId(f"{stream}/{n}")


def looks(angle_rad: float) -> NDArray[np.float32]:
    """What is seen when one looks in a direction: directions near each other look alike."""
    return np.array([np.cos(angle_rad), np.sin(angle_rad)], np.float32)


configs = st.builds(
    Config,
    recent=st.integers(1, 5),
    retrieved=st.integers(0, 4),
    elsewhere=st.integers(0, 2),
    anchors=st.integers(0, 3),
    remembered=st.integers(2, 9),
)


@given(configs, st.lists(st.floats(0, 6.28), min_size=1, max_size=40), st.sets(st.integers(0, 39)))
def test_whatever_the_walk(config: Config, angles: list[float], gone: set[int]) -> None:
    policy, is_here = WindowPolicy(config), lambda keyframe: int(keyframe.rpartition("/")[2]) not in gone
    for n, angle in enumerate(angles):
        policy.choose((B, 0), name(n, B))
        policy.describe((B, 0), name(n, B), looks(angle))
        window = policy.choose(WALK, name(n), is_here)
        assert len(window) <= config.recent + config.retrieved + config.anchors
        others = [keyframe for keyframe in window if keyframe.startswith("b/")]
        assert len(others) <= config.elsewhere
        assert not [keyframe for keyframe in others if not is_here(keyframe)]
        window = window[len(others) :]
        ages = [int(keyframe.rpartition("/")[2]) for keyframe in window]
        assert ages == sorted(set(ages)), "oldest first, each once"
        assert ages[-1] == n
        assert not gone & set(ages[:-1])
        assert all(keyframe.startswith("a/") for keyframe in window)
        assert {*range(max(0, n + 1 - config.recent), n)} - gone <= set(ages)
        assert {*range(min(config.anchors, n))} - gone <= set(ages)
        policy.describe(WALK, name(n), looks(angle))


def test_every_keyframe_has_a_window_at_once() -> None:
    policy = WindowPolicy(Config(recent=3))
    windows = [policy.choose(WALK, name(n)) for n in range(5)]
    assert windows[0] == (name(0),)
    assert windows[1] == (name(0), name(1))
    assert windows[4] == (name(2), name(3), name(4))


def test_who_comes_back_meets_what_was_seen_there() -> None:
    """Once round and on: on the way out nothing is looked up, on the second round what lies behind the same angle."""
    policy = WindowPolicy(Config(recent=4, retrieved=3))
    step = 2 * np.pi / 24
    for n in range(40):
        window = policy.choose(WALK, name(n))
        older = [int(keyframe.rpartition("/")[2]) for keyframe in window[:-4]]
        if 4 <= n < 20:
            assert not older, "all that looks as alike is among the newest"
        if n >= 30:
            assert len(older) == 3
            assert all(abs(o - (n - 1 - 24)) <= 1 for o in older)
        policy.describe(WALK, name(n), looks(n * step))


def test_descriptors_are_thinned_when_there_are_too_many() -> None:
    policy = WindowPolicy(Config(recent=3, retrieved=50, remembered=8))
    for n in range(200):
        window = policy.choose(WALK, name(n))
        policy.describe(WALK, name(n), looks(0))
        assert len(window) <= 3 + 8
    assert name(0) in window, "the oldest stays, for the whole walk is to be known again"


def test_a_stream_is_forgotten_and_components_are_apart() -> None:
    policy = WindowPolicy(Config(recent=2))
    policy.choose(WALK, name(0))
    assert policy.choose((A, 1), name(1)) == (name(1),)
    policy.forget(A)
    policy.describe(WALK, name(0), looks(0))
    assert policy.choose(WALK, name(2)) == (name(2),)


def test_each_engine_says_how_it_likes_its_windows() -> None:
    assert engines.windows("classical") == Config(recent=12)
    assert engines.windows("vggt") == Config(recent=8, retrieved=8, elsewhere=2, anchors=1)


def test_other_walks_keyframes_that_look_alike_come_first() -> None:
    policy, other = WindowPolicy(Config(recent=3, retrieved=2, elsewhere=2)), (B, 0)
    for n in range(4):
        policy.choose(other, name(n, B))
        policy.describe(other, name(n, B), looks(0.4 * n))
    windows = []
    for n in range(4):
        windows.append(policy.choose(WALK, name(n)))
        policy.describe(WALK, name(n), looks(0.45 + 0.3 * n))
    assert windows[1] == (name(0), name(1)), "nobody knows yet what is alike"
    assert windows[2] == (name(2, B), name(0), name(1), name(2)), "more alike than the least alike of the newest"
    assert windows[3] == (name(3, B), name(2, B), name(1), name(2), name(3)), "the most alike first"
    policy.forget(B)
    assert policy.choose(WALK, name(4)) == (name(2), name(3), name(4))


def test_walks_of_which_no_picture_is_left_are_forgotten() -> None:
    policy, here = WindowPolicy(Config(recent=2, retrieved=2)), set[KeyframeId]()
    for component in range(50):
        for n in range(3):
            here = {*sorted(here)[-4:], name(3 * component + n)}
            policy.choose((A, component), name(3 * component + n), here.__contains__)
            policy.describe((A, component), name(3 * component + n), looks(0.0))
    assert len(policy._walks) <= 5
