"""The real server around an asset bus, without maps, and clients of it: what benchmarks of assets publish on."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from benchmarks.loopback import Clients, clients_apart, loopback_settings
from server.api.contract import Scenes
from server.assets.bus import AssetBus
from server.assets.opened import opened
from server.assets.values import AssetFile, NewAsset, NewVersion, Version
from server.auth import Grant, Role
from server.bus.bus import Bus
from server.metrics import Metrics
from server.web import identify, serving

MODEL_BYTES = 100_000


@dataclass(frozen=True, slots=True, eq=False)
class AssetServer:
    """The real server around an asset bus."""

    bus: AssetBus
    port: int
    token: str
    """Of those who may see one scene."""
    metrics: Metrics

    def clients(self, count: int, *options: str) -> AbstractAsyncContextManager[Clients]:
        """Clients in another process (see `benchmarks.asset_readers`)."""
        url = f"http://localhost:{self.port}"
        return clients_apart("benchmarks.asset_readers", url, "--clients", str(count), *options)

    async def publish(self, asset: str, files: tuple[AssetFile, ...], number: int) -> Version:
        new = NewVersion(files=files, provenance={"number": number})
        return await self.bus.ask(lambda catalog, now_ns: catalog.publish(asset, new, None, now_ns))

    async def register(self, asset: str, scene: str | None = None) -> None:
        new = NewAsset(name=asset, scene=scene)
        await self.bus.ask(lambda catalog, now_ns: catalog.register(asset, new, now_ns))

    def model(self, size_bytes: int = MODEL_BYTES) -> AssetFile:
        data = b"glTF" + os.urandom(size_bytes - 4)
        return AssetFile(role="lod0", format="glb", sha256=self.bus.blobs.put(data), size=size_bytes)


@contextlib.asynccontextmanager
async def asset_server(folder: Path) -> AsyncIterator[AssetServer]:
    """On a free port of loopback, without TLS."""
    settings = loopback_settings(folder, tls=False)
    maps, identity = Bus(), identify(settings)
    scenes = cast("Scenes", SimpleNamespace(bus=maps))  # no route of a map is asked
    token = identity.tokens.issue(Grant("main", Role.SUBSCRIBE), 3600, int(time.time()))
    metrics = Metrics()
    async with (
        opened(settings.assets, folder / "assets", maps) as assets,
        serving(settings, scenes, identity, metrics, assets) as port,
    ):
        yield AssetServer(assets.bus, port, token, metrics)
