"""Play a source: at the pace of its recording, dropping what comes late, or as fast as it is taken."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from streams.clock import NS_PER_S
from streams.frame import Frame
from streams.sources import Source


class Player:
    """Gives a recording the server's time. A live source passes through.

    In real time each frame comes when it is due; if the taker was so slow that the next one is due as well, the older
    one is dropped: newest wins, as with a phone. Otherwise frames come as they are taken, none dropped.
    """

    def __init__(
        self,
        source: Source,
        *,
        realtime: bool = True,
        now_ns: Callable[[], int] = time.time_ns,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        """`wait(seconds)` returns whether the player was closed meanwhile; tests give a virtual one."""
        self._source, self._realtime, self._now_ns = source, realtime and not source.live, now_ns
        self._closed = threading.Event()
        self._wait = wait or self._closed.wait
        self.late = 0
        """Frames dropped because the taker was slow."""

    def close(self) -> None:
        """End soon, from any thread."""
        self._closed.set()
        self._source.close()

    def __iter__(self) -> Iterator[Frame]:
        if self._source.live:
            yield from self._source.frames()
            return
        start_ns = self._now_ns()
        pending: Frame | None = None
        for frame in self._source.frames():
            due = replace(frame, capture_ns=start_ns + frame.capture_ns, received_ns=start_ns + frame.received_ns)
            if not self._realtime:
                yield due
                continue
            if pending is not None:
                if due.capture_ns <= self._now_ns():
                    self.late += 1
                else:
                    yield from self._deliver(pending)
            pending = due
            if self._closed.is_set():
                return
        if pending is not None:
            yield from self._deliver(pending)

    def _deliver(self, frame: Frame) -> Iterator[Frame]:
        early_s = (frame.capture_ns - self._now_ns()) / NS_PER_S
        if early_s > 0 and self._wait(early_s):
            return
        yield replace(frame, received_ns=self._now_ns())
