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
import ssl
import time
from collections.abc import Collection, Coroutine, Iterable
from types import TracebackType
from typing import TypeVar

import websockets
from websockets.asyncio.client import ClientConnection

from clients.address import page_url, socket_url, tls_context
from clients.clock import ServerClock
from clients.http import Http
from clients.locate import Lens, Located, locate
from clients.map_socket import binary, open_socket
from clients.mirror import Cleared, Complete, Happened, Moved, Put, Removed, Update
from clients.queries import Queries
from clients.subscription import Subscription
from clients.transport import ConnectionFailed, Refused, SdkError, Unauthorized, UnsupportedProtocol, stay, stopped
from server import protocol
from server.protocol import Layer, Part, Roi

__all__ = [
    "Cleared",
    "Client",
    "Complete",
    "ConnectionFailed",
    "Happened",
    "Lens",
    "Located",
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
Name = TypeVar("Name", bound=str)


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
        self._asked: set[str] = set()
        """Scenes that were asked for on this connection."""
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
        if scene in self._subscriptions:
            raise ValueError(f"subscribed to {scene!r} already; close that subscription first")
        request = protocol.Subscribe(
            scene=scene,
            layers=_known("layer", layers, protocol.LAYERS),
            roi=roi,
            max_hz=max_hz,
            parts=_known("part", parts, protocol.PARTS),
            agents=None if agents is None else list(agents),
            codecs=list(protocol.CODECS),
        )
        subscription = Subscription(request, self._send, self._forget)
        self._subscriptions[scene] = subscription
        self._spawn(self._ask(subscription))
        return subscription

    def queries(self, scene: str) -> Queries:
        """Ask a scene: paths, nearest places, rays, what can be seen; see `clients.queries`."""
        return Queries(self._http, scene)

    async def locate(self, scene: str, picture: bytes, lens: Lens | None = None) -> Located:
        """Where in a scene a JPEG or PNG was taken, or why that is not known; without a lens it takes longer.

        Raises:
            HttpError: the server refuses the picture or cannot be reached.
        """
        return await locate(self._http, scene, picture, lens)

    # -- the connection -----------------------------------------------------------------------------------------------

    async def _open(self) -> ClientConnection:
        socket, welcome = await open_socket(self._url, self._tls, token=self._token, name=self._name)
        self.welcome = welcome
        self._clock.greet(welcome.clock_ns, time.time_ns())
        return socket

    async def _live(self, socket: ClientConnection) -> None:
        """Run the connection and every one after it, until one ends for good."""
        await stay(socket, self._use, self._open, self._url, reconnect=self._reconnect)

    async def _use(self, socket: ClientConnection) -> websockets.ConnectionClosed:
        """Ask for what is subscribed to, and take in what comes until the connection is lost."""
        self._socket = socket
        self._asked.clear()
        for subscription in list(self._subscriptions.values()):
            await self._ask(subscription)
        ended = await self._read(socket)
        self._socket = None
        return ended

    async def _read(self, socket: ClientConnection) -> websockets.ConnectionClosed:
        """Take in messages until the connection ends; acks and pings run beside."""
        async with contextlib.AsyncExitStack() as stack:
            for beside in (self._acknowledge(socket), self._ping(socket)):
                task = asyncio.create_task(beside)
                stack.push_async_callback(stopped, task)
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
                self._newest_seq = subscription.take_in(message, arrays, self.server_now_ns())

    def _refuse(self, error: protocol.Error) -> None:
        """An error belongs to the subscriptions the server has not answered yet; otherwise it is only worth a line."""
        waiting = [s for s in self._subscriptions.values() if s.info is None]
        for subscription in waiting:
            kind = Unauthorized if error.code in ("unauthorized", "forbidden") else Refused
            subscription.end(kind(f"{subscription.scene}: {error.code}: {error.detail}"))
            self._forget(subscription.scene)
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
        if self._socket is not None and subscription.scene not in self._asked:
            self._asked.add(subscription.scene)
            await self._send(subscription.request)

    def _forget(self, scene: str) -> None:
        self._subscriptions.pop(scene, None)
        self._asked.discard(scene)

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
            await stopped(self._live)
        if socket is not None:
            await socket.close()

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, SdkError):
            logger.error("the connection's task failed", exc_info=error)
            error = SdkError(str(error))
        for subscription in self._client._subscriptions.values():
            subscription.end(error)


def _known(what: str, names: Iterable[Name], all_names: Collection[Name]) -> list[Name]:
    found = list(names)
    if unknown := [name for name in found if name not in all_names]:
        raise ValueError(f"no {what} {unknown[0]!r}; there are {', '.join(all_names)}")
    return found
