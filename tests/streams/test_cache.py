"""The cache against a plain model, by Hypothesis; and the promises that a reader would ask about, one by one."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from streams.cache import CacheConfig, CacheFullError, KeyframeCache
from streams.frame import Frame, Image, StreamId
from streams.keyframes import Keyframe

IMAGE = Image(rgb=np.zeros((4, 8, 3), np.uint8))
SIZE = 4 * 8 * 3 * 2


def keyframe(stream: str, seq: int) -> Keyframe:
    return Keyframe(Frame(StreamId(stream), seq, seq * 1000, seq * 1000, IMAGE))


def cache_for(num: int, keep_newest: int = 2) -> KeyframeCache:
    return KeyframeCache(CacheConfig(max_bytes=num * SIZE, keep_newest=keep_newest))


def test_the_least_recently_used_goes_first_and_the_newest_of_each_stream_last() -> None:
    cache = cache_for(4)
    for seq in range(4):
        cache.add(keyframe("a", seq))
    cache.get("a/0")
    assert cache.add(keyframe("b", 0)) == ("a/1",)
    assert cache.add(keyframe("b", 1)) == ("a/0",)  # a/2, a/3, b/0 are the newest of their streams
    assert cache.add(keyframe("b", 2)) == ("b/0",)


def test_a_window_is_the_newest_of_a_stream_after_what_was_asked_for_besides() -> None:
    cache = cache_for(10)
    for seq in (1, 2, 3):
        cache.add(keyframe("a", seq))
        cache.add(keyframe("b", seq))
    window = cache.window(StreamId("a"), 2, also=["b/3", "a/1", "gone/9", "a/3"])
    assert [k.id for k in window] == ["a/1", "b/3", "a/2", "a/3"]
    assert cache.window(StreamId("nobody"), 3) == ()
    assert [k.id for k in cache.window(StreamId("a"), 0)] == []


def test_leased_keyframes_stay_and_a_full_cache_says_so() -> None:
    cache = cache_for(2)
    cache.add(keyframe("a", 0))
    cache.add(keyframe("a", 1))
    with cache.lease(["a/0", "a/1", "unknown/0"]) as held:
        assert [k.id for k in held] == ["a/0", "a/1"]
        with pytest.raises(CacheFullError, match="max_bytes"):
            cache.add(keyframe("a", 2))
        assert cache.stats.keyframes == 2
    assert cache.add(keyframe("a", 2)) == ("a/0",)


def test_erasing_takes_effect_at_once_even_for_what_is_leased() -> None:
    cache = cache_for(4)
    cache.add(keyframe("a", 0))
    cache.add(keyframe("b", 0))
    with cache.lease(["a/0"]):
        assert cache.erase(StreamId("a")) == 1
        assert "a/0" not in cache
        assert cache.get("a/0") is None
        assert cache.window(StreamId("a"), 5, also=["a/0"]) == ()
        assert cache.stats.nbytes == 2 * SIZE  # the job still holds its pixels
    assert cache.stats.nbytes == SIZE
    assert len(cache) == 1


class CacheMachine(RuleBasedStateMachine):
    """Random use; what must hold always is in the invariants."""

    def __init__(self) -> None:
        super().__init__()
        self.cache = cache_for(6)
        self.next_seq = 0
        self.alive: set[str] = set()
        self.leases: list[tuple[AbstractContextManager[Any], tuple[str, ...]]] = []

    @rule(stream=st.sampled_from("abc"))
    def add(self, stream: str) -> None:
        new = keyframe(stream, self.next_seq)
        self.next_seq += 1
        leased = {i for _, ids in self.leases for i in ids}
        try:
            evicted = self.cache.add(new)
        except CacheFullError:
            assert len(leased) >= 6
            return
        assert not leased & set(evicted)
        assert set(evicted) <= self.alive
        self.alive = (self.alive - set(evicted)) | {new.id}

    @rule(data=st.data())
    @precondition(lambda self: self.alive)
    def use(self, data: st.DataObject) -> None:
        chosen = data.draw(st.sampled_from(sorted(self.alive)))
        found = self.cache.get(chosen)
        assert found is not None
        assert found.id == chosen

    @rule(data=st.data())
    @precondition(lambda self: self.alive and len(self.leases) < 3)
    def lease(self, data: st.DataObject) -> None:
        ids = data.draw(st.lists(st.sampled_from(sorted(self.alive)), max_size=3))
        lease = self.cache.lease(ids)
        self.leases.append((lease, tuple(k.id for k in lease.__enter__())))

    @rule()
    @precondition(lambda self: self.leases)
    def release(self) -> None:
        lease, _ = self.leases.pop()
        lease.__exit__(None, None, None)

    @rule(stream=st.sampled_from("abc"))
    def erase(self, stream: str) -> None:
        gone = {i for i in self.alive if i.startswith(stream)}
        assert self.cache.erase(StreamId(stream)) == len(gone)
        self.alive -= gone

    @rule(stream=st.sampled_from("abc"), newest=st.integers(0, 4))
    def window(self, stream: str, newest: int) -> None:
        mine = sorted(int(i.split("/")[1]) for i in self.alive if i.startswith(stream))
        window = self.cache.window(StreamId(stream), newest)
        assert [k.frame.seq for k in window] == (mine[-newest:] if newest else [])

    @invariant()
    def bounded_and_consistent(self) -> None:
        held = self.alive | {i for _, ids in self.leases for i in ids}
        assert self.cache.stats.nbytes == len(held) * SIZE <= 6 * SIZE
        assert len(self.cache) == len(self.alive)
        assert all(i in self.cache for i in self.alive)


CacheMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestCacheMachine = CacheMachine.TestCase
