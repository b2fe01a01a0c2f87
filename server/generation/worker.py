"""The process of one provider on one device: takes jobs from the lane one at a time. Standard library only.

Started in the provider's own Python environment (3.10 or newer) by `process.py`. It gets JSON over a socket and files
by their path in the job's spool folder; what the provider prints goes to stderr. A thread beats, a thread listens, the
main thread runs the provider. When the lane is gone, so is this.
"""

from __future__ import annotations

import argparse
import faulthandler
import importlib
import os
import queue
import resource
import signal
import socket
import sys
import threading
import time
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any

from server.generation import wire
from server.generation.gate import GateMemory
from server.generation.parking import Parking
from server.generation.provider import Cancelled, GenerationFailed, Provider, Request, Result, Stage
from server.parent import die_with

PROGRESS_EVERY_S = 0.05
BEAT_S = 0.2
MAX_TRACE_CHARS = 4000
_LAST_WORDS = ("done", "failed", "cancelled")


class Worker:
    """The loop of one worker process."""

    def __init__(self, connection: socket.socket, gate: GateMemory) -> None:
        self._connection = connection
        self._sending = threading.Lock()
        self._orders: queue.Queue[wire.Message] = queue.Queue(4)
        self._run_id: str | None = None
        self._cancelled: str | None = None
        self._parking = Parking(gate, self.is_cancelled)

    def run(self) -> None:
        """Become what the first message says; then load and run until told to stop, or left alone."""
        start = wire.receive(self._connection)
        if start is None:
            return
        try:
            provider = importlib.import_module(start["module"]).create(start["options"])
            description = provider.describe()
        except Exception as error:
            self.say("failed", **_told(error))
            return
        self.say("hello", protocol=wire.PROTOCOL, python=sys.version.split()[0], description=asdict(description))
        for work in (self._listen, self._beat):
            threading.Thread(target=work, daemon=True).start()
        while (message := self._orders.get())["type"] != "stop":
            if message["type"] == "load":
                self._load(provider, start["device"])
            else:
                self._run(provider, start["device"], message)
        provider.unload()

    def say(self, type: str, **fields: Any) -> None:
        try:
            packed = wire.pack(type, **fields)
        except wire.WireError as error:
            if type not in _LAST_WORDS:  # the result may still be good
                print(f"{type} is not said: {error}", file=sys.stderr)
                return
            told = {"code": "bad_result", "message": str(error)[:1000], "hint": "", "retryable": False}
            packed = wire.pack("failed", run=self._run_id, **told)
        try:
            with self._sending:
                self._connection.sendall(packed)
        except OSError:  # nobody is there any more
            os._exit(1)

    def _load(self, provider: Provider, device: str) -> None:
        began = time.monotonic()
        try:
            provider.load(device)
        except Exception as error:
            self.say("failed", **_told(error))
        else:
            self.say("loaded", seconds=time.monotonic() - began, **_memory())

    def _run(self, provider: Provider, device: str, message: wire.Message) -> None:
        request = _request(message["request"])
        self._run_id = str(message["run"])
        self._parking.begin()
        try:
            stages = {stage.name: stage for stage in provider.describe().stages}
            context = JobContext(self, self._parking, Path(message["spool"]), device, self._run_id, stages)
            self._parking.park()  # it may be cancelled already
            result = provider.run(request, context)
        except Cancelled:
            outcome: tuple[str, dict[str, Any]] = "cancelled", {}
        except Exception as error:
            outcome = "failed", _told(error)
        else:
            outcome = "done", {"result": plain(result), **_memory()}
        self._parking.end()
        type, fields = outcome
        self.say(type, run=self._run_id, **self._figures(), **fields)
        self._run_id = None

    def is_cancelled(self) -> bool:
        return self._cancelled is not None and self._cancelled == self._run_id

    def _listen(self) -> None:
        while (message := wire.receive(self._connection)) is not None:
            if message["type"] == "cancel":
                self._cancelled = message["run"]
            else:
                self._orders.put(message)
        os._exit(1)

    def _beat(self) -> None:
        while True:
            self.say("beat", run=self._run_id, **self._figures(), **_memory())
            time.sleep(BEAT_S)

    def _figures(self) -> dict[str, Any]:
        parking = self._parking
        return {
            "parked_ms": parking.parked_ns / 1e6,
            "block_ms_p99": _p99(parking.block_ms),
            "park_ms_p99": _p99(parking.park_ms),
            "breaches": parking.breaches,
        }


class JobContext:
    """Fulfils `server.generation.provider.Context`."""

    def __init__(
        self, worker: Worker, parking: Parking, spool: Path, device: str, run: str, stages: dict[str, Stage]
    ) -> None:
        self.spool, self.device = spool, device
        self._worker, self._parking, self._run, self._stages = worker, parking, run, stages
        self._stage, self._told_at, self._num_offers = "", 0.0, 0

    @property
    def cancelled(self) -> bool:
        return self._worker.is_cancelled()

    def stage(self, name: str) -> None:
        stage = self._stages.get(name, Stage(name))
        self._parking.work(stoppable=stage.stoppable)
        if not stage.preemptible:
            self._parking.wait_idle(stage.seconds)
        self._stage, self._told_at = name, 0.0
        self.progress(0.0)

    def progress(self, fraction: float) -> None:
        now = time.monotonic()
        if now - self._told_at >= PROGRESS_EVERY_S:
            self._told_at = now
            self._worker.say("progress", run=self._run, stage=self._stage, fraction=float(fraction))

    def park(self) -> None:
        self._parking.park()

    def offer(self, result: Result) -> None:
        self._num_offers += 1
        self._worker.say("offer", run=self._run, number=self._num_offers, result=plain(result))


def plain(result: Result) -> dict[str, Any]:
    """A result as JSON."""
    files = [asdict(file) | {"path": str(file.path)} for file in result.files]
    return {"files": files, "metadata": dict(result.metadata)}


def _request(told: dict[str, Any]) -> Request:
    files = {name: tuple(map(Path, paths)) for name, paths in told["files"].items()}
    return Request(**{**told, "files": files})


def _told(error: Exception) -> dict[str, Any]:
    if isinstance(error, GenerationFailed):
        return {"code": error.code, "message": str(error), "hint": error.hint, "retryable": error.is_retryable}
    trace = traceback.format_exc()[-MAX_TRACE_CHARS:]
    kinds = {kind.__name__ for kind in type(error).__mro__}
    code = "out_of_memory" if kinds & {"MemoryError", "OutOfMemoryError"} else "provider_error"  # the latter is torch's
    message = f"{type(error).__name__}: {error}"[:1000]
    return {"code": code, "message": message, "hint": "", "retryable": True, "trace": trace}


def _memory() -> dict[str, float]:
    """Peaks so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    used = {"rss_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30, "vram_gb": 0.0}
    cuda = sys.modules.get("torch.cuda")
    if cuda is not None and getattr(cuda, "is_initialized", bool)():  # else it is being imported at this moment
        used["vram_gb"] = cuda.max_memory_reserved() / 2**30
    return used


def _p99(values: list[float]) -> float:
    return sorted(values)[int(0.99 * (len(values) - 1))] if values else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description="One provider's worker; started by the server, not by hand.")
    for name in ("control", "gate", "parent", "nice"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--cores", default="")
    args = parser.parse_args()
    die_with(args.parent)
    os.setpgid(0, 0)  # a group, but no session: Linux shares the processor out by session, whatever `nice` says
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the server decides who ends when
    faulthandler.enable()
    os.nice(args.nice)
    if args.cores:
        os.sched_setaffinity(0, map(int, args.cores.split(",")))
    os.dup2(2, 1)
    with socket.socket(fileno=args.control) as connection:
        Worker(connection, GateMemory(args.gate)).run()


if __name__ == "__main__":
    main()
