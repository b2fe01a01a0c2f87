"""The door of our sockets: who comes in, how many at once, the greeting, and how a connection ends.

What is said after the greeting is a `Conversation`; the map's is in `socket.py`, the assets' in `assets_socket.py`. All
sockets of a server are counted together.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from fastapi import WebSocket, WebSocketDisconnect

from server.api.contract import Busy, Refused
from server.api.guard import Guard
from server.api.problems import problem
from server.api.transport import EXTENSION, Wire
from server.auth import Denied, Grant
from server.config import LimitsConfig
from server.metrics import Metrics
from server.protocol import CLOSE_BAD_MESSAGE, CLOSE_UNAUTHORIZED, CLOSE_UNSUPPORTED
from server.ratelimit import RateLimiter

CLOSE_TRY_LATER = 1013
INBOUND_PER_S = 100.0
REFUSALS_PER_S, REFUSALS_BURST = 0.1, 5
"""Refused handshakes that get a line in the log; the metric counts all."""
log = logging.getLogger(__name__)


class Close(Exception):
    """This connection is to be closed, and why."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Greeting(Protocol):
    """A client's first message."""

    @property
    def token(self) -> str | None: ...


M = TypeVar("M")
H = TypeVar("H", bound=Greeting)


@dataclass(frozen=True, slots=True)
class Speech(Generic[M, H]):
    """What clients say on one kind of socket."""

    kind: str
    subprotocol: str
    is_text: bool
    read: Callable[[Any], M]
    """Raises ValueError when it is no message."""
    hello: type[H]
    inbound_burst: int


class Conversation(Protocol):
    """One client that was greeted, and we."""

    async def talk(self) -> None:
        """Answer until the connection ends.

        Raises:
            Close, Refused, WebSocketDisconnect: it did.
        """
        ...

    def stop(self) -> None:
        """It has ended, or is about to be."""
        ...


class Line(Generic[M, H]):
    """One open connection, for the conversation on it."""

    def __init__(self, websocket: WebSocket, speech: Speech[M, H]) -> None:
        self.websocket = websocket
        self.wire: Wire = websocket.scope["extensions"][EXTENSION]
        self.session = secrets.token_urlsafe(9)
        self.received_ns = 0
        """When the newest message came, Unix ns."""
        self.lost: asyncio.Future[Close] = asyncio.get_running_loop().create_future()
        self._speech = speech
        self._inbound = RateLimiter(INBOUND_PER_S, speech.inbound_burst, 1)

    def lose(self, code: int, reason: str) -> None:
        """Give the client up, whatever else goes on."""
        if not self.lost.done():
            self.lost.set_result(Close(code, reason))

    async def messages(self) -> AsyncIterator[M]:
        """What the client says, at the pace it may.

        Raises:
            Close: it is no message of ours.
            WebSocketDisconnect: there will be no more.
        """
        while True:
            message = await self.receive()
            wait_s = self._inbound.take("", time.monotonic())
            if wait_s:
                await asyncio.sleep(wait_s)  # not read meanwhile: TCP holds the sender back
            if isinstance(message, self._speech.hello):
                raise Close(CLOSE_BAD_MESSAGE, "hello came twice")
            yield message

    async def receive(self) -> M:
        """The next message; raises as `messages` does."""
        event = await self.websocket.receive()
        self.received_ns = time.time_ns()
        if event["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(event.get("code", 1005))
        data = event.get("text" if self._speech.is_text else "bytes")
        if data is None:
            raise Close(CLOSE_BAD_MESSAGE, f"messages are {'text' if self._speech.is_text else 'binary'}")
        try:
            return self._speech.read(data)
        except ValueError as error:
            raise Close(CLOSE_BAD_MESSAGE, str(error)[:100]) from None


Begin = Callable[[Line[M, H], H, Grant], Conversation]


class Door:
    """Lets clients in and counts them; one for all the sockets of a server."""

    def __init__(self, guard: Guard, limits: LimitsConfig, metrics: Metrics) -> None:
        self._guard, self._limits, self._metrics = guard, limits, metrics
        self._by_host: Counter[str] = Counter()
        self._refusals_told = RateLimiter(REFUSALS_PER_S, REFUSALS_BURST, 1)

    async def enter(self, websocket: WebSocket, speech: Speech[M, H], begin: Begin[M, H]) -> None:
        """One connection from handshake to close; `begin` is called once the client was greeted."""
        host = websocket.client.host if websocket.client else "-"
        try:
            self._check(websocket, host)
        except (Denied, Refused) as no:
            await self._turn_away(websocket, speech.kind, no)
            return
        offered = websocket.scope["subprotocols"]
        if speech.subprotocol not in offered:
            await websocket.accept(subprotocol=offered[0] if offered else None)  # a browser shows the code only so
            await websocket.close(CLOSE_UNSUPPORTED, f"this server speaks {speech.subprotocol}")
            return
        self._by_host[host] += 1
        try:
            await websocket.accept(subprotocol=speech.subprotocol)
            await self._hold(Line(websocket, speech), speech, begin)
        finally:
            self._by_host[host] -= 1
            self._by_host += Counter()  # forgets hosts at 0

    def _check(self, websocket: WebSocket, host: str) -> None:
        """Before the handshake is answered.

        Raises:
            Denied, Refused: it may not come in.
        """
        if not self._guard.allows_origin(websocket):
            raise Denied(403, "pages from there may not connect; see auth.origins")
        self._guard.throttle(websocket)
        is_full = self._by_host.total() >= self._limits.max_connections
        if is_full or self._by_host[host] >= self._limits.max_connections_per_host:
            raise Busy("too many connections", retry_after_s=5)

    async def _turn_away(self, websocket: WebSocket, kind: str, no: Denied | Refused) -> None:
        self._metrics.refused.labels(no.status).inc()
        if not self._refusals_told.take("", time.monotonic()):
            origin = websocket.headers.get("origin", "")[:100]
            log.warning("%s client refused", kind, extra={"status": no.status, "origin": origin})
        wait_s = no.retry_after_s if isinstance(no, Refused) else None
        await websocket.send_denial_response(problem(no.status, no.detail, retry_after_s=wait_s))

    async def _hold(self, line: Line[M, H], speech: Speech[M, H], begin: Begin[M, H]) -> None:
        """Talk until either side ends it; when that is us, say why."""
        talking = asyncio.create_task(self._talk(line, speech, begin), name=f"{speech.kind} client {line.session}")
        try:
            ends: list[asyncio.Future[Any]] = [talking, line.lost]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            talking.cancel()
            await asyncio.wait([talking])
        close = line.lost.result() if line.lost.done() else talking.result()
        if close is not None:
            self._metrics.closed.labels(close.code).inc()
            why = {"session": line.session, "code": close.code, "why": str(close)}
            log.info("%s client closed", speech.kind, extra=why)
            line.wire.evict(close.code, str(close))

    async def _talk(self, line: Line[M, H], speech: Speech[M, H], begin: Begin[M, H]) -> Close | None:
        """Greet, then talk to the end; None when it was the client who ended it."""
        try:
            conversation = begin(line, *await self._greet(line, speech.hello))
            try:
                await conversation.talk()
            finally:
                conversation.stop()
        except Close as close:
            return close
        except Refused as refused:
            return Close(CLOSE_TRY_LATER, refused.detail)
        except WebSocketDisconnect:
            pass
        return None

    async def _greet(self, line: Line[M, H], kind: type[H]) -> tuple[H, Grant]:
        try:
            async with asyncio.timeout(self._limits.hello_s):
                hello = await line.receive()
        except TimeoutError:
            raise Close(CLOSE_BAD_MESSAGE, "no hello came") from None
        if not isinstance(hello, kind):
            raise Close(CLOSE_BAD_MESSAGE, "the first message must be hello")
        try:
            grant = self._guard.grant(line.websocket, hello.token)
        except Denied as denied:
            raise Close(CLOSE_UNAUTHORIZED, denied.detail) from None
        self._guard.throttle(line.websocket, grant)
        return hello, grant
