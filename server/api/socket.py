"""The map's WebSocket: a thin shell between one connection and its outbox."""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import time
from collections import Counter
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from fastapi.responses import JSONResponse

from server import protocol as p
from server.api.contract import Refused
from server.api.guard import Guard
from server.api.problems import problem
from server.api.sender import Sender
from server.api.transport import EXTENSION, Wire
from server.auth import Denied, Grant, Role
from server.bus.bus import Bus
from server.bus.outbox import Outbox
from server.bus.pace import Pace
from server.config import LimitsConfig
from server.metrics import Metrics
from server.ratelimit import RateLimiter

log = logging.getLogger(__name__)

CLOSE_TRY_LATER = 1013
MAX_SUBSCRIPTIONS = 16
INBOUND_PER_S, INBOUND_BURST = 100.0, 200
MAX_RADIUS_M = 1e6
REFUSALS_PER_S, REFUSALS_BURST = 0.1, 5
"""Refused handshakes that get a line in the log; the metric counts all."""


class _Close(Exception):
    """This connection is to be closed, and why."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class MapSockets:
    """Opens and counts the connections of all clients."""

    def __init__(self, bus: Bus, guard: Guard, limits: LimitsConfig, metrics: Metrics) -> None:
        self.bus = bus
        self.guard = guard
        self.limits = limits
        self.metrics = metrics
        self._by_host: Counter[str] = Counter()
        self._refusals_told = RateLimiter(REFUSALS_PER_S, REFUSALS_BURST, 1)

    def router(self) -> APIRouter:
        router = APIRouter()
        router.add_api_websocket_route("/v1/map", self.serve)
        return router

    async def serve(self, websocket: WebSocket) -> None:
        """One connection from handshake to close."""
        host = websocket.client.host if websocket.client else "-"
        if not self.guard.allows_origin(websocket):
            await self._deny(websocket, problem(403, "pages from there may not connect; see auth.origins"))
            return
        try:
            self.guard.throttle(websocket)
            self._check_room(host)
        except Refused as refused:
            status, wait_s = refused.status, refused.retry_after_s
            await self._deny(websocket, problem(status, refused.detail, retry_after_s=wait_s))
            return
        offered = websocket.scope["subprotocols"]
        if p.SUBPROTOCOL not in offered:
            await websocket.accept(subprotocol=offered[0] if offered else None)  # a browser shows the code only so
            await websocket.close(p.CLOSE_UNSUPPORTED, f"this server speaks {p.SUBPROTOCOL}")
            return
        await websocket.accept(subprotocol=p.SUBPROTOCOL)
        self._by_host[host] += 1
        self.metrics.clients.inc()
        try:
            await _Connection(websocket, self).run()
        finally:
            self.metrics.clients.dec()
            self._by_host[host] -= 1
            self._by_host += Counter()  # forgets hosts at 0

    def _check_room(self, host: str) -> None:
        is_full = self._by_host.total() >= self.limits.max_connections
        if is_full or self._by_host[host] >= self.limits.max_connections_per_host:
            raise _Full("too many connections", retry_after_s=5)

    async def _deny(self, websocket: WebSocket, response: JSONResponse) -> None:
        self.metrics.refused.labels(response.status_code).inc()
        if not self._refusals_told.take("", time.monotonic()):
            origin = websocket.headers.get("origin", "")[:100]
            log.warning("map client refused", extra={"status": response.status_code, "origin": origin})
        await websocket.send_denial_response(response)


class _Full(Refused):
    status = 503


class _Connection:
    """One client: reads what it asks, writes what its outbox has, at the pace it can take."""

    def __init__(self, websocket: WebSocket, sockets: MapSockets) -> None:
        self._websocket = websocket
        self._sockets = sockets
        self._metrics = sockets.metrics
        self._wire: Wire = websocket.scope["extensions"][EXTENSION]
        self._session = secrets.token_urlsafe(9)
        self._grant: Grant | None = None
        self._lost: asyncio.Future[_Close] = asyncio.get_running_loop().create_future()
        config = sockets.bus.config
        self._sender = Sender(self._wire, Pace(config.pace, time.monotonic()), self._metrics, self._lose)
        self._inbound = RateLimiter(INBOUND_PER_S, INBOUND_BURST, 1)
        self._scenes: set[str] = set()
        self._outbox = self._make_outbox(config.max_message_bytes)
        self._received_ns = 0

    async def run(self) -> None:
        reading = asyncio.create_task(self._serve(), name=f"map client {self._session}")
        try:
            ends: list[asyncio.Future[Any]] = [reading, self._lost]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            close = self._lost.result() if self._lost.done() else reading.result()
        finally:
            reading.cancel()
            self._sender.stop()
            self._outbox.close()
        if close is not None:
            self._metrics.closed.labels(close.code).inc()
            log.info("map client closed", extra={"session": self._session, "code": close.code, "why": str(close)})
            self._wire.evict(close.code, str(close))

    async def _serve(self) -> _Close | None:
        """Read to the end; None when it was the client who ended it."""
        try:
            await self._greet()
            await self._read()
        except _Close as close:
            return close
        except WebSocketDisconnect:
            pass
        return None

    def _lose(self, reason: str) -> None:
        if not self._lost.done():
            self._lost.set_result(_Close(p.CLOSE_TOO_SLOW, reason))

    # -- reading ------------------------------------------------------------------------------------------------------

    async def _greet(self) -> None:
        try:
            async with asyncio.timeout(self._sockets.limits.hello_s):
                message = await self._receive()
        except TimeoutError:
            raise _Close(p.CLOSE_BAD_MESSAGE, "no hello came") from None
        if not isinstance(message, p.Hello):
            raise _Close(p.CLOSE_BAD_MESSAGE, "the first message must be hello")
        try:
            self._grant = self._sockets.guard.grant(self._websocket, message.token)
            self._sockets.guard.throttle(self._websocket, self._grant)
        except Denied as denied:
            raise _Close(p.CLOSE_UNAUTHORIZED, denied.detail) from None
        except Refused as refused:
            raise _Close(CLOSE_TRY_LATER, refused.detail) from None
        config = self._sockets.bus.config
        wanted = message.max_message_bytes
        if wanted is not None and wanted < 1024:
            raise _Close(p.CLOSE_BAD_MESSAGE, "max_message_bytes must be at least 1024")
        limit = min(config.max_message_bytes, wanted or config.max_message_bytes)
        self._outbox = self._make_outbox(limit)
        grant = self._grant
        scenes = [info for info in self._sockets.bus.infos() if grant.allows(Role.SUBSCRIBE, info.scene)]
        self._outbox.post(
            p.Welcome(
                session=self._session,
                server=_server_name(),
                clock_ns=time.time_ns(),
                limits=p.Limits(p.MAX_INBOUND_BYTES, limit),
                scenes=scenes,
            )
        )
        self._sender.start(self._outbox)
        log.info("map client connected", extra={"session": self._session, "client": message.client})

    async def _read(self) -> None:
        while True:
            message = await self._receive()
            wait_s = self._inbound.take("", time.monotonic())
            if wait_s:
                await asyncio.sleep(wait_s)  # not read meanwhile: TCP holds the sender back
            match message:
                case p.Subscribe():
                    self._subscribe(message)
                case p.UpdateRoi():
                    self._update_roi(message)
                case p.Unsubscribe():
                    self._scenes.discard(message.scene)
                    self._outbox.unsubscribe(message.scene)
                case p.Ack():
                    self._ack(message)
                case p.Ping():
                    self._outbox.post(p.Pong(t0_ns=message.t0_ns, t1_ns=self._received_ns, t2_ns=time.time_ns()))
                case p.Hello():
                    raise _Close(p.CLOSE_BAD_MESSAGE, "hello came twice")

    async def _receive(self) -> p.ClientMessage:
        event = await self._websocket.receive()
        self._received_ns = time.time_ns()
        if event["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(event.get("code", 1005))
        data = event.get("bytes")
        if data is None:
            raise _Close(p.CLOSE_BAD_MESSAGE, "text message; messages are binary")
        try:
            return p.unpack_client(data)
        except p.ProtocolError as error:
            raise _Close(p.CLOSE_BAD_MESSAGE, str(error)[:100]) from None

    def _subscribe(self, message: p.Subscribe) -> None:
        assert self._grant is not None
        if not self._grant.allows(Role.SUBSCRIBE, message.scene):
            self._refuse("forbidden", f"the token does not cover scene {message.scene!r}")
            return
        channel = self._sockets.bus.find(message.scene)
        if channel is None:
            self._refuse("unknown_scene", f"there is no scene {message.scene!r}")
            return
        layers = frozenset(message.layers)
        if forbidden := layers - self._grant.layers:
            self._refuse("forbidden", f"the token does not cover {', '.join(sorted(forbidden))}")
            return
        if message.max_hz is not None and not 0 < message.max_hz < math.inf:
            self._refuse("bad_request", "max_hz must be positive")
            return
        if not _is_sound(message.roi):
            self._refuse("bad_request", "roi needs a positive radius_m and finite center_m or follow")
            return
        if message.agents is not None and (unknown := set(message.agents) - (channel.agents or set(message.agents))):
            known = ", ".join(sorted(channel.agents or ()))
            self._refuse("bad_request", f"no agent {min(unknown)!r} on this map; there are {known}")
            return
        if message.scene not in self._scenes and len(self._scenes) >= MAX_SUBSCRIPTIONS:
            self._refuse("too_many", f"at most {MAX_SUBSCRIPTIONS} scenes on one connection")
            return
        self._scenes.add(message.scene)
        resume = message.resume if message.resume is None or _is_finite(message.resume.roi) else None
        self._outbox.subscribe(
            channel,
            layers,
            roi=message.roi,
            max_hz=message.max_hz,
            resume=resume,
            parts=frozenset(message.parts),
            codecs=frozenset(message.codecs),
            agents=None if message.agents is None else frozenset(message.agents),
        )

    def _update_roi(self, message: p.UpdateRoi) -> None:
        if not _is_sound(message.roi):
            self._refuse("bad_request", "roi needs a positive radius_m and finite center_m or follow")
        elif not self._outbox.update_roi(message.scene, message.roi):
            self._refuse("not_subscribed", f"not subscribed to {message.scene!r}")

    def _ack(self, message: p.Ack) -> None:
        capture_ns = self._outbox.capture_ns(message.seq)
        if capture_ns is not None:
            age_s = (message.applied_ns - capture_ns) / 1e9
            if 0 <= age_s < 3600:
                self._metrics.age_s.observe(age_s)

    def _refuse(self, code: str, detail: str) -> None:
        self._outbox.post(p.Error(code=code, detail=detail))

    def _make_outbox(self, max_message_bytes: int) -> Outbox:
        return Outbox(
            max_message_bytes=max_message_bytes,
            max_controls=self._sockets.bus.config.max_controls,
            on_ready=self._sender.wake,
        )


def _is_finite(roi: p.Roi | None) -> bool:
    return roi is None or all(map(math.isfinite, (roi.radius_m, *(roi.center_m or ()))))


def _is_sound(roi: p.Roi | None) -> bool:
    if roi is None:
        return True
    return _is_finite(roi) and 0 < roi.radius_m <= MAX_RADIUS_M and (roi.center_m is None) != (roi.follow is None)


def _server_name() -> str:
    try:
        return f"commonground {version('commonground')}"
    except PackageNotFoundError:
        return "commonground"
