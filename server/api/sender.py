"""Writes one client's outbox to its connection, at the pace the client can take. Callbacks only: no task waits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from server.api.transport import Wire
from server.bus.outbox import Outbox
from server.bus.pace import Pace, Verdict
from server.metrics import Metrics

CHECK_EVERY_S = 0.5


class Sender:
    """Sends whenever there is something to send and room for it.

    The next message is chosen only when there is room, so that it is the newest. While a client takes nothing, its
    pace is checked from time to time; `on_lost` is called, once, with the reason when it has to be given up.
    """

    def __init__(self, wire: Wire, pace: Pace, metrics: Metrics, on_lost: Callable[[str], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._wire, self._pace, self._metrics, self._on_lost = wire, pace, metrics, on_lost
        self._outbox: Outbox | None = None
        self._is_due = False
        self._next_check = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._sent_messages = self._sent_bytes = 0
        wire.on_writable = self.wake

    def start(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self.wake()

    def stop(self) -> None:
        self._outbox = None
        self._wire.on_writable = lambda: None
        self._cancel_timer()
        self._count()

    def wake(self) -> None:
        """There may be something to send: look soon. Many calls before that are one."""
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._is_due = False
        outbox, now = self._outbox, time.monotonic()
        if outbox is None:
            return
        if outbox.is_overflowing:
            self._lose("control messages are not read; resume")
            return
        if now >= self._next_check and not self._check(outbox, now):
            return
        while self._wire.is_writable:
            frame = outbox.pop(now, self._pace.interval_s)
            if frame is None:
                self._look_again(outbox.wait_s(now))
                return
            self._wire.send(frame)
            self._sent_messages += 1
            self._sent_bytes += len(frame)
        self._look_again(CHECK_EVERY_S)

    def _check(self, outbox: Outbox, now: float) -> bool:
        """Judge the client's pace; False when it is given up."""
        self._next_check = now + CHECK_EVERY_S
        self._count()
        in_transport = self._wire.unsent_bytes
        unsent = in_transport + outbox.unsent_bytes if in_transport else 0
        if self._pace.observe(self._wire.taken_bytes, unsent, now) is Verdict.CLOSE:
            self._lose("nothing was read for too long; connect again and resume")
            return False
        return True

    def _lose(self, reason: str) -> None:
        self.stop()
        self._on_lost(reason)

    def _look_again(self, wait_s: float | None) -> None:
        if wait_s is None:
            self._cancel_timer()
        elif self._timer is None or self._timer.when() > self._loop.time() + wait_s:
            self._cancel_timer()
            self._timer = self._loop.call_later(wait_s, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.wake()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _count(self) -> None:
        self._metrics.sent_messages.inc(self._sent_messages)
        self._metrics.sent_bytes.inc(self._sent_bytes)
        self._sent_messages = self._sent_bytes = 0
