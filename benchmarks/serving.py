"""A server of its own for a benchmark: started as users start it, on a free port, with nothing kept afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from clients.http import Http, HttpError

READY_WITHIN_S = 120.0
STOP_WITHIN_S = 15.0
ASK_EVERY_S = 0.25


@dataclass(frozen=True, slots=True)
class Server:
    """Where a server is and how to trust it."""

    url: str
    ca: str | bool
    token: str | None
    scene: str
    pid: int | None = None
    """None when somebody else started it."""

    def http(self) -> Http:
        return Http(self.url, token=self.token, ca=self.ca)


@contextlib.asynccontextmanager
async def serving(**settings: str) -> AsyncIterator[Server]:
    """Run `python -m server serve` until the block ends; `settings` are environment variables without the prefix.

    Raises:
        RuntimeError: the server did not become ready; its last words are in the message.
    """
    with tempfile.TemporaryDirectory(prefix="commonground-bench-") as folder:
        port = _free_port()
        defaults = {"DATA_DIR": f"{folder}/data", "HTTP__PORT": str(port), "HTTP__HOST": "127.0.0.1", "SCENE": "bench"}
        environment = os.environ | {f"COMMONGROUND_{k}": v for k, v in (defaults | settings).items()}
        log = Path(folder) / "server.log"
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "server", "serve", env=environment, stdout=output, stderr=output
            )
        server = Server(f"https://localhost:{port}", False, None, (defaults | settings)["SCENE"], process.pid)
        try:
            if not await _is_ready(server, process):
                words = log.read_text(errors="replace")[-2000:]
                raise RuntimeError(f"the server did not become ready within {READY_WITHIN_S:.0f} s:\n{words}")
            authority = Path(folder) / "ca.der"
            authority.write_bytes((await server.http().request("GET", "ca")).body)
            yield Server(server.url, str(authority), None, server.scene, process.pid)
        finally:
            if process.returncode is None:
                process.terminate()
                try:
                    await asyncio.wait_for(process.wait(), STOP_WITHIN_S)
                except TimeoutError:
                    process.kill()
                    await process.wait()


async def _is_ready(server: Server, process: asyncio.subprocess.Process) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(READY_WITHIN_S):
            while process.returncode is None:
                with contextlib.suppress(HttpError):
                    await server.http().request("GET", "readyz")
                    return True
                await asyncio.sleep(ASK_EVERY_S)
    return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts below each bound, as Prometheus gives them."""

    bounds: tuple[float, ...]
    counts: tuple[float, ...]

    def __sub__(self, earlier: Histogram) -> Histogram:
        return Histogram(self.bounds, tuple(a - b for a, b in zip(self.counts, earlier.counts, strict=True)))

    @property
    def total(self) -> float:
        return self.counts[-1] if self.counts else 0.0

    def quantile(self, q: float) -> float | None:
        """Interpolated within its bucket; None when nothing was counted. Beyond the last bound: that bound."""
        if not self.total:
            return None
        rank = q * self.total
        low, below = 0.0, 0.0
        for bound, count in zip(self.bounds, self.counts, strict=True):
            if count >= rank:
                return low if bound == float("inf") else low + (bound - low) * (rank - below) / max(count - below, 1e-9)
            low, below = bound, count
        return low


async def histograms(server: Server, name: str, label: str | None = None) -> dict[str, Histogram]:
    """A histogram of `/metrics` by the values of one label (or under "")."""
    text = (await server.http().request("GET", "metrics")).body.decode()
    buckets: dict[str, list[tuple[float, float]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == f"{name}_bucket":
                key = sample.labels[label] if label else ""
                buckets.setdefault(key, []).append((float(sample.labels["le"]), sample.value))
    return {
        key: Histogram(tuple(b for b, _ in sorted(rows)), tuple(c for _, c in sorted(rows)))
        for key, rows in buckets.items()
    }
