"""kill -9 of the server and of its workers at random instants: is every job there, done once, published once?

The server under test (`python -m benchmarks.generation.killing FOLDER`) is bus, books and lane in one process, which
takes orders on stdin and answers on stdout once they are on the disk; the lane's broker is a part of it. The parent is
a client that repeats an order to every new server, under its Idempotency-Key, until its job is over. Half of the orders
ask for something that was asked before, so that the cache is used. A job whose workers were killed as often as it is
tried fails, and the client asks for a retry; deaths of the server are not counted. At the end every order must be the
job that it was answered with first, which succeeded, with exactly one version of its own asset, and both logs of events
numbered without a gap. What does not get done is waited for only so long, and lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from server.assets.bus import AssetBus
from server.assets.catalog import Config as AssetsConfig
from server.generation.opened import Config, gates, opened
from server.jobs.desk import Desk
from server.jobs.values import Wanted

OUTSTANDING = 4
SERVERS = 0.3
"""Share of the kills that hit the server (and with it the lane's broker); the others hit a worker."""
LONGEST_S = 0.5
STARTING = 0.1
"""Share of the kills that do not wait until the server is up."""
QUIET_S = 120.0
"""So long after the last job that was done nothing more is expected."""
PARAMS = {"blocks": 12, "block_ms": 4.0}
CONFIG = Config.model_validate({"jobs": {"retry": {"first_backoff_s": 0.05}}})
ASSETS = AssetsConfig.model_validate({"discovery": {"every_s": None}, "keep_events": 10**7})


@dataclass(frozen=True, slots=True)
class Kills:
    """What was left."""

    kills: int
    servers: int
    workers: int
    jobs: int
    retries: int
    """Asked for by the client, of jobs whose worker was killed in every attempt."""
    lost: int
    """Orders whose first answer names no job that succeeded, or that have no version."""
    duplicated: int
    """Versions of a job beyond its first, and jobs of an order beyond its first."""
    gaps: int
    """Missing sequence numbers, of jobs and assets."""


class _Client:
    """Orders jobs from whatever server is alive."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self.ordered = 0
        self.answered: dict[int, str] = {}
        """The job that an order was answered with first."""
        self.done: set[int] = set()
        """Orders whose job is over, however it ended."""
        self.retries = 0
        self._start()

    def _start(self) -> None:
        self.server = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.up = threading.Event()
        self._reader = threading.Thread(target=self._read, args=(self.server, self.up), daemon=True)
        self._reader.start()
        for number in sorted(set(range(self.ordered)) - self.done):
            self._order(number)

    def order_more(self) -> None:
        while self.ordered - len(self.done) < OUTSTANDING:
            self.ordered += 1
            self._order(self.ordered - 1)

    def kill_server(self) -> None:
        self.server.kill()
        self.server.wait()
        self._reader.join()
        self._start()

    def kill_worker(self) -> bool:
        """Whether there was one."""
        children = Path(f"/proc/{self.server.pid}/task/{self.server.pid}/children")
        with contextlib.suppress(OSError):
            for pid in map(int, children.read_text().split()):
                if b"generation.worker" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGKILL)
                    return True
        return False

    def finish(self, quiet_s: float = QUIET_S) -> None:
        """Wait until all that was ordered is done, or nothing is any more; then end the server in good order."""
        most, since_s = -1, 0.0
        while (count := len(self.done)) < self.ordered:
            if count > most:
                most, since_s = count, time.monotonic()
            elif time.monotonic() - since_s > quiet_s:
                break
            if not self._reader.is_alive():
                self.kill_server()
            self._reader.join(0.2)
        assert self.server.stdin is not None
        self.server.stdin.close()
        try:
            self.server.wait(quiet_s)
        except subprocess.TimeoutExpired:
            self.server.kill()
            self.server.wait()

    def _order(self, number: int) -> None:
        assert self.server.stdin is not None
        with contextlib.suppress(OSError):
            self.server.stdin.write(f"{number}\n")
            self.server.stdin.flush()

    def _read(self, server: subprocess.Popen[str], up: threading.Event) -> None:
        assert server.stdout is not None
        for line in server.stdout:
            with contextlib.suppress(ValueError):  # broken off
                told = json.loads(line)
                if "order" in told:
                    self.answered.setdefault(told["order"], told["job"])
                elif "done" in told:
                    self.done.add(told["done"])
                elif "retried" in told:
                    self.retries += 1
                else:
                    up.set()
        up.set()


def kill(kills: int, seed: int) -> Kills:
    """Kill so often; then look at what is there."""
    chance, hit = random.Random(seed), Counter[str]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        client = _Client([sys.executable, "-m", __spec__.name if __spec__ else __name__, str(folder)])
        while hit.total() < kills:
            client.order_more()
            if chance.random() > STARTING:
                client.up.wait(QUIET_S)
            time.sleep(chance.uniform(0, LONGEST_S))
            if chance.random() < SERVERS:
                client.kill_server()
                hit["server"] += 1
            else:
                hit["worker"] += client.kill_worker()
        client.finish()
        lost, duplicated, gaps = _inspect(folder, client)
        return Kills(hit.total(), hit["server"], hit["worker"], client.ordered, client.retries, lost, duplicated, gaps)


def _inspect(folder: Path, client: _Client) -> tuple[int, int, int]:
    jobs = sqlite3.connect(folder / "jobs" / "jobs.sqlite")
    assets = sqlite3.connect(folder / "assets" / "assets.sqlite")
    state = dict(jobs.execute("SELECT job, state FROM jobs").fetchall())
    versions: Counter[str] = Counter()
    for (asset,) in assets.execute("SELECT asset FROM versions"):
        versions[asset] += 1
    lost = sum(
        state.get(client.answered.get(number, "")) != "succeeded" or versions[f"order{number}"] == 0
        for number in range(client.ordered)
    )
    duplicated = sum(count - 1 for count in versions.values()) + len(state) - client.ordered
    return lost, duplicated, _gaps(jobs) + _gaps(assets)


def _gaps(database: sqlite3.Connection) -> int:
    lowest, highest, count = database.execute("SELECT min(seq), max(seq), count(*) FROM events").fetchone()
    return int(highest) - int(lowest) + 1 - int(count) + int(lowest) - 1


async def serve(folder: Path) -> None:
    """The server under test, until its client has gone."""
    loop = asyncio.get_running_loop()
    orders = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    with gates(("cpu",)) as gate_by_device, AssetBus(folder / "assets", ASSETS) as bus:
        async with (
            opened(CONFIG, folder / "jobs", bus, gate_by_device, b"") as generation,
            asyncio.TaskGroup() as doing,
        ):
            desk = generation.desk

            async def do(number: int) -> None:
                asset = f"order{number}"
                wanted = Wanted(provider="rehearsal", seed=number // 2, params=PARAMS, asset=asset)
                job, _ = await desk.submit(wanted, (), asset)
                _tell(order=number, job=job.job)
                await until_over(desk, job.job)
                _tell(done=number)

            _tell(up=True)
            tasks = []
            while line := await orders.readline():
                tasks.append(doing.create_task(do(int(line))))
            for task in tasks:
                task.cancel()


async def until_over(desk: Desk, job: str) -> None:
    """However it ends; one that may go better is tried again."""
    while True:
        found = await desk.wait(job, 60.0)
        if found.state == "failed" and found.failure is not None and found.failure.retryable:
            await desk.retry(job)
            _tell(retried=job)
        elif found.is_over:
            return


def _tell(**what: object) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
