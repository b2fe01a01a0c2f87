"""Memory that the main process and one worker share: pixels go in once, results come out once.

The memory has no name. It is an open file descriptor that the worker inherits, so there is nothing in /dev/shm to leak,
no resource tracker to argue with, and the kernel frees it when the last process is gone, however that one died.
Layout: results first (a worker runs one job at a time), then the arrays of windows. Windows overlap, so an array that
was placed stays until its room is needed: of a window, usually only the newest keyframe is copied.
"""

from __future__ import annotations

import math
import mmap
import os
import tempfile
import weakref
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.workers.messages import ArrayRef

ALIGN = 64


class ArenaFull(ValueError):
    """The arrays of one job do not fit into the memory set aside."""


class SharedMemory:
    """A nameless block of memory, mapped."""

    def __init__(self, descriptor: int, size: int) -> None:
        """Map a descriptor that `create_descriptor` made, here or in the parent."""
        self.descriptor, self.size = descriptor, size
        self._map = mmap.mmap(descriptor, size)

    @classmethod
    def create(cls, size: int) -> SharedMemory:
        """Memory of `size` bytes, of which only the touched pages exist."""
        if hasattr(os, "memfd_create"):
            descriptor = os.memfd_create("commonground", os.MFD_CLOEXEC)
        else:
            with tempfile.TemporaryFile() as file:
                descriptor = os.dup(file.fileno())
        os.ftruncate(descriptor, size)
        return cls(descriptor, size)

    def view(self, ref: ArrayRef) -> NDArray[Any]:
        """The array at a place, without copying; valid until something else is put there.

        Raises:
            ValueError: it does not lie within the memory.
        """
        dtype = np.dtype(ref.dtype)
        count = math.prod(ref.shape)
        if dtype.hasobject or min(ref.shape, default=0) < 0 or ref.offset < 0:
            raise ValueError(f"not a place of an array: {ref}")
        if ref.offset + count * dtype.itemsize > self.size:
            raise ValueError(f"{ref} lies outside of {self.size} bytes")
        return np.frombuffer(self._map, dtype, count, ref.offset).reshape(ref.shape)

    def write(self, offset: int, array: NDArray[Any]) -> ArrayRef:
        """Copy an array to a place."""
        ref = ArrayRef(offset, array.dtype.name, array.shape)
        np.copyto(self.view(ref), array)
        return ref

    def close(self) -> None:
        """Give up the descriptor; the mapping goes with the last view of it."""
        os.close(self.descriptor)


class ResultWriter:
    """Lays the arrays of one result side by side from the start of the memory (in the worker)."""

    def __init__(self, memory: SharedMemory, result_bytes: int) -> None:
        self._memory, self._end, self._offset = memory, result_bytes, 0

    def put(self, array: NDArray[Any]) -> ArrayRef:
        """Copy one array.

        Raises:
            ArenaFull: the result is too large.
        """
        start, self._offset = self._offset, self._offset + aligned(array.nbytes)
        if self._offset > self._end:
            raise ArenaFull(f"the result needs more than {self._end} bytes; raise workers.result_bytes")
        return self._memory.write(start, array)


@dataclass(frozen=True, slots=True, eq=False)
class _Placed:
    array: weakref.ref[NDArray[Any]]
    ref: ArrayRef
    size: int


class Arena:
    """The main process's side: places the arrays of windows, least recently used ones making room."""

    def __init__(self, result_bytes: int, window_bytes: int) -> None:
        self.result_bytes, self._window_bytes = aligned(result_bytes), aligned(window_bytes)
        self.memory = SharedMemory.create(self.result_bytes + self._window_bytes)
        self._placed: OrderedDict[int, _Placed] = OrderedDict()
        self._gaps: list[tuple[int, int]] = [(self.result_bytes, self._window_bytes)]
        """(offset, size), by offset; neighbours are merged."""

    def place(self, arrays: Iterable[NDArray[Any]]) -> list[ArrayRef]:
        """Put the arrays of one job into the memory, copying those that are not there yet; the job before is over.

        Raises:
            ArenaFull: they do not fit, even alone.
        """
        arrays = list(arrays)
        if sum(aligned(array.nbytes) for array in arrays) > self._window_bytes:
            raise ArenaFull(f"the window needs more than {self._window_bytes} bytes; raise workers.window_bytes")
        needed = {id(array) for array in arrays}
        refs = [self._place(array, needed) for array in arrays]
        if None in refs:  # only this job's arrays are left and the room is in pieces: start afresh
            for key in list(self._placed):
                self._evict(key)
            refs = [self._place(array, needed) for array in arrays]
        return [ref for ref in refs if ref is not None]

    def _place(self, array: NDArray[Any], needed: set[int]) -> ArrayRef | None:
        placed = self._placed.get(id(array))
        if placed is not None and placed.array() is array:
            self._placed.move_to_end(id(array))
            return placed.ref
        if placed is not None:  # another array, now gone, had this identity
            self._evict(id(array))
        size = aligned(array.nbytes)
        while (offset := self._take(size)) is None:
            victim = next((key for key in self._placed if key not in needed), None)
            if victim is None:
                return None
            self._evict(victim)
        ref = self.memory.write(offset, array)
        self._placed[id(array)] = _Placed(weakref.ref(array), ref, size)
        return ref

    def _take(self, size: int) -> int | None:
        for i, (offset, room) in enumerate(self._gaps):
            if room >= size:
                self._gaps[i : i + 1] = [(offset + size, room - size)] if room > size else []
                return offset
        return None

    def _evict(self, key: int) -> None:
        placed = self._placed.pop(key)
        merged: list[tuple[int, int]] = []
        for offset, room in sorted([*self._gaps, (placed.ref.offset, placed.size)]):
            if merged and sum(merged[-1]) == offset:
                merged[-1] = (merged[-1][0], merged[-1][1] + room)
            else:
                merged.append((offset, room))
        self._gaps = merged


def aligned(size: int) -> int:
    """The next multiple of a cache line."""
    return max(ALIGN, size + -size % ALIGN)
