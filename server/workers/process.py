"""One incarnation of a worker process, seen from the main process: spawned, ready, asked, dead; never restarted."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

import server
from server import devices
from server.workers.arena import Arena
from server.workers.messages import (
    LENGTH,
    Answers,
    Beat,
    FromWorker,
    Logged,
    MessageError,
    Predict,
    Ready,
    Start,
    StartFailed,
    Stop,
    check_length,
    pack,
    unpack_from_worker,
)

_log = logging.getLogger(__name__)
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


class WorkerDied(Exception):
    """The process ended, or was ended because it did not answer."""


class EngineFailed(Exception):
    """The engine could not be made on this device; the message says why."""


class Config(BaseModel):
    """How worker processes are run and when they are given up."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    nice: int = Field(default=10, ge=0, le=19)
    """Politeness of a worker: the main process answers phones and clients first."""
    threads: int | None = Field(default=None, gt=0)
    """Threads of one worker's numeric libraries; None = all cores but one, which those on the CPU share."""
    heartbeat_s: float = Field(default=0.5, gt=0)
    heartbeat_timeout_s: float = Field(default=5.0, gt=0)
    """A ready worker that was silent for so long is killed and replaced."""
    start_timeout_s: float = Field(default=300.0, gt=0)
    """Making and warming the engine may compile kernels or load gigabytes of weights. While the worker says that it
    downloads something, and gets on with it, this does not run."""
    job_timeout_s: float = Field(default=60.0, gt=0)
    close_timeout_s: float = Field(default=5.0, gt=0)

    def shared(self, devices: Sequence[str]) -> Config:
        """The same with the threads said that each of these devices' workers has."""
        on_cpu = sum(device.partition(":")[0] == "cpu" for device in devices)
        threads = self.threads or max(1, _spare_cores() // max(1, on_cpu))
        return self.model_copy(update={"threads": threads})


class WorkerProcess:
    """A running worker; `spawn` starts it, `warm` waits until it can be asked."""

    def __init__(
        self, device: str, process: asyncio.subprocess.Process, writer: asyncio.StreamWriter, config: Config
    ) -> None:
        """Use `WorkerProcess.spawn`."""
        self._device, self._process, self._writer, self._config = device, process, writer, config
        self._reply: asyncio.Future[Answers] | None = None
        self._ready: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
        self._limit: asyncio.Timeout | None = None
        """Of its start."""
        self._beat = asyncio.Event()
        self._cause: str | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.rss_bytes = self.device_bytes = 0
        self.fetching = ""
        """What it downloads before it can start, and how far that is; empty = nothing."""
        self.provenance: dict[str, str] = {}
        self.together = 1

    @classmethod
    async def spawn(
        cls,
        device: str,
        engine: str,
        engine_config: dict[str, Any],
        arena: Arena,
        config: Config,
    ) -> WorkerProcess:
        """Start a worker.

        Raises:
            EngineFailed: there is no such device.
            OSError: the machine gives no process.
        """
        threads = config.threads or _spare_cores()
        try:
            environment = _environment(device, threads)
        except ValueError as error:
            raise EngineFailed(str(error)) from error
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "server.workers.worker"),
                *("--control", str(theirs.fileno()), "--memory", str(arena.memory.descriptor)),
                *("--memory-bytes", str(arena.memory.size), "--result-bytes", str(arena.result_bytes)),
                *("--parent", str(os.getpid())),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), arena.memory.descriptor),
                env=environment,
            )
        reader, writer = await asyncio.open_connection(sock=ours)
        self = cls(device, process, writer, config)
        self._tasks = [asyncio.create_task(self._read(reader))]
        self._writer.write(pack(Start(engine, engine_config, threads, config.nice, config.heartbeat_s)))
        return self

    async def warm(self) -> None:
        """Wait until its engine is made and warm.

        Raises:
            EngineFailed: the engine could not be made; a new attempt would fail too.
            WorkerDied: the process died, or took longer than `start_timeout_s`, downloads aside.
        """
        try:
            async with asyncio.timeout(self._config.start_timeout_s) as self._limit:
                await self._ready
            self._tasks.append(asyncio.create_task(self._watch()))
        except TimeoutError as error:
            await self.kill(f"was not ready within {self._config.start_timeout_s:g} s")
            raise WorkerDied(self._cause) from error
        except BaseException:
            await self.kill("its start was given up")
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        """False as soon as its end is known."""
        return self._cause is None

    async def ask(self, request: Predict) -> Answers:
        """Have one job done; one at a time.

        Raises:
            WorkerDied: the process died over it, or took longer than `job_timeout_s` and was killed.
        """
        assert self._reply is None, "a worker does one job at a time"
        if self._cause is not None:
            raise WorkerDied(self._cause)
        self._reply = asyncio.get_running_loop().create_future()
        try:
            self._writer.write(pack(request))
            async with asyncio.timeout(self._config.job_timeout_s):
                return await self._reply
        except TimeoutError as error:
            await self.kill(f"did not finish a job within {self._config.job_timeout_s:g} s")
            raise WorkerDied(self._cause) from error
        finally:
            self._reply = None

    async def died(self) -> str:
        """Wait for the end; why it came."""
        await asyncio.wait(self._tasks[:1])
        return await self.kill("ended")

    async def close(self) -> None:
        """Ask it to stop; kill it when it does not."""
        if self.alive:
            self._writer.write(pack(Stop()))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._config.close_timeout_s):
                await self._process.wait()
        await self.kill("was closed")

    async def kill(self, cause: str) -> str:
        """Make sure that the process is gone and whoever waits for it knows; why it went."""
        self._cause = self._cause or cause
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        code = await self._process.wait()
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()
        self._writer.close()
        self._fail(WorkerDied(f"the worker {self._cause} ({_exit_reason(code)})"))
        return self._cause

    def _fail(self, error: Exception) -> None:
        for waiting in (self._ready, self._reply):
            if waiting is not None and not waiting.done():
                waiting.set_exception(error)
                waiting.exception()  # whoever waits hears of it; that nobody waits is no error

    async def _read(self, reader: asyncio.StreamReader) -> None:
        """Take the worker's messages until it is gone."""
        try:
            while True:
                (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
                self._take(unpack_from_worker(await reader.readexactly(check_length(length))))
        except (asyncio.IncompleteReadError, OSError):
            self._cause = self._cause or "died"
            with contextlib.suppress(TimeoutError):  # it may still be dying, and should tell its own reason
                async with asyncio.timeout(self._config.close_timeout_s):
                    await self._process.wait()
        except MessageError as error:
            self._cause = f"sent nonsense ({error})"
        await self.kill("died")

    def _take(self, message: FromWorker) -> None:
        match message:
            case Beat():
                self.rss_bytes, self.device_bytes = message.rss_bytes, message.device_bytes
                self._note_fetching(message.fetching)
                self._beat.set()
            case Logged():
                logging.getLogger(message.logger).log(message.level, message.message, extra={"device": self._device})
            case Ready():
                self.provenance, self.together = message.provenance, message.together
                if not self._ready.done():  # else it comes too late
                    self._ready.set_result(message)
            case StartFailed():
                self._fail(EngineFailed(f"{message.kind}: {message.message}"))
            case Answers():
                if self._reply is not None and not self._reply.done():
                    self._reply.set_result(message)

    def _note_fetching(self, what: str) -> None:
        """Whenever its download gets on, or is there, its start has as much time as if it began only now."""
        if what and not self.fetching:
            _log.info("device %s downloads what its engine needs: %s", self._device, what)
        has_moved, self.fetching = what != self.fetching, what
        if has_moved and self._limit is not None and not self._ready.done():
            self._limit.reschedule(asyncio.get_running_loop().time() + self._config.start_timeout_s)

    async def _watch(self) -> None:
        """Kill a worker that falls silent for two halves of the timeout in a row: one alone may be our own pause."""
        silent = 0
        while silent < 2:
            try:
                async with asyncio.timeout(self._config.heartbeat_timeout_s / 2):
                    await self._beat.wait()
                self._beat.clear()
                silent = 0
            except TimeoutError:
                silent += 1
        await self.kill(f"was silent for {self._config.heartbeat_timeout_s:g} s")


def _spare_cores() -> int:
    return max(1, (os.cpu_count() or 2) - 1)


def _environment(device: str, threads: int) -> dict[str, str]:
    """The child's environment: its device, its threads, and where to find this package."""
    package_root = str(Path(server.__file__).parents[1])
    paths = [package_root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        **dict.fromkeys(_THREAD_VARIABLES, str(threads)),
        **devices.environment(device),
        "PYTHONPATH": os.pathsep.join(paths),
    }


def _exit_reason(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
