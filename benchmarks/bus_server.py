"""The real server's socket around a bus and nothing else: what benchmarks of the fan-out publish on."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np

from benchmarks.loopback import Clients, clients_apart, loopback_settings
from server.api.contract import Scenes
from server.bus.bus import Bus
from server.bus.bus import Config as BusConfig
from server.bus.channel import Channel
from server.bus.encode import Publication
from server.metrics import Metrics
from server.protocol import CLOSE_TOO_SLOW, pack_buffers
from server.web import identify, serving

SCENE = "main"


@dataclass(frozen=True, slots=True, eq=False)
class BusServer:
    """A server without maps: its channel is ours to publish on."""

    channel: Channel
    metrics: Metrics
    url: str
    ca: Path | None

    def clients(self, **options: float) -> AbstractAsyncContextManager[Clients]:
        """Map clients in another process, in step with the scene (see `benchmarks.readers`)."""
        told = [self.url, *(["--ca", str(self.ca)] if self.ca is not None else [])]
        for name, value in options.items():
            told += [f"--{name.replace('_', '-')}", str(value)]
        return clients_apart("benchmarks.readers", *told)

    async def publish(self, keys: list[int], size_bytes: int, per_s: float) -> None:
        """Publish random tiles of these keys in turn, evenly spaced, until cancelled; late ones are not made up for."""
        tiles = [tile(key, size_bytes) for key in keys]
        due, i = time.monotonic(), 0
        while True:
            due = max(due + 1 / per_s, time.monotonic())
            await asyncio.sleep(due - time.monotonic())
            self.put(tiles[i % len(tiles)])
            i += 1

    async def evicted(self, num_clients: int, within_s: float) -> None:
        """Wait until so many clients have been given up for reading too slowly; not for ever."""
        by = time.monotonic() + within_s
        while self._num_evicted() < num_clients and time.monotonic() < by:  # noqa: ASYNC110 - a counter tells nobody
            await asyncio.sleep(0.1)

    def _num_evicted(self) -> int:
        return int(self.metrics.closed.labels(CLOSE_TOO_SLOW)._value.get())

    def put(self, item: Publication) -> None:
        now_ns = time.time_ns()
        self.channel.publish(item, capture_ns=now_ns, infer_ns=now_ns, now_ns=now_ns)


def tile(key: int, size_bytes: int) -> Publication:
    """Random bytes: nothing to compress."""
    data = np.random.default_rng(key).integers(0, 255, size_bytes, dtype=np.uint8)
    buffers, payload = pack_buffers({"data": data})
    return Publication("mesh", (key, 0), {}, tuple(buffers), payload)


@contextlib.asynccontextmanager
async def bus_server(*, tls: bool, config: BusConfig | None = None) -> AsyncIterator[BusServer]:
    """Serve an empty channel on a free port of loopback."""
    with tempfile.TemporaryDirectory() as folder:
        settings = loopback_settings(Path(folder), tls=tls)
        bus = Bus(config)
        channel, identity = bus.open(SCENE), identify(settings)
        scenes = cast("Scenes", SimpleNamespace(bus=bus))  # no route but the socket is asked
        metrics = Metrics()
        async with serving(settings, scenes, identity, metrics) as port:
            url = f"{'wss' if tls else 'ws'}://localhost:{port}/v1/map"
            yield BusServer(
                channel, metrics, url, identity.authority.ca_path if identity.authority is not None else None
            )
