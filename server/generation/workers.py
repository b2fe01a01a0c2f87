"""The workers of one device: which providers are loaded, and who has to go when another needs the room."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field

from server.generation import memory
from server.generation.gate import GateMemory
from server.generation.memory import Config as MemoryConfig
from server.generation.memory import Room
from server.generation.parking import forget_generator
from server.generation.process import Config as ProcessConfig
from server.generation.process import ProviderProcess, WorkerGone
from server.generation.registry import Known
from server.jobs.desk import Desk

log = logging.getLogger(__name__)
PEAKS_KEPT = 50
FORGOTTEN_AFTER = 0.25
"""Of the time that a provider may wait for room: if nobody asked for so long (another job ran that long, or its own was
cancelled), its waiting begins anew."""


class Config(BaseModel):
    """How many, and for how long."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keep_s: float = Field(default=300.0, ge=0)
    """So long a worker that has nothing to do keeps its provider loaded."""
    max_loaded: int = Field(default=3, ge=1)
    warm: tuple[str, ...] = ("prims", "capture", "relief")
    """Providers that are kept loaded when there is nothing else to do, in this order: somebody who taps waits for
    them, and their libraries take longer to load than they take to answer."""
    warm_room_gb: float = Field(default=2.0, ge=0)
    """Only while there is so much more memory than is needed."""
    wait_for_room_s: float = Field(default=600.0, ge=0)
    """So long a provider may find too little memory; then its jobs fail, or go to another one."""
    process: ProcessConfig = ProcessConfig()
    memory: MemoryConfig = MemoryConfig()


class NoRoom(Exception):
    """A device has too little memory for a provider."""


class Workers:
    """One worker per provider at most; only one of them works at a time."""

    def __init__(self, device: str, gate: GateMemory, desk: Desk, config: Config) -> None:
        self.device, self._gate, self._desk, self._config = device, gate, desk, config
        self._workers: dict[str, ProviderProcess] = {}
        self._used_at: dict[str, float] = {}
        self._too_full: dict[str, tuple[float, float]] = {}
        """Since when somebody has asked in vain, again and again, and when last."""
        self._unfit: set[str] = set()
        """Could not be warmed up."""

    async def get(self, known: Known) -> ProviderProcess:
        """A provider's worker, loaded already or not.

        Raises:
            WorkerGone: it cannot be started.
        """
        worker = self._workers.get(known.name)
        if worker is None or worker.gone.is_set():
            await self.drop(known.name)
            if len(self._workers) >= self._config.max_loaded:
                await self.drop(self._longest_unused())
            worker = await ProviderProcess.spawn(known, self.device, self._gate, self._config.process)
            self._workers[known.name] = worker
        self._used_at[known.name] = worker.heard_at = time.monotonic()
        return worker

    async def warm_up(self, known: Mapping[str, Known]) -> None:
        """Load the next one of those that are to be warm, out of the providers of this device."""
        missing = [name for name in self._config.warm if name in known and name not in self._workers]
        for name in missing[: max(0, self._config.max_loaded - len(self._workers))]:
            if name in self._unfit or known[name].missing is not None:
                continue
            wanted_gb = await self._expected_gb(known[name]) + self._config.warm_room_gb
            if not memory.fits(await self._room(), wanted_gb, self._config.memory):
                return
            try:
                async with asyncio.timeout(self._config.process.load_timeout_s):
                    told = await (await self.get(known[name])).load()
            except (WorkerGone, TimeoutError) as error:
                told = {"type": "gone", "message": str(error)}
            if told["type"] != "loaded":
                log.warning("a provider cannot be kept warm", extra={"provider": name, "reason": told.get("message")})
                self._unfit.add(name)
                await self.drop(name)
            return

    async def make_room(self, known: Known) -> bool:
        """Whether a provider fits now, if need be without those that have nothing to do.

        Raises:
            NoRoom: it never will, or has not for long.
        """
        if known.name in self._workers:
            return True
        config, needed_gb = self._config.memory, await self._expected_gb(known)
        room = await self._room()
        if memory.never_fits(room, needed_gb, config):
            raise NoRoom(self._why(known, needed_gb, room))
        idle_gb = sum(worker.memory_gb for worker in self._workers.values())
        if memory.fits(room, needed_gb, config, given_back_gb=idle_gb):
            while not memory.fits(room, needed_gb, config) and self._workers:
                await self.drop(self._longest_unused())
                room = await self._room()
        if memory.fits(room, needed_gb, config):
            self._too_full.pop(known.name, None)
            return True
        now, patience_s = time.monotonic(), self._config.wait_for_room_s
        since, asked = self._too_full.pop(known.name, (now, now))
        since = since if now - asked <= FORGOTTEN_AFTER * patience_s else now
        if now - since > patience_s:
            raise NoRoom(self._why(known, needed_gb, room))
        self._too_full[known.name] = since, now
        return False

    async def learn(self, known: Known, peak_gb: float, *, was_too_little: bool) -> None:
        """Remember what a run needed; or, of one that ran out of memory, that it needs somewhat more than expected."""
        if was_too_little:
            expected_gb, room = await self._expected_gb(known), await self._room()
            peak_gb = memory.after_too_little(expected_gb, peak_gb, room, self._config.memory)
        if peak_gb > 0:
            now_ns = time.time_ns()
            await self._desk.ask(lambda store: store.learn_peak(known.name, self.device, peak_gb, PEAKS_KEPT, now_ns))

    async def _expected_gb(self, known: Known) -> float:
        since_ns = time.time_ns() - int(self._config.memory.remember_s * 1e9)
        peaks = await self._desk.ask(lambda store: store.peaks_gb(known.name, self.device, since_ns))
        return memory.needed_gb(known.description.vram_gb, peaks)

    async def _room(self) -> Room | None:
        return await asyncio.to_thread(memory.room_on, self.device)

    def _why(self, known: Known, needed_gb: float, room: Room | None) -> str:
        free = "" if room is None else f"; {room.free_gb:.1f} of {room.total_gb:.1f} GB are free"
        reserved_gb = self._config.memory.reserved_gb
        return f"{known.name} needs {needed_gb:.1f} GB on {self.device} beside {reserved_gb:g} GB kept back{free}"

    async def drop_idle(self) -> None:
        """Close those that had nothing to do for long, and are not to be warm."""
        now = time.monotonic()
        for name in [name for name, at in self._used_at.items() if now - at > self._config.keep_s]:
            if name not in self._config.warm:
                await self.drop(name)

    async def drop(self, name: str) -> None:
        """Close a worker, if there is one; its memory is free when this returns."""
        self._used_at.pop(name, None)
        if (worker := self._workers.pop(name, None)) is not None:
            await worker.close(self._config.process.close_timeout_s)
            forget_generator(self._gate)

    async def close(self) -> None:
        await asyncio.gather(*(self.drop(name) for name in list(self._workers)), return_exceptions=True)

    def _longest_unused(self) -> str:
        return min(self._workers, key=lambda name: self._used_at[name])
