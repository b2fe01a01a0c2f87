"""The assets' WebSocket: events in order, slots that clients bind to, acknowledgements and leases.

Events are written to each connection as they happen, the same bytes to all. What a connection cannot take waits in its
backlog, newest per key; one that takes nothing is closed, and resumes with `?since=` its last sequence number.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from typing import Annotated

from fastapi import APIRouter, Query, WebSocket

from server.api import assets_access as access
from server.api.assets_sender import AssetSender
from server.api.connections import CLOSE_TRY_LATER, Close, Door, Line, Speech
from server.api.contract import Busy
from server.assets import messages as m
from server.assets.leases import MAX_HELD, Held
from server.assets.opened import Assets
from server.assets.values import MAX_COUNT, Ref
from server.auth import Grant
from server.protocol import CLOSE_BAD_MESSAGE, CLOSE_TOO_SLOW

SUBPROTOCOL = "commonground.assets.v1"
SPEECH: Speech[m.Message, m.Hello] = Speech("asset", SUBPROTOCOL, True, m.read, m.Hello, 400)
Since = Annotated[int | None, Query(ge=0, le=MAX_COUNT)]
log = logging.getLogger(__name__)


def router(assets: Assets, door: Door) -> APIRouter:
    """The one route."""
    api = APIRouter()

    @api.websocket("/v1/assets/events")
    async def serve(websocket: WebSocket, since: Since = None) -> None:
        """One connection from handshake to close; `since` is the last sequence number the client has seen."""
        await door.enter(websocket, SPEECH, lambda line, hello, grant: _AssetTalk(line, hello, grant, assets, since))

    return api


class _AssetTalk:
    """One client: follows events, and takes part in the swaps of the slots it binds."""

    def __init__(
        self, line: Line[m.Message, m.Hello], hello: m.Hello, grant: Grant, assets: Assets, since: int | None
    ) -> None:
        self._line, self._grant, self._bus, self._feed = line, grant, assets.bus, assets.feed
        self._since, self._is_known = since, hello.epoch is None or hello.epoch == assets.bus.epoch
        self._sender = AssetSender(line.wire, grant, lambda reason: self._lose(CLOSE_TOO_SLOW, reason))
        self._bound: set[str] = set()

    async def talk(self) -> None:
        """Replay what it missed, and answer beside that until the connection ends."""
        self._sender.say(
            "hello",
            seq=self._feed.seq,
            epoch=self._bus.epoch,
            session=self._line.session,
            clock_ms=_now_ms(),
            lease_ttl_ms=self._bus.config.lease_ttl_s * 1e3,
        )
        following = asyncio.create_task(self._follow(), name=f"asset feed {self._line.session}")
        try:
            async for message in self._line.messages():
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
        finally:
            following.cancel()

    def stop(self) -> None:
        self._feed.leave(self._sender)
        self._sender.stop()
        session, slots = self._line.session, tuple(self._bound)
        with contextlib.suppress(Busy):  # closing down
            self._bus.tell(lambda catalog, now_ns: catalog.leave(session, slots, now_ns))
            self._bus.tell(lambda catalog, _: catalog.forget(session))

    async def _follow(self) -> None:
        """Replay, then live; when too much happened since, say so and go on from now."""
        try:
            if self._is_known and await self._feed.follow(self._sender, self._since):
                return
            self._sender.say("resync", seq=self._feed.seq)
            self._feed.join(self._sender)
        except Busy as busy:
            self._lose(CLOSE_TRY_LATER, busy.detail)

    def _lose(self, code: int, reason: str) -> None:
        self._feed.leave(self._sender)
        self._line.lose(code, reason)

    async def _bind(self, slot: str) -> None:
        if slot not in self._bound and len(self._bound) >= MAX_HELD:
            self._sender.say("error", code="too_many", detail=f"at most {MAX_HELD} slots on one connection")
            return
        self._bound.add(slot)
        session, grant = self._line.session, self._grant
        view = await self._bus.ask(lambda catalog, _: catalog.bind(session, slot, access.scope(grant)))
        if view is not None and not access.may_see(grant, view["scene"]):
            view = None
        self._sender.say("bound", slot=slot, view=view)

    def _unbind(self, slot: str) -> None:
        self._bound.discard(slot)
        self._bus.tell(lambda catalog, now_ns: catalog.leave(self._line.session, (slot,), now_ns))

    def _answer(self, slot: str, revision: int, is_ready: bool) -> None:
        session = self._line.session
        self._bus.tell(lambda catalog, now_ns: catalog.answer(session, slot, revision, is_ready, now_ns))

    def _pong(self, ping: m.Ping) -> None:
        if not math.isfinite(ping.t0_ms):
            raise Close(CLOSE_BAD_MESSAGE, "t0_ms must be finite")
        session = self._line.session
        if ping.held is not None:
            held = [Held(one.slot, Ref(one.asset, one.version)) for one in ping.held]
            self._bus.tell(lambda catalog, now_ns: catalog.hold(session, held, now_ns))
        else:
            self._bus.tell(lambda catalog, now_ns: catalog.renew(session, now_ns))
        if not self._line.wire.is_writable:
            return  # late, it would say nothing of the clock
        has_all = self._feed.has(self._sender) and not self._sender.has_waiting
        caught_up = {"seq": self._feed.seq} if has_all else {}
        self._sender.say("pong", t0_ms=ping.t0_ms, t1_ms=self._line.received_ns / 1e6, t2_ms=_now_ms(), **caught_up)


def _now_ms() -> float:
    return time.time_ns() / 1e6
