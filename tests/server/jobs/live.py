"""A real server with jobs and a lane on a free port, and ways to talk to it."""

from __future__ import annotations

import contextlib
import json
import struct
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from server.assets.bus import AssetBus
from server.assets.catalog import Config as AssetsConfig
from server.assets.opened import opened
from server.bus.bus import Bus
from server.config import Settings
from server.generation.opened import Config, Generation, gates
from server.generation.opened import opened as generating
from server.metrics import Metrics
from server.web import Identity, identify, serving
from tests.server.fakes import FakeScenes


@dataclass
class Live:
    bus: AssetBus
    generation: Generation
    scenes: FakeScenes
    identity: Identity
    port: int
    http: httpx.AsyncClient

    async def submit(self, **wanted: Any) -> dict[str, Any]:
        """A rehearsal, unless told otherwise."""
        answer = await self.http.post("/v1/jobs", json={"provider": "rehearsal", **wanted})
        assert answer.status_code == 202, answer.text
        return answer.json()  # type: ignore[no-any-return]

    async def done(self, job: str) -> dict[str, Any]:
        """A job at its end."""
        answer = await self.http.get(f"/v1/jobs/{job}?wait=60", timeout=70)
        assert answer.status_code == 200, answer.text
        view: dict[str, Any] = answer.json()
        assert view["state"] in ("succeeded", "failed", "cancelled", "expired"), view
        return view

    async def until(self, job: str, *states: str) -> dict[str, Any]:
        """A job as soon as its stream says that it is in one of these states."""
        async with self.http.stream("GET", f"/v1/jobs/{job}/events", timeout=60) as stream:
            async for event in sse(stream):
                if event["state"] in states:
                    return event
        raise AssertionError(f"{job} was never {states}")


async def sse(stream: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    assert stream.status_code == 200
    async for line in stream.aiter_lines():
        if line.startswith("data: "):
            yield json.loads(line[6:])


@contextlib.asynccontextmanager
async def live(folder: Path, config: dict[str, Any] | None = None, **settings: object) -> AsyncIterator[Live]:
    """Serve jobs by plain HTTP on loopback."""
    quick = {"jobs": {"retry": {"first_backoff_s": 0.01}}}
    given = {"data_dir": folder, "http": {"host": "127.0.0.1", "port": 0}, "tls": {"enabled": False}} | settings
    assets = AssetsConfig.model_validate({"discovery": {"folder": str(folder / "models")}})
    generation = Config.model_validate(quick | (config or {}))
    rate = {"per_s": 1e6, "burst": 1_000_000}
    made = Settings(**{"rate": rate, "assets": assets, "generation": generation, **given})  # type: ignore[arg-type]
    identity, maps = identify(made), Bus()
    maps.open("main", lineage="first")
    scenes = FakeScenes(maps)
    with gates(("cpu",)) as gate_by_device:
        async with (
            opened(assets, folder / "assets", maps) as bus,
            generating(generation, folder / "jobs", bus.bus, gate_by_device, b"webhook key") as lanes,
            serving(made, scenes, identity, Metrics(), bus, lanes) as port,
            httpx.AsyncClient(base_url=f"http://localhost:{port}") as http,
        ):
            yield Live(bus.bus, lanes, scenes, identity, port, http)


def png(width: int = 8, height: int = 8) -> bytes:
    """A black picture; of large ones only the header is true."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = (b"\0" + bytes(3 * min(width, 64))) * min(height, 64)
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
