"""The gate of one device: the server raises it around each call of perception, generation stops while it is raised.

    memory = GateMemory.create()       # in the server; `memory.descriptor` is passed on to providers' workers
    gate = Perception(memory)
    with gate.closed():                # calls may overlap: workers on the CPU share one gate
        await worker.ask(window)

Perception only writes: an enter and a leave are a few stores into shared memory and one wake-up each (some 10 us
together), whoever waits, hangs or has died on the other side. It also leaves behind when its calls began and ended, out
of which the lane sees what it costs, and how much idle time there is. What generation does with it is in `parking`.
Standard library only.

Source of the idea: cooperative preemption at operator borders, as REEF (OSDI '22) and Orion (EuroSys '24) do it within
one process; here between processes, at transformer blocks.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass

from server.generation.futex import Words

PERCEPTION, HOLD = 0, 1
"""Who raises it, both in the server: perception while a window is on its way to a worker and back, so that generation
has parked when it arrives; the lane, to limit generation."""
NUM_WRITERS = 2
NUM_CALLS = 512
"""Calls that can be read back."""
_HEADER_BYTES = 64
_WRITER_BYTES = _HEADER_BYTES + 16 * NUM_CALLS
GENERATOR_AT = NUM_WRITERS * _WRITER_BYTES
SIZE_BYTES = GENERATOR_AT + 64
_NUMBERS = struct.Struct("<QQ")
_NUM_CALLS_AT, _BEGAN = 8, 16


@dataclass(frozen=True)
class Call:
    """A finished call of perception; monotonic ns, the same clock in every process of a machine."""

    began_ns: int
    ended_ns: int


class GateMemory:
    """The shared memory of a gate, by a descriptor that children inherit."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.memory = mmap.mmap(descriptor, SIZE_BYTES)
        self.words = Words(self.memory)

    @classmethod
    def create(cls) -> GateMemory:
        """An open gate that goes when the last process that knows it ends."""
        if sys.platform == "linux":
            descriptor = os.memfd_create("commonground-gate")
        else:
            with tempfile.TemporaryFile() as file:
                descriptor = os.dup(file.fileno())
        os.ftruncate(descriptor, SIZE_BYTES)
        return cls(descriptor)

    def close(self) -> None:
        """Let go of the descriptor; the memory stays mapped until the process ends."""
        os.close(self.descriptor)


class Perception:
    """The one who writes as this writer. Not for several threads at once."""

    def __init__(self, gate: GateMemory, writer: int = PERCEPTION) -> None:
        self._memory, self._words = gate.memory, gate.words
        self._at = writer * _WRITER_BYTES
        self._word = self._at // 4
        self._calls = self._within = 0

    @contextlib.contextmanager
    def closed(self) -> Iterator[None]:
        """A call: while any of them lasts, generation is stopped or about to stop at its next block. Never waits."""
        began_ns = time.monotonic_ns()
        self.enter()
        try:
            yield
        finally:
            place = self._at + _HEADER_BYTES + 16 * (self._calls % NUM_CALLS)
            _NUMBERS.pack_into(self._memory, place, began_ns, time.monotonic_ns())
            self._calls += 1
            struct.pack_into("<Q", self._memory, self._at + _NUM_CALLS_AT, self._calls)
            self.leave()

    def enter(self) -> None:
        """Raise it, without a call; it stays so until as many have left. Never waits."""
        if not self._within:
            struct.pack_into("<Q", self._memory, self._at + _BEGAN, time.monotonic_ns())
            self._turn()
        self._within += 1

    def leave(self) -> None:
        """Never waits."""
        self._within -= 1
        if not self._within:
            self._turn()

    def _turn(self) -> None:
        self._words.values[self._word] = (self._words.values[self._word] + 1) & 0xFFFFFFFF
        self._words.wake(self._word)


class Watch:
    """Reads the gate."""

    def __init__(self, gate: GateMemory) -> None:
        self._gate = gate

    @property
    def is_raised(self) -> bool:
        return self.raised_by() is not None

    def raised_by(self) -> int | None:
        """The first writer that has raised it."""
        return next(filter(self.is_raised_by, range(NUM_WRITERS)), None)

    def is_raised_by(self, writer: int) -> bool:
        return bool(self._gate.words.values[writer * _WRITER_BYTES // 4] & 1)

    def wait_turn(self, writer: int, raised: bool, timeout_s: float) -> None:
        """Return when this writer no longer has it as said (raised or lowered), at the time-out, or for no reason."""
        word = writer * _WRITER_BYTES // 4
        value = self._gate.words.values[word]
        if bool(value & 1) == raised:
            self._gate.words.wait(word, value, timeout_s)

    def raised_since_ns(self, writer: int) -> int:
        """When the writer raised it last."""
        return int(struct.unpack_from("<Q", self._gate.memory, writer * _WRITER_BYTES + _BEGAN)[0])

    def calls_since(self, count: int) -> tuple[list[Call], int]:
        """Finished calls after the first `count` ones, as far as they are kept, and how many there were in all."""
        at, memory = PERCEPTION * _WRITER_BYTES, self._gate.memory
        (total,) = struct.unpack_from("<Q", memory, at + _NUM_CALLS_AT)
        first = max(count, total - NUM_CALLS + 1)
        places = (at + _HEADER_BYTES + 16 * (i % NUM_CALLS) for i in range(first, total))
        return [Call(*_NUMBERS.unpack_from(memory, place)) for place in places], total
