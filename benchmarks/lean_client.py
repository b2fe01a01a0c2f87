"""A map client that does nothing but note when messages come, so that hundreds of them fit beside the server.

The protocol is that of the sans-I/O half of `websockets`; what its asyncio half adds (a queue and two task switches for
each message) would be most of what a benchmark with all the clients in one process measures.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from typing import cast

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from server import protocol as p

HEADER_BYTES = 1024
CONNECT_WITHIN_S = 30.0


class LeanClient(asyncio.Protocol):
    """Subscribes to one layer of one scene; `received` holds (Unix ns, the message's first bytes)."""

    def __init__(self, url: str, scene: str, layer: p.Layer) -> None:
        self._scene, self._layer = scene, layer
        subprotocols = [Subprotocol(p.SUBPROTOCOL)]
        self._websocket = ClientProtocol(parse_uri(url), subprotocols=subprotocols, max_size=None)
        self._is_open = False
        self.received: list[tuple[int, bytes]] = []
        self.in_step: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the snapshot is in."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._websocket.send_request(self._websocket.connect())
        self._flush()

    def data_received(self, data: bytes) -> None:
        self._websocket.receive_data(data)
        now_ns = time.time_ns()
        for event in self._websocket.events_received():
            if not self._is_open:
                self._greet()
            elif isinstance(event, Frame) and event.opcode is Opcode.BINARY:
                self.received.append((now_ns, bytes(event.data[:HEADER_BYTES])))
                if not self.in_step.done() and isinstance(p.unpack_server(bytes(event.data))[0], p.SnapshotEnd):
                    self.in_step.set_result(None)
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.in_step.done():
            self.in_step.set_exception(exc or ConnectionError("the server hung up"))

    def close(self) -> None:
        self._websocket.send_close(1000)
        self._flush()
        self._transport.close()

    def _greet(self) -> None:
        if self._websocket.handshake_exc is not None:
            raise self._websocket.handshake_exc
        self._is_open = True
        self._websocket.send_binary(p.pack(p.Hello(client="benchmark")))
        self._websocket.send_binary(p.pack(p.Subscribe(scene=self._scene, layers=[self._layer])))

    def _flush(self) -> None:
        """Requests, and the answers to the server's pings."""
        if output := b"".join(self._websocket.data_to_send()):
            self._transport.write(output)


async def lean_client(url: str, tls: ssl.SSLContext | None, scene: str = "main", layer: p.Layer = "mesh") -> LeanClient:
    """A client that has the scene's snapshot."""
    uri = parse_uri(url)
    loop = asyncio.get_running_loop()
    _, client = await loop.create_connection(lambda: LeanClient(url, scene, layer), uri.host, uri.port, ssl=tls)
    await asyncio.wait_for(client.in_step, CONNECT_WITHIN_S)
    return client
