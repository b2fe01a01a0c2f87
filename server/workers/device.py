"""One device: its waiting jobs, and the worker process that is started, fed, watched, replaced and closed for it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from mapping.engines import WindowPrediction
from server.generation.gate import Perception
from server.workers.arena import Arena
from server.workers.batching import Batching
from server.workers.batching import Config as BatchingConfig
from server.workers.health import LAST, Health
from server.workers.lanes import Config as LanesConfig
from server.workers.lanes import Job, Lane, Lanes
from server.workers.messages import Answers, Failed, Predict
from server.workers.packing import collected, placed
from server.workers.process import Config as ProcessConfig
from server.workers.process import WorkerDied, WorkerProcess
from server.workers.quarantine import Quarantine
from server.workers.stats import DeviceStats, Meter
from server.workers.work import Expired, JobFailed, NoPrediction, Superseded, Work

_log = logging.getLogger(__name__)
_PATIENCE = 3
"""Starts of a worker that may fail in a row before those who wait for it are told so."""
State = Literal["starting", "ready", "restarting", "failing", "closed"]
_ROOM_SHARE = 0.9
"""Of the shared memory, for the pixels of windows that run together; the rest is for what else they bring."""


class Config(BaseModel):
    """One device's lanes, process and memory."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lanes: LanesConfig = LanesConfig()
    process: ProcessConfig = ProcessConfig()
    batching: BatchingConfig = BatchingConfig()
    window_bytes: int = Field(default=128 * 1024 * 1024, gt=0)
    """Shared memory for pixels that go to the worker; in time all of it is used, for pictures that may come again."""
    result_bytes: int = Field(default=64 * 1024 * 1024, gt=0)
    """Shared memory for the predictions of windows that run together."""
    first_backoff_s: float = Field(default=0.1, gt=0)
    max_backoff_s: float = Field(default=10.0, gt=0)


class Device:
    """Runs one job at a time on one worker process; the process may die, the device does not."""

    def __init__(
        self,
        name: str,
        engine: str,
        engine_config: dict[str, Any],
        config: Config,
        quarantine: Quarantine,
        gate: Perception | None = None,
        move: Callable[[Job[Work]], bool] = lambda _: False,
    ) -> None:
        """`move` lets another device do a waiting job, if one is up; called when this one has lost its worker.

        Args:
            gate: raised while a window is on its way to the worker and back.
        """
        self.name, self._engine, self._engine_config, self._config = name, engine, engine_config, config
        self._quarantine, self._gate, self._move = quarantine, gate, move
        self._clock: Callable[[], float] = asyncio.get_running_loop().time
        self._lanes: Lanes[Work] = Lanes(config.lanes)
        self._batching = Batching(config.batching)
        self._arena = Arena(config.result_bytes, config.window_bytes)
        self._copier = ThreadPoolExecutor(1, thread_name_prefix=f"copy-{name}")
        self._meter = Meter(self._clock())
        self._health = Health()
        self._job_numbers = itertools.count()
        self._wake = asyncio.Event()
        self._process: WorkerProcess | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._state: State = "starting"
        self._done = self._failed = self._together = self._restarts = self._deaths_in_a_row = 0
        self._last_death: str | None = None

    @property
    def ready(self) -> bool:
        return self._state == "ready"

    async def start(self) -> None:
        """Start the first worker and wait until its engine is warm.

        Raises:
            EngineFailed: the engine cannot be made on this device.
            WorkerDied: the process died at its start, or took too long.
        """
        worker = await self._spawn()
        self._state = "ready"
        self._supervisor = asyncio.create_task(self._supervise(worker), name=f"device-{self.name}")

    def submit(self, job: Job[Work]) -> None:
        """Let a job wait for its turn.

        Raises:
            LaneFull: its lane is at its bound.
        """
        replaced = self._lanes.submit(job, self._clock())
        if replaced is not None:
            replaced.work.resolve(Superseded("a newer window of the stream took its place"))
        self._wake.set()

    def cancel(self, job: Job[Work]) -> None:
        """Forget a job that nobody waits for any more; a running one ends by itself."""
        self._lanes.cancel(job)

    def expire(self) -> None:
        """Tell the owners of the jobs whose deadline has passed."""
        for job in self._lanes.expire(self._clock()):
            job.work.resolve(Expired(f"it did not start before its deadline; device {self.name} is {self._state}"))

    def stats(self) -> DeviceStats:
        state, detail = self._condition()
        return DeviceStats(
            device=self.name,
            state=state,
            detail=detail,
            engine=self._engine,
            pid=self._process.pid if self._process is not None and self.ready else None,
            queued={lane.value: count for lane, count in self._lanes.depths().items()},
            busy_share=self._meter.busy_share(self._clock()),
            window_ms_p50=self._meter.percentile_ms(50),
            window_ms_p95=self._meter.percentile_ms(95),
            done=self._done,
            failed=self._failed,
            failed_share=self._health.failed_share,
            last_failure=self._health.last_failure,
            together=self._together,
            superseded=self._lanes.superseded,
            expired=self._lanes.expired,
            quarantined=len(self._quarantine),
            restarts=self._restarts,
            last_death=self._last_death,
            rss_bytes=self._process.rss_bytes if self._process is not None else 0,
            device_bytes=self._process.device_bytes if self._process is not None else 0,
            provenance=self._process.provenance if self._process is not None else {},
        )

    async def close(self) -> None:
        """Answer every waiting job with `JobFailed("closed")` and end the process."""
        self._state = "closed"
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.wait([self._supervisor])
        for job in self._lanes.drain():
            job.work.resolve(JobFailed("closed", "the pool was closed"))
        if self._process is not None:
            await self._process.close()
        self._copier.shutdown()
        self._arena.memory.close()

    def _condition(self) -> tuple[State | Literal["fetching"], str]:
        """Its state, and what it waits for while it is not ready."""
        if self.ready and self._health.is_failing(self._clock()):
            return "failing", f"its last {LAST} windows failed: {self._health.last_failure}"
        if self._state in ("ready", "closed"):
            return self._state, ""
        if self._process is not None and self._process.alive and self._process.fetching:
            return "fetching", self._process.fetching
        return self._state, self._last_death or "its engine is being made"

    async def _supervise(self, worker: WorkerProcess) -> None:
        """Serve with one worker until it dies, then with the next, for ever."""
        while True:
            self._state = "ready"
            try:
                await self._serve(worker)
                self._last_death = await worker.died()
            except Exception as error:  # a mistake of ours costs a worker, never the device
                _log.exception("device %s gives up its worker", self.name)
                self._last_death = await worker.kill(f"was given up ({type(error).__name__}: {error})")
            self._state = "restarting"
            self._restarts += 1
            self._hand_over()
            _log.warning("the worker of device %s %s; starting another", self.name, self._last_death)
            worker = await self._respawn()

    async def _serve(self, worker: WorkerProcess) -> None:
        died = asyncio.create_task(worker.died())
        died.add_done_callback(lambda _: self._wake.set())
        try:
            while worker.alive:
                self._wake.clear()
                self.expire()
                job = self._lanes.next(self._clock())
                if job is None:
                    await self._wake.wait()
                else:
                    await self._try(worker, job)
        finally:
            died.cancel()

    async def _try(self, worker: WorkerProcess, job: Job[Work]) -> None:
        """Run a job in the company it finds; a mistake of ours costs these windows, never the device."""
        jobs = [job]
        try:
            jobs += self._companions(worker, job)
            await self._run(worker, jobs)
        except Exception as error:
            _log.exception("device %s: %s was not answered", self.name, job.work.keyframes[-1])
            self._lanes.abandon(job)
            for each in jobs:
                self._settle(each, JobFailed(type(error).__name__, str(error)))

    def _hand_over(self) -> None:
        """Let devices that are up do what waits here; windows that a worker died over stay and harm nobody else."""
        staying = [job for job in self._lanes.drain(lambda job: not job.work.deaths) if not self._move(job)]
        for job in reversed(staying):
            self._lanes.put_back(job, self._clock())

    async def _respawn(self) -> WorkerProcess:
        """Start workers until one is warm, ever more slowly; nobody is left waiting for a device that cannot."""
        failed = 0
        while True:
            self._deaths_in_a_row += 1
            if self._deaths_in_a_row > 1:
                delay_s = self._config.first_backoff_s * 2.0 ** min(self._deaths_in_a_row - 2, 30)
                await asyncio.sleep(min(delay_s, self._config.max_backoff_s))
            try:
                return await self._spawn()
            except Exception as error:
                failed += 1
                self._restarts += isinstance(error, WorkerDied)
                self._state, self._last_death = "failing", f"{type(error).__name__}: {error}"
                _log.error("device %s has no worker: %s", self.name, self._last_death)
            if failed >= _PATIENCE:
                for job in self._lanes.drain():
                    job.work.resolve(JobFailed("unavailable", f"device {self.name}: {self._last_death}"))

    async def _spawn(self) -> WorkerProcess:
        self._process = await WorkerProcess.spawn(
            self.name, self._engine, self._engine_config, self._arena, self._config.process
        )
        await self._process.warm()
        return self._process

    def _companions(self, worker: WorkerProcess, job: Job[Work]) -> list[Job[Work]]:
        """Waiting windows of other streams that the engine takes along, if that makes each of them cheaper."""
        if job.lane is not Lane.REALTIME or job.work.deaths or worker.together < 2:
            return []
        shape = job.work.shape
        room = int(_ROOM_SHARE * self._config.window_bytes / max(1, sum(math.prod(view) for view in shape)))
        most = min(room, worker.together)
        return self._lanes.take_along(
            lambda other: other.work.shape == shape and not other.work.deaths,
            lambda fitting: self._batching.choose(1 + fitting, most) - 1,
            self._clock(),
        )

    async def _run(self, worker: WorkerProcess, jobs: Sequence[Job[Work]]) -> None:
        """Jobs that run together: pixels in, a question, an answer, arrays out. The lanes wait for the first."""
        loop, began = asyncio.get_running_loop(), self._clock()
        outcomes: list[WindowPrediction | NoPrediction]
        try:
            windows = [job.work.window for job in jobs]
            with self._gate.closed() if self._gate is not None else contextlib.nullcontext():
                request = await loop.run_in_executor(self._copier, placed, windows, self._arena)
                answers = await worker.ask(Predict(next(self._job_numbers), request))
            outcomes = await loop.run_in_executor(self._copier, self._outcomes, answers)
        except WorkerDied as error:
            self._after_death(jobs, error)
            return
        except ValueError as error:
            outcomes = [JobFailed(type(error).__name__, str(error))] * len(jobs)
        except asyncio.CancelledError:
            for job in jobs:
                job.work.resolve(JobFailed("closed", "the pool was closed"))
            raise
        self._lanes.done(jobs[0])
        self._deaths_in_a_row = 0
        self._meter.add(began, self._clock())
        self._batching.learn(len(jobs), (self._clock() - began) / len(jobs[0].work.window.views))
        self._together += len(jobs) > 1
        for job, outcome in zip(jobs, outcomes, strict=True):
            self._quarantine.succeeded(job.work.keyframes)
            self._settle(job, outcome)

    def _settle(self, job: Job[Work], outcome: WindowPrediction | NoPrediction) -> None:
        """Count how a window ended, say in the log what is news about it, and answer whoever waits."""
        if isinstance(outcome, WindowPrediction):
            self._done += 1
            self._health.succeeded()
        else:
            self._failed += 1
            is_refusal = isinstance(outcome, JobFailed) and outcome.kind == ValueError.__name__
            if self._health.failed(str(outcome), self._clock(), is_refusal=is_refusal):
                where = {"device": self.name, "stream": job.key}
                _log.warning("device %s: a window of %s failed: %s", self.name, job.key, outcome, extra=where)
        job.work.resolve(outcome)

    def _outcomes(self, answers: Answers) -> list[WindowPrediction | NoPrediction]:
        return [
            JobFailed(answer.kind, answer.message) if isinstance(answer, Failed) else collected(answer, self._arena)
            for answer in answers.windows
        ]

    def _after_death(self, jobs: Sequence[Job[Work]], error: WorkerDied) -> None:
        """Try again on the next worker, each window by itself: nobody is accused for the company it was in."""
        if len(jobs) == 1:
            self._suspect(jobs[0], error)
        else:
            self._lanes.done(jobs[0])
            for job in reversed(jobs):
                job.work.deaths += 1
                if not self._lanes.put_back(job, self._clock()):
                    job.work.resolve(Superseded("its worker died, and a newer window of the stream waits"))
        self.expire()

    def _suspect(self, job: Job[Work], error: WorkerDied) -> None:
        """Try a job once more on the next worker, unless a newer one took its place or its keyframe is to blame."""
        work = job.work
        work.deaths += 1
        work.deaths_alone += 1
        self._quarantine.died(work.keyframes)
        if work.deaths_alone > 1 or work.keyframes[-1] in self._quarantine:
            self._lanes.done(job)
            self._settle(job, JobFailed("quarantined", f"workers died over keyframe {work.keyframes[-1]}: {error}"))
        elif not self._lanes.requeue(job, self._clock()):
            work.resolve(Superseded("its worker died, and a newer window of the stream waits"))
