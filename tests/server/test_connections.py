"""The door that the sockets of maps and assets share, with real clients of both over a real port."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import websockets
from websockets.asyncio.client import ClientConnection

from server import protocol as p
from server.api import assets_socket
from tests.server.assets.live import Live, live


@dataclass(frozen=True)
class Kind:
    """One of the two sockets."""

    name: str
    path: str
    subprotocol: str
    hello: str | bytes

    def connect(
        self, server: Live, origin: str | None = None, subprotocols: Sequence[str] | None = None
    ) -> websockets.connect:
        """To be opened, before hello."""
        spoken = [self.subprotocol] if subprotocols is None else subprotocols
        return websockets.connect(
            f"ws://127.0.0.1:{server.port}{self.path}",
            origin=None if origin is None else websockets.Origin(origin),
            subprotocols=[websockets.Subprotocol(one) for one in spoken] or None,
            compression=None,
        )

    @contextlib.asynccontextmanager
    async def greeted(self, server: Live, origin: str | None = None) -> AsyncIterator[ClientConnection]:
        async with self.connect(server, origin) as socket:
            await socket.send(self.hello)
            await socket.recv()
            yield socket


MAP = Kind("map", "/v1/map", p.SUBPROTOCOL, p.pack(p.Hello(client="test")))
ASSETS = Kind("asset", "/v1/assets/events", assets_socket.SUBPROTOCOL, json.dumps({"type": "hello", "client": "test"}))
BOTH = pytest.mark.parametrize("kind", [MAP, ASSETS], ids=["map", "assets"])


async def refused(kind: Kind, server: Live, origin: str | None = None) -> websockets.Response:
    """What the handshake was answered with."""
    with pytest.raises(websockets.InvalidStatus) as answer:
        await kind.connect(server, origin)
    return answer.value.response


async def close_code(socket: ClientConnection) -> int | None:
    with contextlib.suppress(websockets.ConnectionClosed):
        while True:
            await socket.recv()
    return socket.close_code


@BOTH
async def test_a_client_of_another_version_is_told_by_4406(tmp_path: Path, kind: Kind) -> None:
    async with live(tmp_path) as server:
        for offered in ([f"{kind.subprotocol[:-1]}2"], []):
            async with kind.connect(server, subprotocols=offered) as socket:
                assert await close_code(socket) == p.CLOSE_UNSUPPORTED
                assert kind.subprotocol in socket.close_reason


@BOTH
async def test_silence_is_closed(tmp_path: Path, kind: Kind) -> None:
    async with live(tmp_path, limits={"hello_s": 0.05}) as server, kind.connect(server) as socket:
        assert await close_code(socket) == p.CLOSE_BAD_MESSAGE


@BOTH
async def test_refused_handshakes_are_told_in_few_lines(
    tmp_path: Path, kind: Kind, caplog: pytest.LogCaptureFixture
) -> None:
    async with live(tmp_path) as server:
        for _ in range(12):
            await refused(kind, server, origin="https://evil.example")
        metrics = (await server.http.get("/metrics")).text
    told = [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]
    assert {record.getMessage() for record in told} == {f"{kind.name} client refused"}
    assert 1 <= len(told) <= 6
    assert 'refused_total{status="403"} 12.0' in metrics


@BOTH
async def test_origins_of_others_get_403_unless_allowed(tmp_path: Path, kind: Kind) -> None:
    async with live(tmp_path, auth={"origins": ["https://game.example"]}) as server:
        for origin in ("https://evil.example", "http://127.0.0.1:1", "null"):
            answer = await refused(kind, server, origin)
            assert answer.status_code == 403
            assert answer.headers["content-type"] == "application/problem+json"
        for allowed in ("https://game.example", f"http://127.0.0.1:{server.port}", None):
            async with kind.greeted(server, allowed):
                pass


@BOTH
async def test_connections_of_both_kinds_are_counted_together_per_host(tmp_path: Path, kind: Kind) -> None:
    async with live(tmp_path, limits={"max_connections_per_host": 2}) as server:
        async with MAP.greeted(server), ASSETS.greeted(server):
            answer = await refused(kind, server)
            assert answer.status_code == 503
            assert "retry-after" in answer.headers
        async with kind.greeted(server), kind.greeted(server):
            pass


@BOTH
async def test_all_hosts_together_are_counted_too(tmp_path: Path, kind: Kind) -> None:
    async with live(tmp_path, limits={"max_connections": 1}) as server, MAP.greeted(server):
        assert (await refused(kind, server)).status_code == 503


@BOTH
async def test_too_many_connections_in_a_row_are_told_to_come_later(tmp_path: Path, kind: Kind) -> None:
    async with live(tmp_path, rate={"per_s": 0.01, "burst": 4}) as server:
        async with kind.greeted(server), kind.connect(server):  # a greeting counts as well
            pass
        async with kind.connect(server) as socket:
            await socket.send(kind.hello)
            assert await close_code(socket) == 1013
        assert (await refused(kind, server)).status_code == 429
