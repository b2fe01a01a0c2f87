"""The map's WebSocket: a thin shell between one connection and its outbox."""

from __future__ import annotations

import logging
import math
import time
from importlib.metadata import PackageNotFoundError, version

from fastapi import APIRouter, WebSocket

from server import protocol as p
from server.api.connections import Close, Door, Line, Speech
from server.api.sender import Sender
from server.auth import Grant, Role
from server.bus.bus import Bus
from server.bus.outbox import Outbox
from server.bus.pace import Pace
from server.metrics import Metrics

log = logging.getLogger(__name__)

MAX_SUBSCRIPTIONS = 16
MAX_RADIUS_M = 1e6
MIN_MESSAGE_BYTES = 1024
SPEECH: Speech[p.ClientMessage, p.Hello] = Speech("map", p.SUBPROTOCOL, False, p.unpack_client, p.Hello, 200)


def router(bus: Bus, door: Door, metrics: Metrics) -> APIRouter:
    """The one route."""
    api = APIRouter()

    @api.websocket("/v1/map")
    async def serve(websocket: WebSocket) -> None:
        """One connection from handshake to close."""
        await door.enter(websocket, SPEECH, lambda line, hello, grant: _MapTalk(line, hello, grant, bus, metrics))

    return api


class _MapTalk:
    """One client: reads what it asks, writes what its outbox has, at the pace it can take."""

    def __init__(
        self, line: Line[p.ClientMessage, p.Hello], hello: p.Hello, grant: Grant, bus: Bus, metrics: Metrics
    ) -> None:
        wanted = hello.max_message_bytes
        if wanted is not None and wanted < MIN_MESSAGE_BYTES:
            raise Close(p.CLOSE_BAD_MESSAGE, f"max_message_bytes must be at least {MIN_MESSAGE_BYTES}")
        self._line, self._client, self._grant, self._bus, self._metrics = line, hello.client, grant, bus, metrics
        self._max_message_bytes = min(bus.config.max_message_bytes, wanted or bus.config.max_message_bytes)
        pace = Pace(bus.config.pace, time.monotonic())
        self._sender = Sender(line.wire, pace, metrics, lambda reason: line.lose(p.CLOSE_TOO_SLOW, reason))
        self._outbox = Outbox(
            max_message_bytes=self._max_message_bytes,
            max_controls=bus.config.max_controls,
            on_ready=self._sender.wake,
        )
        self._scenes: set[str] = set()

    async def talk(self) -> None:
        """Welcome it, then answer until the connection ends."""
        with self._metrics.clients.track_inprogress():
            self._welcome()
            async for message in self._line.messages():
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
                        received_ns = self._line.received_ns
                        self._outbox.post(p.Pong(t0_ns=message.t0_ns, t1_ns=received_ns, t2_ns=time.time_ns()))

    def stop(self) -> None:
        self._sender.stop()
        self._outbox.close()

    def _welcome(self) -> None:
        scenes = [info for info in self._bus.infos() if self._grant.allows(Role.SUBSCRIBE, info.scene)]
        self._outbox.post(
            p.Welcome(
                session=self._line.session,
                server=_server_name(),
                clock_ns=time.time_ns(),
                limits=p.Limits(p.MAX_INBOUND_BYTES, self._max_message_bytes),
                scenes=scenes,
            )
        )
        self._sender.start(self._outbox)
        log.info("map client connected", extra={"session": self._line.session, "client": self._client})

    def _subscribe(self, message: p.Subscribe) -> None:
        if not self._grant.allows(Role.SUBSCRIBE, message.scene):
            self._refuse("forbidden", f"the token does not cover scene {message.scene!r}")
            return
        channel = self._bus.find(message.scene)
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
