"""The map in your program, live: tiles, poses and points of a scene while it changes.

    import asyncio
    from clients.sdk import Put, connect

    async def main():
        async with connect("https://localhost:8443", token="...", ca="ca.pem") as client:
            scene = client.subscribe("flat", layers=["nav", "occluder"])
            async for update in scene:
                if isinstance(update, Put):
                    print(update.layer, update.key, f"{update.age_s:.2f} s old", len(scene.tiles["nav"]), "nav tiles")

    asyncio.run(main())

Lost connections are taken up again where they broke off. A program that is slower than the map gets fewer versions,
never old ones: what waits is at most the newest of each key. `clients.layers` turns updates into metres.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import ssl
import time
from collections.abc import AsyncIterator, Coroutine, Iterable
from types import TracebackType

import numpy as np
import websockets
from numpy.typing import NDArray
from websockets.asyncio.client import ClientConnection

from clients.clock import ServerClock
from clients.http import Http
from clients.mirror import Cleared, Complete, Happened, Key, Moved, Put, Removed, SceneMirror, Update
from clients.queries import Queries
from clients.transport import (
    ConnectionFailed,
    Refused,
    SdkError,
    Unauthorized,
    UnsupportedProtocol,
    binary,
    final,
    open_socket,
    page_url,
    socket_url,
    tls_context,
)
from server import protocol
from server.protocol import Layer, Part, Roi

__all__ = [
    "Cleared",
    "Client",
    "Complete",
    "ConnectionFailed",
    "Happened",
    "Moved",
    "Put",
    "Refused",
    "Removed",
    "Roi",
    "SdkError",
    "Subscription",
    "Unauthorized",
    "UnsupportedProtocol",
    "Update",
    "connect",
]

logger = logging.getLogger(__name__)

ACK_EVERY_S = 0.25
QUICK_PINGS = 8
PING_EVERY_S = 5.0
RETRY_FIRST_S, RETRY_MOST_S = 0.25, 8.0


class Subscription:
    """One scene, live. Iterate it for updates, or just look at `tiles`; one reader at a time."""

    def __init__(
        self,
        client: Client,
        scene: str,
        layers: list[Layer],
        roi: Roi | None,
        max_hz: float | None,
        parts: list[Part],
        agents: list[str] | None,
    ) -> None:
        self._client, self._layers, self._roi, self._max_hz, self._parts = client, layers, roi, max_hz, parts
        self._agents = agents
        self._mirror = SceneMirror(scene)
        self._ready = asyncio.Event()
        self._error: SdkError | None = None
        self._closed = False
        self._asked_on: ClientConnection | None = None

    @property
    def scene(self) -> str:
        return self._mirror.scene

    @property
    def info(self) -> protocol.SceneInfo | None:
        """What the server says of the scene; None until the first snapshot begins."""
        return self._mirror.info

    @property
    def epoch(self) -> int:
        return self._mirror.epoch

    @property
    def tiles(self) -> dict[Layer, dict[Key, Put]]:
        """The newest of every key, by layer; look, do not touch."""
        return self._mirror.tiles

    def now_from(self, epoch: int) -> NDArray[np.float64]:
        """(4, 4) that carries coordinates of an update's epoch into the present one."""
        return self._mirror.now_from(epoch)

    async def __aiter__(self) -> AsyncIterator[Update]:
        """Updates in order, newest per key, until the subscription or the client is closed.

        Raises:
            SdkError: the server refused it, or the connection ended for good.
        """
        while True:
            while (update := self._mirror.take()) is not None:
                yield update
            if self._error is not None:
                raise self._error
            if self._closed:
                return
            self._ready.clear()
            await self._ready.wait()

    async def complete(self) -> None:
        """Wait until the snapshot is in, discarding the updates on the way; `tiles` then holds the scene."""
        async for update in self:
            if isinstance(update, Complete):
                return

    async def update_roi(self, roi: Roi | None) -> None:
        """Look at another region; tiles that lie outside come as `Removed`."""
        self._roi = roi
        await self._client._send(protocol.UpdateRoi(scene=self.scene, roi=roi))

    async def close(self) -> None:
        """Stop receiving this scene; iteration ends."""
        if not self._closed:
            self._end(None)
            self._client._subscriptions.pop(self.scene, None)
            await self._client._send(protocol.Unsubscribe(scene=self.scene))

    def _request(self) -> protocol.Subscribe:
        return protocol.Subscribe(
            scene=self.scene,
            layers=self._layers,
            roi=self._roi,
            max_hz=self._max_hz,
            resume=self._mirror.resume,
            parts=self._parts,
            agents=self._agents,
            codecs=list(protocol.CODECS),
        )

    def _end(self, error: SdkError | None) -> None:
        self._closed, self._error = True, error
        self._ready.set()


class Client:
    """A connection to a server; `connect` makes it."""

    def __init__(
        self, url: str, token: str | None, tls: ssl.SSLContext | None, name: str, reconnect: bool, http: Http
    ) -> None:
        self._url, self._token, self._tls, self._name, self._reconnect = url, token, tls, name, reconnect
        self._http = http
        self._clock = ServerClock()
        self._socket: ClientConnection | None = None
        self._subscriptions: dict[str, Subscription] = {}
        self._newest_seq = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self.welcome: protocol.Welcome | None = None
        """The server's last greeting: its scenes and limits."""

    @property
    def offset_ns(self) -> int:
        """Server clock minus this machine's Unix clock."""
        return self._clock.offset_ns

    @property
    def rtt_ns(self) -> int | None:
        """Round trip of the ping the offset rests on; None before the first answer."""
        return self._clock.rtt_ns

    def server_now_ns(self) -> int:
        """The server's clock, as well as the pings tell."""
        return time.time_ns() + self._clock.offset_ns

    def subscribe(
        self,
        scene: str,
        layers: Iterable[Layer] = protocol.DEFAULT_LAYERS,
        *,
        roi: Roi | None = None,
        max_hz: float | None = None,
        parts: Iterable[Part] = (),
        agents: Iterable[str] | None = None,
    ) -> Subscription:
        """Ask for layers of a scene: all of it first, nearest to the region first, then every change.

        `parts` says what `nav` tiles bring besides polygons: `detail` (heights between the corners) and `blob` (the
        tile for Detour). `agents` says whose `nav` tiles: every agent's if left out.

        Raises:
            ValueError: this client is subscribed to the scene already, or a layer or part does not exist.
        """
        wanted = list(layers)
        if unknown := [layer for layer in wanted if layer not in protocol.LAYERS]:
            raise ValueError(f"no layer {unknown[0]!r}; there are {', '.join(protocol.LAYERS)}")
        extra = list(parts)
        if unknown_parts := [part for part in extra if part not in protocol.PARTS]:
            raise ValueError(f"no part {unknown_parts[0]!r}; there are {', '.join(protocol.PARTS)}")
        if scene in self._subscriptions:
            raise ValueError(f"subscribed to {scene!r} already; close that subscription first")
        subscription = Subscription(self, scene, wanted, roi, max_hz, extra, None if agents is None else list(agents))
        self._subscriptions[scene] = subscription
        self._spawn(self._ask(subscription))
        return subscription

    def queries(self, scene: str) -> Queries:
        """Ask a scene: paths, nearest places, rays, what can be seen; see `clients.queries`."""
        return Queries(self._http, scene)

    # -- the connection -----------------------------------------------------------------------------------------------

    async def _open(self) -> ClientConnection:
        socket, welcome = await open_socket(self._url, self._tls, token=self._token, name=self._name)
        self.welcome = welcome
        self._clock.greet(welcome.clock_ns, time.time_ns())
        return socket

    async def _live(self, socket: ClientConnection) -> None:
        """Run the connection and every one after it, until one ends for good."""
        retry_s = RETRY_FIRST_S
        while True:
            self._socket = socket
            for subscription in list(self._subscriptions.values()):
                await self._ask(subscription)
            ended = await self._read(socket)
            self._socket = None
            fatal = final(ended)
            if fatal is not None or not self._reconnect:
                raise fatal or ConnectionFailed(f"{self._url} closed the connection: {ended}")
            logger.info("connection lost, coming back", extra={"url": self._url, "reason": str(ended)})
            while True:
                await asyncio.sleep(retry_s * random.uniform(0.5, 1.0))
                retry_s = min(2 * retry_s, RETRY_MOST_S)
                try:
                    socket = await self._open()
                except ConnectionFailed as error:
                    logger.info("still not there", extra={"url": self._url, "reason": str(error)})
                else:
                    retry_s = RETRY_FIRST_S
                    break

    async def _read(self, socket: ClientConnection) -> websockets.ConnectionClosed:
        """Take in messages until the connection ends; acks and pings run beside."""
        async with contextlib.AsyncExitStack() as stack:
            for beside in (self._acknowledge(socket), self._ping(socket)):
                task = asyncio.create_task(beside)
                stack.push_async_callback(_stopped, task)
            try:
                while True:
                    self._receive(binary(await socket.recv()))
            except websockets.ConnectionClosed as error:
                return error
            except protocol.ProtocolError as error:
                await socket.close(1002, str(error)[:100])
                raise UnsupportedProtocol(f"{self._url} sent what this SDK cannot read: {error}") from error

    def _receive(self, frame: bytes) -> None:
        message, arrays = protocol.unpack_server(frame)
        if isinstance(message, protocol.Pong):
            self._clock.add(message.t0_ns, message.t1_ns, message.t2_ns, time.time_ns())
        elif isinstance(message, protocol.Error):
            self._refuse(message)
        elif not isinstance(message, protocol.Welcome):
            name = message.scene.scene if isinstance(message, protocol.SnapshotBegin) else message.scene
            subscription = self._subscriptions.get(name)
            if subscription is not None:
                subscription._mirror.apply(message, arrays, self.server_now_ns())
                self._newest_seq = subscription._mirror.seq
                subscription._ready.set()

    def _refuse(self, error: protocol.Error) -> None:
        """An error belongs to the subscriptions the server has not answered yet; otherwise it is only worth a line."""
        waiting = [s for s in self._subscriptions.values() if s.info is None]
        for subscription in waiting:
            kind = Unauthorized if error.code in ("unauthorized", "forbidden") else Refused
            subscription._end(kind(f"{subscription.scene}: {error.code}: {error.detail}"))
            self._subscriptions.pop(subscription.scene, None)
        if not waiting:
            logger.warning("the server reports an error", extra={"code": error.code, "detail": error.detail})

    async def _acknowledge(self, socket: ClientConnection) -> None:
        told = 0
        while True:
            await asyncio.sleep(ACK_EVERY_S)
            if self._newest_seq != told:
                told = self._newest_seq
                await socket.send(protocol.pack(protocol.Ack(seq=told, applied_ns=self.server_now_ns())))

    async def _ping(self, socket: ClientConnection) -> None:
        count = 0
        while True:
            await socket.send(protocol.pack(protocol.Ping(t0_ns=time.time_ns())))
            count += 1
            await asyncio.sleep(0.1 if count < QUICK_PINGS else PING_EVERY_S)

    async def _ask(self, subscription: Subscription) -> None:
        """Send a subscription's request, once a connection."""
        if self._socket is not None and subscription._asked_on is not self._socket:
            subscription._asked_on = self._socket
            await self._send(subscription._request())

    async def _send(self, message: protocol.ClientMessage) -> None:
        """Send if there is a connection; what was asked for is asked again when there is one."""
        if self._socket is not None:
            with contextlib.suppress(websockets.ConnectionClosed):
                await self._socket.send(protocol.pack(message))

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class connect:
    """`async with connect(url) as client`: `url` is the server's address, as for a browser.

    `token` is what `commonground token` printed (not needed where the server allows anonymous clients); `ca` is the
    file of the server's own certificate authority, or False to trust any certificate (tests only).
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        ca: str | os.PathLike[str] | bool = True,
        name: str = "commonground-python",
        reconnect: bool = True,
    ) -> None:
        """
        Raises:
            ValueError: the URL is not one of a server.
        """
        http = Http(page_url(url), token=token, ca=ca)
        self._client = Client(socket_url(url), token, tls_context(url, ca), name, reconnect, http)
        self._live: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Client:
        """
        Raises:
            SdkError: the server cannot be reached or does not want us; the message says which, and what to do.
        """
        try:
            socket = await self._client._open()
        except SdkError as error:
            raise error.with_traceback(None) from error.__cause__  # for whoever sees it, the way here says nothing
        self._live = asyncio.create_task(self._client._live(socket))
        self._live.add_done_callback(self._ended)
        return self._client

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        socket = self._client._socket
        if self._live is not None:
            await _stopped(self._live)
        if socket is not None:
            await socket.close()

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, SdkError):
            logger.error("the connection's task failed", exc_info=error)
            error = SdkError(str(error))
        for subscription in self._client._subscriptions.values():
            subscription._end(error)


async def _stopped(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait for it, whatever it ended with."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, SdkError, websockets.ConnectionClosed):
        await task
