"""What our sockets need beyond ASGI: room to write, bytes taken, and an end that cannot be put off by not reading.

ASGI's `send` waits while the transport is full, which is the backpressure we want, but a caller cannot see how full it
is, cannot wait for room before it chooses the newest message, and cannot close a connection whose peer does not read.
It also costs a task switch for each message, which counts when one update goes to hundreds of clients.
"""

from __future__ import annotations

import asyncio
import struct
from asyncio.transports import BaseTransport
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState
from websockets.protocol import State

EXTENSION = "commonground.wire"
HIGH_WATER_BYTES = 256 << 10
LOW_WATER_BYTES = 64 << 10
MAX_SHARED, MAX_SHARED_BYTES = 16, 256 << 10
"""Messages of which the framed bytes are kept, and how long each may be."""


class Wire:
    """One connection's transport, as the map socket sees it."""

    def __init__(self, protocol: MapSocketProtocol) -> None:
        self._protocol = protocol
        self._written_bytes = 0
        self.is_writable = True
        """Less than the high-water mark waits in the transport."""
        self.on_writable: Callable[[], None] = lambda: None
        """Called when there is room again after there was none."""

    @property
    def unsent_bytes(self) -> int:
        """Written but not yet given to the kernel."""
        return self._protocol.transport.get_write_buffer_size()

    @property
    def taken_bytes(self) -> int:
        """Given to the kernel, which passes on only as much as the peer takes."""
        return self._written_bytes - self.unsent_bytes

    def send(self, frame: bytes) -> None:
        """Write a binary message now, whether there is room or not; nothing happens on a closed connection."""
        self._written_bytes += len(frame)
        self._protocol.send_now(frame)

    def send_text(self, text: bytes) -> None:
        """The same for a text message (UTF-8)."""
        self._written_bytes += len(text)
        self._protocol.send_now(text, is_text=True)

    def evict(self, code: int, reason: str) -> None:
        """Put a close frame behind what is already written, full or not, and cut the line if it is not read in time."""
        self._protocol.evict(code, reason)


class Framer:
    """Puts the WebSocket header before a message: once for all the clients that the same bytes go to.

    A server's frames are not masked, so they are the same for everybody. Holds the last few messages of moderate size.
    A message is sent as text or as binary, not as both.
    """

    def __init__(self) -> None:
        self._recent: OrderedDict[int, tuple[bytes, bytes]] = OrderedDict()

    def framed(self, message: bytes, *, is_text: bool = False) -> bytes:
        known = self._recent.get(id(message))
        if known is not None and known[0] is message:
            return known[1]
        frame = _header(0x81 if is_text else 0x82, len(message)) + message
        if len(message) <= MAX_SHARED_BYTES:
            self._recent[id(message)] = (message, frame)
            if len(self._recent) > MAX_SHARED:
                self._recent.popitem(last=False)
        return frame


def _header(first_byte: int, length: int) -> bytes:
    """Of one whole unmasked message (RFC 6455, section 5.2); the first byte says FIN and what kind it is."""
    if length < 126:
        return struct.pack("!BB", first_byte, length)
    if length < 1 << 16:
        return struct.pack("!BBH", first_byte, 126, length)
    return struct.pack("!BBQ", first_byte, 127, length)


class MapSocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket with a bounded write buffer and a bounded end."""

    linger_s = 60.0
    framer = Framer()
    """Shared by the connections of one server."""

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        self.wire = Wire(self)
        self._cut: asyncio.TimerHandle | None = None
        self.transport.set_write_buffer_limits(high=HIGH_WATER_BYTES, low=LOW_WATER_BYTES)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._cut is not None:
            self._cut.cancel()
        super().connection_lost(exc)

    async def run_asgi(self) -> None:
        extensions = cast("dict[str, Any]", self.scope["extensions"])
        extensions[EXTENSION] = self.wire
        await super().run_asgi()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.wire.is_writable = False

    def resume_writing(self) -> None:
        super().resume_writing()
        self.wire.is_writable = True
        self.wire.on_writable()

    def send_now(self, message: bytes, *, is_text: bool = False) -> None:
        if not (self.close_sent or self.disconnected) and self.conn.state is State.OPEN:
            self.transport.write(self.framer.framed(message, is_text=is_text))

    async def send(self, message: Any) -> None:
        await super().send(message)
        if message["type"] == "websocket.close":
            self._cut_later()
        elif message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            self.handshake_complete = True  # refused in good order: uvicorn would call it an error

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        self._cut_later()

    def evict(self, code: int, reason: str) -> None:
        if self.close_sent or self.disconnected:
            return
        try:
            self.conn.send_close(code, reason)
        except InvalidState:
            return  # the peer closed first
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        # While this timer runs, uvicorn leaves the transport open for the peer's answer. To close it now would give
        # the peer no longer than TLS takes to shut down.
        self.close_timer = self.loop.call_later(self.linger_s, self.transport.abort)

    def _cut_later(self) -> None:
        """A peer that does not read would keep a gracefully closed transport, and its buffer, for ever."""
        if self._cut is None:
            self._cut = self.loop.call_later(self.linger_s, self.transport.abort)
