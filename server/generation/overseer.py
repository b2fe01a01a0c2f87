"""Watches over one device while it generates: limits generation by what it costs, and makes a worker obey."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Literal

from server.generation import controller, escalation
from server.generation.attempt import Attempt
from server.generation.controller import Controller
from server.generation.escalation import Action, Seen
from server.generation.gate import HOLD, PERCEPTION, GateMemory, Perception, Watch
from server.generation.parking import PARKED, STOPPABLE, generator_state
from server.jobs.desk import Desk
from server.jobs.live import Live

log = logging.getLogger(__name__)
TICK_S = 0.02
AT_WORK_S = 3.0
"""Perception is at work while its last call is not older."""


class Overseer:
    """Of one device's lane."""

    def __init__(self, gate: GateMemory, desk: Desk, control: controller.Config, escalate: escalation.Config) -> None:
        self._gate, self._desk, self._escalate = gate, desk, escalate
        self._watch, self._holding = Watch(gate), Perception(gate, HOLD)
        self._is_holding = False
        self._calls = 0
        self.controller = Controller(control)
        self.stops = self.kills = 0
        """Of workers that should have parked; that did not do as they were told."""

    async def watch(self, attempt: Attempt) -> None:
        """Until its worker has said the last word, or cancelled; the worker is not left stopped."""
        try:
            while not attempt.has_ended:
                now = time.monotonic()
                self._control(now)
                self._enforce(attempt, now)
                self._show(attempt, now)
                await asyncio.sleep(TICK_S)
        finally:
            self._let(False)
            if attempt.worker is not None and not attempt.worker.gone.is_set():
                attempt.worker.resume()

    def _control(self, now: float) -> None:
        calls, self._calls = self._watch.calls_since(self._calls)
        self.controller.note(calls)
        last_s = self._watch.raised_since_ns(PERCEPTION) / 1e9
        self._let(self.controller.hold(now, self._watch.is_raised_by(PERCEPTION) or now - last_s < AT_WORK_S))

    def _let(self, hold: bool) -> None:
        """Hold generation, or let it go on."""
        if hold != self._is_holding:
            self._is_holding = hold
            if hold:
                self._holding.enter()
            else:
                self._holding.leave()

    def _enforce(self, attempt: Attempt, now: float) -> None:
        if (worker := attempt.worker) is None:
            return
        state = generator_state(self._gate)
        seen = Seen(
            raised_ms=self._raised_ms(now),
            is_parked=state == PARKED,
            is_stoppable=state == STOPPABLE,
            is_stopped=worker.is_stopped,
            block_ms_p99=float(worker.figures.get("block_ms_p99", 0.0)),
            silent_s=now - worker.heard_at if worker.is_loaded else 0.0,
            cancelled_s=None if attempt.cancelled_at is None else now - attempt.cancelled_at,
            computed_s=0.0 if attempt.ran_from is None else now - attempt.ran_from - attempt.parked_ms / 1e3,
        )
        action, why = escalation.decide(seen, self._escalate)
        if action is Action.STOP:
            self.stops += not seen.is_stoppable
            worker.pause()
        elif action is Action.GO_ON:
            worker.resume()
        elif action is Action.KILL and not attempt.killed_because:
            self.kills += 1
            attempt.killed_because = why
            log.warning("a worker is killed", extra={"job": attempt.job.job, "reason": why})
            worker.end()

    def _raised_ms(self, now: float) -> float | None:
        """Since when perception itself has the gate raised."""
        if not self._watch.is_raised_by(PERCEPTION):
            return None
        return now * 1e3 - self._watch.raised_since_ns(PERCEPTION) / 1e6

    def _show(self, attempt: Attempt, now: float) -> None:
        phase: Literal["loading", "running", "yielding"] = "loading"
        if attempt.worker is not None and attempt.is_loaded:
            is_parked = generator_state(self._gate) == PARKED or attempt.worker.is_stopped
            phase = "yielding" if is_parked else "running"
        parked_ms = attempt.parked_ms
        self._desk.show(attempt.job.job, Live(phase, attempt.progress.shown(now, parked_ms / 1e3), parked_ms))
