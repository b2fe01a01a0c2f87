"""One worker process of a provider, seen from the lane: started, told what to do, heard, stopped, killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

import server
from server import devices
from server.generation import wire
from server.generation.gate import GateMemory
from server.generation.registry import Known

_ROOT = str(Path(server.__file__).parent.parent)
_START = f"import sys; sys.path.append({_ROOT!r}); from server.generation.worker import main; main()"
"""Our package comes last, so that the provider's own environment wins."""
_ENVIRONMENT = (
    "PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "HF_HOME", "HF_HUB_OFFLINE", "TORCH_HOME", "CUDA_HOME",
    "CUDA_MPS_PIPE_DIRECTORY", "XDG_CACHE_HOME",
)  # fmt: skip
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


class Config(BaseModel):
    """How providers' processes are run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    nice: int = Field(default=10, ge=0, le=19)
    """As polite as perception's own workers, and no more: one that gets no turn beside them cannot finish its block
    and park."""
    threads: int = Field(default=1, gt=0)
    """Of one worker's numeric libraries."""
    cores: tuple[int, ...] = ()
    """The only ones that workers may use, if any are named."""
    start_timeout_s: float = Field(default=30.0, gt=0)
    load_timeout_s: float = Field(default=600.0, gt=0)
    """Loading may read gigabytes of weights."""
    close_timeout_s: float = Field(default=2.0, gt=0)


class WorkerGone(Exception):
    """The process ended."""


class ProviderProcess:
    """A worker; make it with `spawn`. `listener` hears every message but beats."""

    def __init__(
        self, process: asyncio.subprocess.Process, writer: asyncio.StreamWriter, known: Known, device: str
    ) -> None:
        self._process, self._writer, self.known, self._device = process, writer, known, device
        self._hello: asyncio.Future[wire.Message] = asyncio.get_running_loop().create_future()
        self._reading: asyncio.Task[None] | None = None
        self.listener: Callable[[wire.Message], None] = lambda message: None
        self.is_loaded = False
        self._stopped_at: float | None = None
        self._stopped_s = 0.0
        self.heard_at = time.monotonic()
        self.figures: dict[str, Any] = {}
        """Of the last beat."""
        self.gone = asyncio.Event()

    @classmethod
    async def spawn(cls, known: Known, device: str, gate: GateMemory, config: Config) -> ProviderProcess:
        """
        Raises:
            WorkerGone: it does not start; the message says why.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = await asyncio.create_subprocess_exec(
                    *(known.python, "-I", "-c", _START),
                    *("--control", str(theirs.fileno()), "--gate", str(gate.descriptor)),
                    *("--parent", str(os.getpid()), "--nice", str(config.nice)),
                    *("--cores", ",".join(map(str, config.cores))),
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(), gate.descriptor),
                    env=_environment(device, config.threads),
                )
            except OSError as error:
                ours.close()
                raise WorkerGone(f"{known.python} cannot be run: {error}") from error
        reader, writer = await asyncio.open_connection(sock=ours)
        self = cls(process, writer, known, device)
        self._reading = asyncio.create_task(self._read(reader), name=f"hear {known.name}")
        alone = "cuda:0" if device.startswith("cuda:") else device  # the only one that it sees
        self.tell("start", module=known.module, options=known.options, device=alone)
        try:
            async with asyncio.timeout(config.start_timeout_s):
                await self._hello
        except TimeoutError:
            await self.kill()
            raise WorkerGone(f"it did not answer within {config.start_timeout_s:g} s") from None
        except BaseException:
            await self.kill()
            raise
        return self

    @property
    def pid(self) -> int:
        return self._process.pid

    def tell(self, type: str, **fields: Any) -> None:
        """Say something to the worker; what it does not hear any more is lost."""
        with contextlib.suppress(ConnectionError, RuntimeError):
            self._writer.write(wire.pack(type, **fields))

    async def load(self) -> wire.Message:
        """Have its provider made ready: what it said last, `loaded`, `failed` or `gone`."""
        told: asyncio.Future[wire.Message] = asyncio.get_running_loop().create_future()

        def hear(message: wire.Message) -> None:
            if message["type"] in ("loaded", "failed", "gone") and not told.done():
                told.set_result(message)

        self.listener = hear
        if self.gone.is_set():
            hear({"type": "gone", "message": "it died at once"})
        self.tell("load")
        message = await told
        self.is_loaded = message["type"] == "loaded"
        return message

    @property
    def is_stopped(self) -> bool:
        return self._stopped_at is not None

    @property
    def yielded_ms(self) -> float:
        """For how long it was parked or stopped, all its life."""
        now = time.monotonic()
        stopped_s = self._stopped_s + (0.0 if self._stopped_at is None else now - self._stopped_at)
        return float(self.figures.get("parked_ms", 0.0)) + 1e3 * stopped_s

    @property
    def memory_gb(self) -> float:
        """What its device gets back when it ends, at most."""
        return float(self.figures.get("vram_gb" if self._device.startswith("cuda:") else "rss_gb", 0.0))

    def pause(self) -> None:
        """Stop it in its tracks (SIGSTOP); what it has queued on a GPU still runs."""
        if self._stopped_at is None:
            self._signal(signal.SIGSTOP)
            self._stopped_at = time.monotonic()

    def resume(self) -> None:
        if self._stopped_at is not None:
            self._signal(signal.SIGCONT)
            self.heard_at = time.monotonic()
            self._stopped_s += self.heard_at - self._stopped_at
            self._stopped_at = None

    def end(self) -> None:
        """Kill it and its children; `gone` is set, and the listener told, when they are."""
        self._signal(signal.SIGKILL)

    async def kill(self) -> None:
        """`end` it; the device's memory is free when this returns."""
        self.end()
        await self._process.wait()
        await self._let_go()

    async def close(self, timeout_s: float) -> None:
        """Ask it to unload and end; kill it when it does not."""
        self.resume()
        self.tell("stop")
        try:
            async with asyncio.timeout(timeout_s):
                await self._process.wait()
        except TimeoutError:
            self.end()
            await self._process.wait()
        await self._let_go()

    async def _let_go(self) -> None:
        """Of a process that has ended; whatever it started and left behind ends, too."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._writer.close()
        if self._reading is not None and self._reading is not asyncio.current_task():
            await asyncio.wait([self._reading])

    def _signal(self, number: int) -> None:
        """To it and its children; to it alone before it has made itself a group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            try:
                os.killpg(self._process.pid, number)
            except ProcessLookupError:
                if self._process.returncode is None:  # else the number may be somebody else's by now
                    os.kill(self._process.pid, number)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        why = "its process ended"
        try:
            while True:
                length = wire.body_length(await reader.readexactly(wire.LENGTH.size))
                self._hear(wire.unpack(await reader.readexactly(length)))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except (wire.WireError, KeyError, TypeError, ValueError) as error:
            why = f"it spoke nonsense: {error}"
            self.end()
        if not self._hello.done():
            self._hello.set_exception(WorkerGone(why))
        self.gone.set()
        self.listener({"type": "gone", "message": why})

    def _hear(self, message: wire.Message) -> None:
        self.heard_at = time.monotonic()
        if "parked_ms" in message:
            self.figures = message
        if not self._hello.done():
            if message["type"] == "hello" and message["protocol"] == wire.PROTOCOL:
                self._hello.set_result(message)
            else:
                self._hello.set_exception(WorkerGone(str(message.get("message", "it speaks another protocol"))))
        elif message["type"] != "beat":
            self.listener(message)


def _environment(device: str, threads: int) -> dict[str, str]:
    """Only what a provider needs: no secrets of the server's."""
    chosen = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    chosen |= dict.fromkeys(_THREADS, str(threads))
    return chosen | devices.environment(device)
