"""The assets' WebSocket: events in order, slots that clients bind to, acknowledgements and leases.

Events are written to each connection as they happen, the same bytes to all. What a connection cannot take waits in its
backlog, newest per key; one that takes nothing is closed, and resumes with `?since=` its last sequence number.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import secrets
import time
from collections import Counter, deque
from typing import Annotated, Any

from fastapi import APIRouter, Query, WebSocket, WebSocketDisconnect
from fastapi.responses import JSONResponse

from server.api import assets_access as access
from server.api.contract import Busy, Refused
from server.api.guard import Guard
from server.api.problems import problem
from server.api.transport import EXTENSION, Wire
from server.assets import messages as m
from server.assets.backlog import Backlog
from server.assets.database import Event
from server.assets.leases import MAX_HELD, Held
from server.assets.opened import Assets
from server.assets.values import MAX_COUNT, Ref
from server.auth import Denied, Grant, Role
from server.config import LimitsConfig
from server.metrics import Metrics
from server.protocol import CLOSE_BAD_MESSAGE, CLOSE_TOO_SLOW, CLOSE_UNAUTHORIZED
from server.ratelimit import RateLimiter

SUBPROTOCOL = "commonground.assets.v1"
CLOSE_TRY_LATER = 1013
STALLED_S = 10.0
"""So long a client may take nothing while something waits for it."""
CHECK_EVERY_S = 1.0
MAX_ANSWERS = 512
INBOUND_PER_S, INBOUND_BURST = 100.0, 400
log = logging.getLogger(__name__)


class AssetSockets:
    """Opens and counts the connections of all clients."""

    def __init__(self, assets: Assets, guard: Guard, limits: LimitsConfig, metrics: Metrics) -> None:
        self.assets, self.guard, self.limits, self.metrics = assets, guard, limits, metrics
        self._by_host: Counter[str] = Counter()

    def router(self) -> APIRouter:
        router = APIRouter()
        router.add_api_websocket_route("/v1/assets/events", self.serve)
        return router

    async def serve(self, websocket: WebSocket, since: Annotated[int | None, Query(ge=0, le=MAX_COUNT)] = None) -> None:
        """One connection from handshake to close; `since` is the last sequence number the client has seen."""
        host = websocket.client.host if websocket.client else "-"
        if not self.guard.allows_origin(websocket):
            await self._deny(websocket, problem(403, "pages from there may not connect; see auth.origins"))
            return
        try:
            self.guard.throttle(websocket)
            if (
                self._by_host.total() >= self.limits.max_connections
                or self._by_host[host] >= self.limits.max_connections_per_host
            ):
                raise Busy("too many connections", retry_after_s=5)
        except Refused as refused:
            await self._deny(websocket, problem(refused.status, refused.detail, retry_after_s=refused.retry_after_s))
            return
        offered = websocket.scope["subprotocols"]
        await websocket.accept(subprotocol=SUBPROTOCOL if SUBPROTOCOL in offered else None)
        self._by_host[host] += 1
        try:
            await _Connection(websocket, self, since).run()
        finally:
            self._by_host[host] -= 1
            self._by_host += Counter()  # forgets hosts at 0

    async def _deny(self, websocket: WebSocket, response: JSONResponse) -> None:
        self.metrics.refused.labels(response.status_code).inc()
        await websocket.send_denial_response(response)


class _Close(Exception):
    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class _Connection:
    """One client. Fulfils `server.assets.feed.Reader`."""

    def __init__(self, websocket: WebSocket, sockets: AssetSockets, since: int | None) -> None:
        self._websocket, self._sockets, self._since = websocket, sockets, since
        self._bus, self._feed = sockets.assets.bus, sockets.assets.feed
        self._wire: Wire = websocket.scope["extensions"][EXTENSION]
        self._loop = asyncio.get_running_loop()
        self._session = secrets.token_urlsafe(9)
        self._grant: Grant | None = None
        self._backlog = Backlog()
        self._answers: deque[bytes] = deque()
        self._room = asyncio.Event()
        self._lost: asyncio.Future[_Close] = self._loop.create_future()
        self._check: asyncio.TimerHandle | None = None
        self._taken_bytes, self._taken_at = 0, 0.0
        self._bound: set[str] = set()
        self._inbound = RateLimiter(INBOUND_PER_S, INBOUND_BURST, 1)

    async def run(self) -> None:
        reading = asyncio.create_task(self._serve(), name=f"asset client {self._session}")
        try:
            ends: list[asyncio.Future[Any]] = [reading, self._lost]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            close = self._lost.result() if self._lost.done() else reading.result()
        finally:
            reading.cancel()
            self._feed.leave(self)
            self._wire.on_writable = lambda: None
            if self._check is not None:
                self._check.cancel()
            self._let_go()
        if close is not None:
            self._sockets.metrics.closed.labels(close.code).inc()
            log.info("asset client closed", extra={"session": self._session, "code": close.code, "why": str(close)})
            self._wire.evict(close.code, str(close))

    async def _serve(self) -> _Close | None:
        """Read to the end; None when it was the client who ended it."""
        following: asyncio.Task[None] | None = None
        try:
            hello = await self._greet()
            self._wire.on_writable = self._drain
            following = asyncio.create_task(self._follow(hello))
            await self._read()
        except _Close as close:
            return close
        except WebSocketDisconnect:
            pass
        except Busy as busy:
            return _Close(CLOSE_TRY_LATER, busy.detail)
        finally:
            if following is not None:
                following.cancel()
        return None

    def _let_go(self) -> None:
        session, slots = self._session, tuple(self._bound)
        with contextlib.suppress(Busy):  # closing down
            self._bus.tell(lambda catalog, now_ns: catalog.leave(session, slots, now_ns))
            self._bus.tell(lambda catalog, _: catalog.forget(session))

    # -- reading ------------------------------------------------------------------------------------------------------

    async def _greet(self) -> m.Hello:
        sockets = self._sockets
        try:
            async with asyncio.timeout(sockets.limits.hello_s):
                message = await self._receive()
        except TimeoutError:
            raise _Close(CLOSE_BAD_MESSAGE, "no hello came") from None
        if not isinstance(message, m.Hello):
            raise _Close(CLOSE_BAD_MESSAGE, "the first message must be hello")
        try:
            grant = self._grant = sockets.guard.grant(self._websocket, message.token)
            if grant.role < Role.SUBSCRIBE:
                raise Denied(403, "this needs the role subscribe")
            sockets.guard.throttle(self._websocket, grant)
        except Denied as denied:
            raise _Close(CLOSE_UNAUTHORIZED, denied.detail) from None
        except Refused as refused:
            raise _Close(CLOSE_TRY_LATER, refused.detail) from None
        self._say(
            "hello",
            seq=self._feed.seq,
            epoch=self._bus.epoch,
            session=self._session,
            clock_ms=_now_ms(),
            lease_ttl_ms=self._bus.config.lease_ttl_s * 1e3,
        )
        return message

    async def _follow(self, hello: m.Hello) -> None:
        """Replay, then live; when too much happened since, say so and go on from now."""
        known = hello.epoch is None or hello.epoch == self._bus.epoch
        try:
            if known and await self._feed.follow(self, self._since):
                return
            self._say("resync", seq=self._feed.seq)
            self._feed.join(self)
        except Busy as busy:
            self._lose(CLOSE_TRY_LATER, busy.detail)

    async def _read(self) -> None:
        while True:
            message = await self._receive()
            wait_s = self._inbound.take("", time.monotonic())
            if wait_s:
                await asyncio.sleep(wait_s)  # not read meanwhile: TCP holds the sender back
            match message:
                case m.Bind():
                    await self._bind(message.slot)
                case m.Unbind(slot=slot):
                    self._unbind(slot)
                case m.Ack(slot=slot, rev=rev, state=state):
                    if state == "failed":
                        log.info("an asset failed at a client", extra={"slot": slot, "why": message.reason})
                    self._answer(slot, rev, state == "ready")
                case m.Ping():
                    self._pong(message)
                case m.Hello():
                    raise _Close(CLOSE_BAD_MESSAGE, "hello came twice")

    async def _receive(self) -> m.Message:
        event = await self._websocket.receive()
        if event["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(event.get("code", 1005))
        text = event.get("text")
        if text is None:
            raise _Close(CLOSE_BAD_MESSAGE, "binary message; messages are JSON text")
        try:
            return m.read(text)
        except m.Malformed as error:
            raise _Close(CLOSE_BAD_MESSAGE, str(error)[:100]) from None

    async def _bind(self, slot: str) -> None:
        if slot not in self._bound and len(self._bound) >= MAX_HELD:
            self._say("error", code="too_many", detail=f"at most {MAX_HELD} slots on one connection")
            return
        self._bound.add(slot)
        assert self._grant is not None
        session, grant = self._session, self._grant
        view = await self._bus.ask(lambda catalog, _: catalog.bind(session, slot, access.scope(grant)))
        if view is not None and not access.may_see(grant, view["scene"]):
            view = None
        self._say("bound", slot=slot, view=view)

    def _unbind(self, slot: str) -> None:
        self._bound.discard(slot)
        self._bus.tell(lambda catalog, now_ns: catalog.leave(self._session, (slot,), now_ns))

    def _answer(self, slot: str, revision: int, is_ready: bool) -> None:
        self._bus.tell(lambda catalog, now_ns: catalog.answer(self._session, slot, revision, is_ready, now_ns))

    def _pong(self, ping: m.Ping) -> None:
        t1_ms = _now_ms()
        if not math.isfinite(ping.t0_ms):
            raise _Close(CLOSE_BAD_MESSAGE, "t0_ms must be finite")
        if ping.held is not None:
            held = [Held(one.slot, Ref(one.asset, one.version)) for one in ping.held]
            self._bus.tell(lambda catalog, now_ns: catalog.hold(self._session, held, now_ns))
        else:
            self._bus.tell(lambda catalog, now_ns: catalog.renew(self._session, now_ns))
        if not self._wire.is_writable:
            return  # late, it would say nothing of the clock
        caught_up = {"seq": self._feed.seq} if not self._backlog and self._feed.has(self) else {}
        self._say("pong", t0_ms=ping.t0_ms, t1_ms=t1_ms, t2_ms=_now_ms(), **caught_up)

    # -- writing ------------------------------------------------------------------------------------------------------

    def offer(self, event: Event) -> None:
        """Write an event, or keep it while there is no room."""
        assert self._grant is not None
        if not access.may_see(self._grant, event.scene):
            return
        if self._wire.is_writable and not self._backlog:
            self._wire.send_text(event.text)
            return
        self._backlog.push(event)
        if self._backlog.is_overflowing:
            self._lose(CLOSE_TOO_SLOW, "too much waits; connect again and resume")
        elif self._check is None:
            self._taken_bytes, self._taken_at = self._wire.taken_bytes, self._loop.time()
            self._check = self._loop.call_later(CHECK_EVERY_S, self._look)

    async def room(self) -> None:
        """Wait until nothing waits; others get their turn in any case."""
        await asyncio.sleep(0)
        while self._backlog:
            self._room.clear()
            await self._room.wait()

    def _drain(self) -> None:
        while self._wire.is_writable and self._answers:
            self._wire.send_text(self._answers.popleft())
        while self._wire.is_writable and (text := self._backlog.pop()) is not None:
            self._wire.send_text(text)
        if not self._backlog:
            self._room.set()

    def _look(self) -> None:
        """Give up a client that takes nothing."""
        self._check = None
        if not self._backlog:
            return
        now, taken = self._loop.time(), self._wire.taken_bytes
        if taken != self._taken_bytes:
            self._taken_bytes, self._taken_at = taken, now
        if now - self._taken_at > STALLED_S:
            self._lose(CLOSE_TOO_SLOW, "nothing was read for too long; connect again and resume")
        else:
            self._check = self._loop.call_later(CHECK_EVERY_S, self._look)

    def _lose(self, code: int, reason: str) -> None:
        self._feed.leave(self)
        if not self._lost.done():
            self._lost.set_result(_Close(code, reason))

    def _say(self, type: str, **fields: Any) -> None:
        """Answer, as soon as there is room."""
        if self._wire.is_writable:
            self._wire.send_text(m.pack(type, **fields))
        elif len(self._answers) < MAX_ANSWERS:
            self._answers.append(m.pack(type, **fields))
        else:
            self._lose(CLOSE_TOO_SLOW, "answers are not read; connect again and resume")


def _now_ms() -> float:
    return time.time_ns() / 1e6
