"""A real server with an asset bus on a free port, and ways to talk to it."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import websockets
from websockets.asyncio.client import ClientConnection

from server.api.assets_socket import SUBPROTOCOL
from server.assets.bus import AssetBus
from server.assets.catalog import Config
from server.assets.opened import opened
from server.bus.bus import Bus
from server.config import Settings
from server.metrics import Metrics
from server.web import Identity, identify, serving
from tests.server.fakes import FakeScenes


@dataclass
class Live:
    bus: AssetBus
    scenes: FakeScenes
    identity: Identity
    port: int
    http: httpx.AsyncClient

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    async def publish(self, asset: str, content: bytes, **fields: Any) -> httpx.Response:
        """A version of one GLB, by the routes a client would take."""
        sha256 = hashlib.sha256(content).hexdigest()
        assert (await self.http.put(f"/v1/blobs/sha256/{sha256}", content=content)).is_success
        made = await self.http.put(f"/v1/assets/{asset}", json={"name": asset, **fields.pop("about", {})})
        assert made.is_success, made.text
        file = {"role": "lod0", "format": "glb", "sha256": sha256, "size": len(content), **fields.pop("file", {})}
        return await self.http.post(f"/v1/assets/{asset}/versions", json={"files": [file], **fields})

    def opened(self, query: str = "", subprotocols: Sequence[str] = (SUBPROTOCOL,)) -> websockets.connect:
        """An event socket before hello."""
        spoken = [websockets.Subprotocol(name) for name in subprotocols] or None
        url = f"ws://127.0.0.1:{self.port}/v1/assets/events{query}"
        return websockets.connect(url, subprotocols=spoken, compression=None)

    @contextlib.asynccontextmanager
    async def socket(self, since: int | None = None, token: str | None = None) -> AsyncIterator[Talk]:
        """An event socket that was greeted."""
        query = "" if since is None else f"?since={since}"
        async with self.opened(query) as made:
            talk = Talk(made)
            await talk.say(type="hello", client="test", **({"token": token} if token else {}))
            assert (await talk.hear())["type"] == "hello"
            yield talk


@dataclass
class Talk:
    """One socket's JSON."""

    socket: ClientConnection

    async def say(self, **message: Any) -> None:
        await self.socket.send(json.dumps(message))

    async def hear(self) -> dict[str, Any]:
        return json.loads(await self.socket.recv())  # type: ignore[no-any-return]

    async def hear_until(self, type: str) -> dict[str, Any]:
        while (heard := await self.hear())["type"] != type:
            pass
        return heard


@contextlib.asynccontextmanager
async def live(folder: Path, config: Config | None = None, **settings: object) -> AsyncIterator[Live]:
    """Serve an asset bus by plain HTTP on loopback."""
    config = config or Config.model_validate({"discovery": {"folder": str(folder / "models")}})
    given = {"data_dir": folder, "http": {"host": "127.0.0.1", "port": 0}, "tls": {"enabled": False}} | settings
    generous = {"per_s": 1e6, "burst": 1_000_000}
    made = Settings(**{"rate": generous, "assets": config, **given})  # type: ignore[arg-type]
    identity, maps = identify(made), Bus()
    maps.open("main", lineage="first")
    scenes = FakeScenes(maps)
    async with (
        opened(config, folder / "assets", maps) as assets,
        serving(made, scenes, identity, Metrics(), assets) as port,
        httpx.AsyncClient(base_url=f"http://localhost:{port}") as http,
    ):
        yield Live(assets.bus, scenes, identity, port, http)
