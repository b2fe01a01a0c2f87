"""How the sockets of the map and of the assets come about, and what both say when they do not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from pathlib import Path
from ssl import SSLContext

import pytest
import websockets
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.server import ServerConnection, serve

from clients import transport
from clients.assets import connect_assets
from clients.sdk import connect
from clients.transport import ConnectionFailed, SdkError, Unauthorized, UnsupportedProtocol, stay
from server.protocol import CLOSE_UNAUTHORIZED, SUBPROTOCOL
from server.tls import Authority, server_context

Connect = Callable[[str], AbstractAsyncContextManager[object]]
BOTH = pytest.mark.parametrize("connect", [connect, connect_assets])


@contextlib.asynccontextmanager
async def somebody(speaks: list[str], says: str | None = None, tls: SSLContext | None = None) -> AsyncIterator[str]:
    """A WebSocket server that says one thing, or nothing, to everybody."""

    async def answer(socket: ServerConnection) -> None:
        if says is not None:
            await socket.send(says)
        await socket.wait_closed()

    subprotocols = [websockets.Subprotocol(name) for name in speaks] or None
    async with serve(answer, "127.0.0.1", 0, subprotocols=subprotocols, ssl=tls) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield f"{'http' if tls is None else 'https'}://127.0.0.1:{port}"


@BOTH
async def test_nobody_listening_is_said_plainly(connect: Connect) -> None:
    async with somebody([]) as url:
        pass
    with pytest.raises(ConnectionFailed, match=r"connection refused.*commonground serve"):
        await connect(url).__aenter__()


@BOTH
async def test_an_unknown_certificate_comes_with_what_to_do(connect: Connect, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.ensure(["localhost"], datetime.now(UTC))
    tls = server_context(authority.cert_path, authority.key_path)
    async with somebody([], tls=tls) as url:
        with pytest.raises(ConnectionFailed, match="pass ca="):
            await connect(url).__aenter__()


@BOTH
async def test_servers_of_something_else_are_recognised(connect: Connect) -> None:
    async with somebody([]) as url:
        with pytest.raises(UnsupportedProtocol, match="does not speak commonground"):
            await connect(url).__aenter__()
    async with somebody([SUBPROTOCOL, "commonground.assets.v1"], says="[1]") as url:
        with pytest.raises(ConnectionFailed, match="did not greet us"):
            await connect(url).__aenter__()


class Line:
    """Connections that are lost as told, and dialling that fails as told."""

    def __init__(self, losses: list[int], refusals: list[SdkError | None]) -> None:
        self.losses, self.refusals = losses, refusals
        self.log: list[str] = []

    async def use(self, socket: ClientConnection) -> websockets.ConnectionClosed:
        self.log.append("use")
        return websockets.ConnectionClosedError(websockets.frames.Close(self.losses.pop(0), ""), None)

    async def dial(self) -> ClientConnection:
        self.log.append("dial")
        if (refusal := self.refusals.pop(0)) is not None:
            raise refusal
        return None  # type: ignore[return-value]  # nobody looks at it


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was waited between knocks; nobody really waits."""
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    monkeypatch.setattr(transport.random, "uniform", lambda low, high: high)
    return waited


async def lasting(line: Line, **how: bool) -> None:
    await stay(None, line.use, line.dial, "ws://there", **how)  # type: ignore[arg-type]


async def test_lost_connections_are_dialled_again_more_and_more_patiently(waits: list[float]) -> None:
    away: list[SdkError | None] = [ConnectionFailed("away")] * 7
    line = Line([1006, 1001, CLOSE_UNAUTHORIZED], [*away, None, None])
    with pytest.raises(Unauthorized):
        await lasting(line)
    assert line.log == ["use", *["dial"] * 8, "use", "dial", "use"]
    assert waits == [0.25, 0.5, 1, 2, 4, 8, 8, 8, 0.25], "ever longer, then from the start again"


async def test_a_refusal_for_good_is_the_end(waits: list[float]) -> None:
    line = Line([1006], [ConnectionFailed("away"), UnsupportedProtocol("another version")])
    with pytest.raises(UnsupportedProtocol):
        await lasting(line)
    with pytest.raises(ConnectionFailed, match="closed the connection"):
        await lasting(Line([1006], []), reconnect=False)
    assert len(waits) == 2
