"""Generation's side of the gate: park between two blocks, take what does not park into idle time, say so to the lane.

Standard library only: it runs in a provider's own environment.
"""

from __future__ import annotations

import itertools
import statistics
import struct
import time
from collections import deque
from collections.abc import Callable, Sequence

from server.generation.gate import GENERATOR_AT, PERCEPTION, Call, GateMemory, Watch
from server.generation.provider import Cancelled

IDLE, RUNNING, PARKED, STOPPABLE = 0, 1, 2, 3
"""`STOPPABLE`: it does not look at the gate, but may be stopped at any instant."""
LOOK_S = 0.05
"""While parked, whether the job was cancelled is looked at so often."""
MOST_PATIENCE_S = 5.0
"""So long a stage that does not park waits for a gap that is long enough; then it takes any."""
RECENT = 1024
_STATE = struct.Struct("<II")
_PARKED_NS = struct.Struct("<Q")


class Parking:
    """Of one worker process; its one thread that runs a provider calls it."""

    def __init__(self, gate: GateMemory, is_cancelled: Callable[[], bool]) -> None:
        self._gate, self._watch, self._is_cancelled = gate, Watch(gate), is_cancelled
        self._went_on_ns = time.monotonic_ns()
        self._working = RUNNING
        self._block_ms: deque[float] = deque(maxlen=RECENT)
        self._park_ms: deque[float] = deque(maxlen=RECENT)
        self.parked_ns = 0
        """All its life."""
        self.breaches = 0
        """Stages that do not park and began in a gap that was expected to be too short."""

    @property
    def block_ms(self) -> list[float]:
        """Times between two calls of `park`, the last ones."""
        return list(self._block_ms)

    @property
    def park_ms(self) -> list[float]:
        """Times from a raised gate to a parked worker, the last ones."""
        return list(self._park_ms)

    def begin(self) -> None:
        """A run begins."""
        self._block_ms.clear()
        self.work(stoppable=False)

    def work(self, *, stoppable: bool) -> None:
        """What comes now parks often; or not at all, and may be stopped."""
        self._working = STOPPABLE if stoppable else RUNNING
        self._went_on_ns = time.monotonic_ns()
        self._say(self._working)

    def end(self) -> None:
        """A run has ended."""
        self._say(IDLE)

    def park(self) -> None:
        """
        Raises:
            Cancelled: the job was cancelled, also while it was parked.
        """
        now_ns = time.monotonic_ns()
        if self._working == RUNNING:
            self._block_ms.append((now_ns - self._went_on_ns) / 1e6)
        if (writer := self._watch.raised_by()) is not None:
            if self._working == RUNNING:
                self._park_ms.append((now_ns - max(self._watch.raised_since_ns(writer), self._went_on_ns)) / 1e6)
            self._stay(now_ns)
        if self._is_cancelled():
            raise Cancelled
        self._went_on_ns = time.monotonic_ns()

    def wait_idle(self, seconds: float) -> None:
        """Return when the device is expected to be idle for so long; or, out of patience, when it is idle at all.

        Raises:
            Cancelled: as `park`.
        """
        until_ns = time.monotonic_ns() + int(MOST_PATIENCE_S * 1e9)
        while True:
            self.park()
            calls, _ = self._watch.calls_since(0)
            now_ns = time.monotonic_ns()
            if gap_s(calls, now_ns) >= seconds:
                return
            if now_ns >= until_ns:
                self.breaches += 1
                return
            self._watch.wait_turn(PERCEPTION, False, LOOK_S)

    def _stay(self, began_ns: int) -> None:
        """Stay parked until nobody has the gate raised."""
        self._say(PARKED)
        while (writer := self._watch.raised_by()) is not None and not self._is_cancelled():
            self._watch.wait_turn(writer, True, LOOK_S)
        self.parked_ns += time.monotonic_ns() - began_ns
        self._say(self._working)

    def _say(self, state: int) -> None:
        _STATE.pack_into(self._gate.memory, GENERATOR_AT, state, 0)
        _PARKED_NS.pack_into(self._gate.memory, GENERATOR_AT + 8, self.parked_ns)


def generator_state(gate: GateMemory) -> int:
    """What the worker behind this gate does: IDLE, RUNNING, PARKED or STOPPABLE."""
    return int(_STATE.unpack_from(gate.memory, GENERATOR_AT)[0])


def forget_generator(gate: GateMemory) -> None:
    """The worker is gone."""
    _STATE.pack_into(gate.memory, GENERATOR_AT, IDLE, 0)


def gap_s(calls: Sequence[Call], now_ns: int) -> float:
    """How long no call of perception is expected, out of the calls so far; infinite when none is expected at all."""
    if len(calls) < 2:
        return float("inf")
    recent = sorted(call.began_ns for call in calls[-17:])  # they may overlap, and are in the order of their ends
    intervals_ns = [b - a for a, b in itertools.pairwise(recent)]
    if now_ns > recent[-1] + 4 * max(intervals_ns):  # they have stopped
        return float("inf")
    return max(0.0, (recent[-1] + statistics.median(intervals_ns) - now_ns) / 1e9)
