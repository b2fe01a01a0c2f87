"""One device: its waiting jobs, and the worker process that is started, fed, watched, replaced and closed for it."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from mapping.changes import KeyframeId
from mapping.engines import ViewPrediction, Window, WindowPrediction
from server.generation.gate import GateMemory
from server.workers.arena import Arena
from server.workers.lanes import Config as LanesConfig
from server.workers.lanes import Job, Lanes
from server.workers.messages import ArrayRef, Failed, Predict, Predicted, ViewRef
from server.workers.process import Config as ProcessConfig
from server.workers.process import EngineFailed, WorkerDied, WorkerProcess
from server.workers.quarantine import Quarantine
from server.workers.stats import DeviceStats, Meter

_log = logging.getLogger(__name__)


class NoPrediction(Exception):
    """Why a window got no prediction; the subclasses say which of the reasons it was."""


class Superseded(NoPrediction):
    """A newer window of the same stream took its place before it started."""


class Expired(NoPrediction):
    """It did not start before its deadline."""


class JobFailed(NoPrediction):
    """The engine refused it, or workers died over it."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind, self.message = kind, message
        """`kind` is the engine's exception, `quarantined` (workers died over it), or `closed`."""


class Config(BaseModel):
    """One device's lanes, process and memory."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lanes: LanesConfig = LanesConfig()
    process: ProcessConfig = ProcessConfig()
    window_bytes: int = Field(default=96 * 1024 * 1024, gt=0)
    """Shared memory for pixels that go to the worker; only touched pages exist."""
    result_bytes: int = Field(default=64 * 1024 * 1024, gt=0)
    """Shared memory for one prediction."""
    first_backoff_s: float = Field(default=0.1, gt=0)
    max_backoff_s: float = Field(default=10.0, gt=0)


@dataclass(slots=True, eq=False)
class Work:
    """A window and whoever waits for its prediction."""

    window: Window
    result: asyncio.Future[WindowPrediction]
    deaths: int = 0

    @property
    def keyframes(self) -> list[KeyframeId]:
        return [view.keyframe for view in self.window.views]

    def resolve(self, outcome: WindowPrediction | NoPrediction) -> None:
        """Tell whoever waits, if somebody still does."""
        if self.result.done():
            return
        if isinstance(outcome, NoPrediction):
            self.result.set_exception(outcome)
        else:
            self.result.set_result(outcome)


class Device:
    """Runs one job at a time on one worker process; the process may die, the device does not."""

    def __init__(
        self,
        name: str,
        engine: str,
        engine_config: dict[str, Any],
        config: Config,
        quarantine: Quarantine,
        gate: GateMemory | None = None,
    ) -> None:
        self.name, self._engine, self._engine_config, self._config = name, engine, engine_config, config
        self._quarantine, self._gate = quarantine, gate
        self._clock: Callable[[], float] = asyncio.get_running_loop().time
        self._lanes: Lanes[Work] = Lanes(config.lanes)
        self._arena = Arena(config.result_bytes, config.window_bytes)
        self._copier = ThreadPoolExecutor(1, thread_name_prefix=f"copy-{name}")
        self._meter = Meter(self._clock())
        self._job_numbers = itertools.count()
        self._wake = asyncio.Event()
        self._process: WorkerProcess | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._state = "starting"
        self._done = self._failed = self._restarts = self._deaths_in_a_row = 0
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
        self._process = await self._spawn()
        self._state = "ready"
        self._supervisor = asyncio.create_task(self._supervise(self._process), name=f"device-{self.name}")

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
        return DeviceStats(
            device=self.name,
            state=self._state,
            engine=self._engine,
            pid=self._process.pid if self._process is not None and self.ready else None,
            queued={lane.value: count for lane, count in self._lanes.depths().items()},
            busy_share=self._meter.busy_share(self._clock()),
            window_ms_p50=self._meter.percentile_ms(50),
            window_ms_p95=self._meter.percentile_ms(95),
            done=self._done,
            failed=self._failed,
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

    async def _supervise(self, worker: WorkerProcess) -> None:
        """Serve with one worker until it dies, then with the next, for ever."""
        while True:
            self._process, self._state = worker, "ready"
            await self._serve(worker)
            self._last_death = await worker.died()
            self._state = "restarting"
            self._restarts += 1
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
                    await self._run(worker, job)
        finally:
            died.cancel()

    async def _respawn(self) -> WorkerProcess:
        while True:
            self._deaths_in_a_row += 1
            if self._deaths_in_a_row > 1:
                delay_s = self._config.first_backoff_s * 2.0 ** min(self._deaths_in_a_row - 2, 30)
                await asyncio.sleep(min(delay_s, self._config.max_backoff_s))
            try:
                return await self._spawn()
            except (WorkerDied, EngineFailed) as error:
                self._last_death = str(error)
                _log.error("device %s has no worker: %s", self.name, error)

    async def _spawn(self) -> WorkerProcess:
        return await WorkerProcess.spawn(
            self.name, self._engine, self._engine_config, self._arena, self._config.process, self._gate
        )

    async def _run(self, worker: WorkerProcess, job: Job[Work]) -> None:
        """One job: pixels in, a question, an answer, arrays out."""
        work, loop, began = job.work, asyncio.get_running_loop(), self._clock()
        try:
            request = await loop.run_in_executor(self._copier, self._place, work.window)
            reply = await worker.ask(request)
            if isinstance(reply, Failed):
                raise JobFailed(reply.kind, reply.message)
            outcome: WindowPrediction | NoPrediction = await loop.run_in_executor(self._copier, self._collect, reply)
        except WorkerDied as error:
            self._after_death(job, error)
            return
        except JobFailed as error:
            outcome = error
        except ValueError as error:
            outcome = JobFailed(type(error).__name__, str(error))
        except asyncio.CancelledError:
            work.resolve(JobFailed("closed", "the pool was closed"))
            raise
        self._lanes.done(job)
        self._deaths_in_a_row = 0
        self._quarantine.succeeded(work.keyframes)
        self._meter.add(began, self._clock())
        self._done += isinstance(outcome, WindowPrediction)
        self._failed += isinstance(outcome, NoPrediction)
        work.resolve(outcome)

    def _after_death(self, job: Job[Work], error: WorkerDied) -> None:
        """Try a job once more on the next worker, unless a newer one took its place or its keyframe is to blame."""
        work = job.work
        work.deaths += 1
        self._quarantine.died(work.keyframes)
        if work.deaths > 1 or work.keyframes[-1] in self._quarantine:
            self._lanes.done(job)
            self._failed += 1
            work.resolve(JobFailed("quarantined", f"workers died over keyframe {work.keyframes[-1]}: {error}"))
        elif not self._lanes.requeue(job, self._clock()):
            work.resolve(Superseded("its worker died, and a newer window of the stream waits"))
        self.expire()

    def _place(self, window: Window) -> Predict:
        arrays: list[NDArray[Any]] = []

        def index(array: NDArray[Any] | None) -> int | None:
            if array is None:
                return None
            arrays.append(array)
            return len(arrays) - 1

        places = [
            (index(view.rgb), index(view.prior_window_from_camera), index(view.landmarks_window))
            for view in window.views
        ]
        refs = self._arena.place(arrays)

        def ref(i: int | None) -> ArrayRef | None:
            return None if i is None else refs[i]

        views = [
            ViewRef(view.keyframe, refs[rgb or 0], view.intrinsics, ref(prior), ref(landmarks))
            for view, (rgb, prior, landmarks) in zip(window.views, places, strict=True)
        ]
        return Predict(next(self._job_numbers), views)

    def _collect(self, reply: Predicted) -> WindowPrediction:
        def copy(ref: ArrayRef | None) -> NDArray[Any] | None:
            return None if ref is None else self._arena.memory.view(ref).copy()

        return WindowPrediction(
            tuple(
                ViewPrediction(
                    keyframe=view.keyframe,
                    window_from_camera=np.array(self._arena.memory.view(view.window_from_camera), np.float64),
                    intrinsics=view.intrinsics,
                    depth=copy(view.depth),
                    confidence=copy(view.confidence),
                    descriptor=copy(view.descriptor),
                )
                for view in reply.views
            )
        )
