"""Shared memory: what is placed can be read back, is copied once while it stays, and fits or is refused."""

from __future__ import annotations

import itertools
import mmap
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.workers import arena as arena_module
from server.workers.arena import Arena, ArenaFull, ResultWriter, SharedMemory
from server.workers.messages import ArrayRef


@pytest.fixture
def arena() -> Arena:
    return Arena(result_bytes=1024, window_bytes=10 * 1024)


def array(size: int, value: int) -> np.ndarray:
    return np.full(size, value, np.uint8)


def test_another_mapping_of_the_descriptor_sees_the_arrays(arena: Arena) -> None:
    values = np.arange(12, dtype=np.float32).reshape(3, 4)[:, ::2]
    [ref] = arena.place([values])
    other = SharedMemory(os.dup(arena.memory.descriptor), arena.memory.size)
    assert np.array_equal(other.view(ref), values)
    assert other.view(ref).dtype == np.float32


def test_empty_arrays_are_arrays(arena: Arena) -> None:
    refs = arena.place([np.empty((0, 3), np.float32), array(10 * 1024 - 64, 1)])
    assert arena.memory.view(refs[0]).shape == (0, 3)
    assert ResultWriter(arena.memory, arena.result_bytes).put(np.empty((4, 0))).shape == (4, 0)


def test_nothing_is_copied_twice_while_it_stays(arena: Arena, monkeypatch: pytest.MonkeyPatch) -> None:
    window = [array(2000, i) for i in range(4)]
    first = arena.place(window)
    written: list[int] = []
    monkeypatch.setattr(
        arena.memory, "write", lambda offset, a: written.append(offset) or ArrayRef(offset, "uint8", a.shape)
    )
    assert arena.place(window) == first
    assert written == []
    newest = array(2000, 9)
    assert arena.place([*window[1:], newest])[:3] == first[1:]
    assert len(written) == 1


def test_a_reused_identity_is_not_mistaken(arena: Arena, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arena_module, "id", lambda _: 7, raising=False)
    for value in range(5):
        [ref] = arena.place([array(100, value)])
        assert set(arena.memory.view(ref).tolist()) == {value}


def test_results_and_windows_do_not_overlap(arena: Arena) -> None:
    refs = arena.place([array(1000, 1), array(9000, 2)])
    writer = ResultWriter(arena.memory, arena.result_bytes)
    result = writer.put(array(1024, 3))
    assert set(arena.memory.view(refs[0])) == {1}
    assert set(arena.memory.view(result)) == {3}
    with pytest.raises(ArenaFull, match="result_bytes"):
        writer.put(array(1, 3))


def test_a_window_that_cannot_fit_is_refused_and_the_next_one_fits(arena: Arena) -> None:
    with pytest.raises(ArenaFull, match="window_bytes"):
        arena.place([array(6000, 1), array(6000, 2)])
    assert arena.place([array(10 * 1024, 3)])


@settings(max_examples=60)
@given(st.lists(st.lists(st.integers(1, 4000), max_size=6), max_size=12), st.data())
def test_any_sequence_of_windows(windows: list[list[int]], data: st.DataObject) -> None:
    """Every window that fits by its sum is placed, its arrays whole and apart, however fragmented the memory is."""
    arena = Arena(result_bytes=64, window_bytes=10 * 1024)
    kept: list[np.ndarray] = []
    for number, sizes in enumerate(windows):
        old = [a for a in kept if data.draw(st.booleans())]
        window = old + [array(size, (number * 7 + i) % 251) for i, size in enumerate(sizes)]
        if sum(arena_module.aligned(a.nbytes) for a in window) > 10 * 1024:
            with pytest.raises(ArenaFull):
                arena.place(window)
            continue
        refs = arena.place(window)
        for a, ref in zip(window, refs, strict=True):
            assert np.array_equal(arena.memory.view(ref), a)
        spans = sorted((ref.offset, ref.offset + a.nbytes) for a, ref in zip(window, refs, strict=True))
        assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))
        kept = window


@pytest.mark.parametrize(
    "ref",
    [
        ArrayRef(0, "uint8", (20_000,)),
        ArrayRef(-8, "uint8", (4,)),
        ArrayRef(0, "uint8", (-4,)),
        ArrayRef(0, "object", (4,)),
        ArrayRef(0, "float64", (2**62, 2**62)),
    ],
)
def test_places_outside_are_refused(arena: Arena, ref: ArrayRef) -> None:
    with pytest.raises(ValueError):
        arena.memory.view(ref)


def test_systems_without_memfd_get_nameless_memory_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    memory = SharedMemory.create(mmap.PAGESIZE)
    assert np.array_equal(memory.view(memory.write(64, array(10, 5))), array(10, 5))
