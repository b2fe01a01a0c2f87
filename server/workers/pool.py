"""The face of the device workers: a window in, a prediction out, on whichever device the stream belongs to."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict, Field

from mapping import engines
from mapping.engines import Window, WindowPrediction
from mapping.windows import Config as WindowsConfig
from server.devices import unit
from server.generation.gate import GateMemory, Perception
from server.workers.affinity import Affinity
from server.workers.affinity import Config as AffinityConfig
from server.workers.device import Config as DeviceConfig
from server.workers.device import Device
from server.workers.lanes import Job, Lane, LaneFull
from server.workers.process import EngineFailed, WorkerDied
from server.workers.quarantine import Quarantine
from server.workers.stats import DeviceStats
from server.workers.work import Expired, JobFailed, NoPrediction, Superseded, Work
from streams.frame import StreamId

__all__ = [
    "Config",
    "DeviceStats",
    "EngineFailed",
    "Expired",
    "JobFailed",
    "Lane",
    "LaneFull",
    "NoPrediction",
    "Pool",
    "Superseded",
    "WorkerDied",
]


class Config(DeviceConfig):
    """The devices of this machine, each with the lanes, process and memory said here."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    devices: tuple[str, ...] = Field(default=("cpu",), min_length=1)
    """`cpu`, `cuda:0`, `cuda:1` ...; one worker process each."""
    affinity: AffinityConfig = AffinityConfig()


class Pool:
    """Device workers behind one coroutine. On one event loop: `await start()`, `predict` at will, `await close()`."""

    def __init__(
        self,
        config: Config,
        engine: str,
        engine_config: dict[str, Any] | None = None,
        gates: Mapping[str, GateMemory] | None = None,
    ) -> None:
        """`engine` and its config as for `mapping.engines.create`; the engine is made in the workers, never here.

        Args:
            gates: by unit; raised while a device of it predicts, so that generation makes way.
        """
        self._config, self._engine, self._engine_config = config, engine, engine_config or {}
        self._gates = {name: Perception(gate) for name, gate in (gates or {}).items()}
        self._quarantine = Quarantine()
        self._affinity = Affinity(config.affinity)
        self._devices: dict[str, Device] = {}

    @property
    def windows(self) -> WindowsConfig:
        """How windows for this pool's engine are best gathered."""
        try:
            return engines.windows(self._engine)
        except ValueError:  # `start` says that there is no such engine
            return WindowsConfig()

    @property
    def provenance(self) -> dict[str, str]:
        """What has to be told about a map that this pool's engine makes; empty before one is up."""
        return next((stats.provenance for stats in self.stats() if stats.provenance), {})

    async def start(self) -> None:
        """Start every device's worker and wait until all engines are warm.

        Raises:
            EngineFailed: the engine cannot be made; the message is the engine's own.
            WorkerDied: a process died at its start, or took longer than `process.start_timeout_s`.
        """
        shared = self._config.model_copy(update={"process": self._config.process.shared(self._config.devices)})
        settings = DeviceConfig(**{name: getattr(shared, name) for name in DeviceConfig.model_fields})
        self._devices = {
            name: Device(
                name,
                self._engine,
                self._engine_config,
                settings,
                self._quarantine,
                self._gates.get(unit(name)),
                self._move,
            )
            for name in self._config.devices
        }
        try:
            starts = await asyncio.gather(*(d.start() for d in self._devices.values()), return_exceptions=True)
            for failure in filter(None, starts):
                raise failure
        except BaseException:
            await self.close()
            raise

    async def predict(
        self, stream: StreamId, window: Window, deadline_s: float | None = None, lane: Lane = Lane.REALTIME
    ) -> WindowPrediction:
        """Infer a window's geometry. Its arrays are not copied before its turn: leave them as they are.

        Keyframes that killed workers are left out of the window; REALTIME keeps only the newest window per stream.

        Args:
            deadline_s: seconds from now by which it must have started.

        Raises:
            Superseded: a newer window of the stream came before this one started (REALTIME only).
            Expired: it did not start in time.
            LaneFull: too many jobs wait.
            JobFailed: the engine raised (kind = its exception), workers died over it (kind = "quarantined"), or the
                pool was closed (kind = "closed").
        """
        if not self._devices:
            raise JobFailed("closed", "the pool is not running")
        if not window.views:
            raise JobFailed("ValueError", "the window is empty")
        if window.views[-1].keyframe in self._quarantine:
            raise JobFailed("quarantined", f"workers died over keyframe {window.views[-1].keyframe}")
        views = tuple(view for view in window.views if view.keyframe not in self._quarantine)
        loop = asyncio.get_running_loop()
        deadline = None if deadline_s is None else loop.time() + deadline_s
        job = Job(lane, stream, Work(dataclasses.replace(window, views=views), loop.create_future()), deadline)
        self._device_of(stream).submit(job)
        timer = None if deadline is None else loop.call_at(deadline, self._expire)
        try:
            return await job.work.result
        finally:
            for each in self._devices.values():  # it may have moved
                each.cancel(job)
            if timer is not None:
                timer.cancel()

    def stats(self) -> list[DeviceStats]:
        """Every device at this instant."""
        return [device.stats() for device in self._devices.values()]

    async def close(self) -> None:
        """End every worker; predictions still awaited raise `JobFailed("closed")`."""
        devices, self._devices = self._devices, {}
        await asyncio.gather(*(device.close() for device in devices.values()))

    def _expire(self) -> None:
        for device in self._devices.values():
            device.expire()

    def _move(self, job: Job[Work]) -> bool:
        """Let a device that is up do a job that waits for one that is not; False if there is none with room."""
        if not any(device.ready for device in self._devices.values()):
            return False
        try:
            self._device_of(StreamId(job.key)).submit(job)
        except LaneFull:
            return False
        return True

    def _device_of(self, stream: StreamId) -> Device:
        up = [name for name, device in self._devices.items() if device.ready]
        return self._devices[self._affinity.choose(stream, up, self._devices, asyncio.get_running_loop().time())]
