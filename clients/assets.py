"""Assets that change while your program shows them: bind a slot, and forget about it.

    import asyncio
    from clients.assets import connect_assets

    async def main():
        async with connect_assets("https://localhost:8443", token="...", ca="ca.pem") as bus:
            bus.bind("proxy_chair", prepare=lambda new: load_glb(new.data), commit=show, rollback=show)
            await bus.ended()

    asyncio.run(main())

Whatever is put into the slot is downloaded and checked, prepared, and shown by all programs at the same moment; when it
turns out bad for too many, all show the old one again. Lost connections are taken up where they broke off.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, TypeVar

import websockets
from websockets.asyncio.client import ClientConnection

from clients.address import events_url, page_url, tls_context
from clients.asset_messages import SUBPROTOCOL, Heard, direct, greeting, pack, read
from clients.asset_slot import Binding, Callbacks, Prepared
from clients.asset_store import Accept, Asset, AssetFile, AssetStore, Ref
from clients.clock import ServerClock
from clients.http import Http, HttpError
from clients.transport import SdkError, dial, stay, stopped

__all__ = [
    "Accept",
    "Asset",
    "AssetClient",
    "AssetFile",
    "AssetStore",
    "Binding",
    "HttpError",
    "Prepared",
    "Ref",
    "SdkError",
    "connect_assets",
]

logger = logging.getLogger(__name__)
R = TypeVar("R")
QUICK_PINGS, PING_EVERY_S = 4, 5.0


class AssetClient(AssetStore):
    """A connection to a server's asset bus; `connect_assets` makes it."""

    def __init__(self, url: str, token: str | None, ca: str | os.PathLike[str] | bool, name: str) -> None:
        super().__init__(Http(page_url(url), token=token, ca=ca))
        self._url, self._tls = events_url(url), tls_context(url, ca)
        self._token, self._name = token, name
        self._clock = ServerClock()
        self._socket: ClientConnection | None = None
        self._bindings: dict[str, Binding[Any]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._seq, self._epoch = 0, ""
        self._hold_now = asyncio.Event()
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.on_event: Callable[[Heard], object] = lambda heard: None
        """Called with every message, for programs that want more than slots."""

    @property
    def seq(self) -> int:
        """Of the newest event that was seen."""
        return self._seq

    def bind(
        self,
        slot: str,
        *,
        prepare: Callable[[Prepared], R | Awaitable[R]],
        commit: Callable[[R, R | None], object],
        rollback: Callable[[R], object] | None = None,
        dispose: Callable[[R], object] | None = None,
        accept: Accept | None = None,
    ) -> Binding[R]:
        """Show whatever is in a slot, from now on; see `clients.asset_slot` for what the functions do.

        Raises:
            ValueError: this program has bound the slot already.
        """
        if slot in self._bindings:
            raise ValueError(f"slot {slot!r} is bound already")
        callbacks = Callbacks(prepare, commit, rollback, dispose)
        made = Binding(slot, callbacks, accept or Accept(), self.fetch, self._acknowledge, self._wait_s)
        self._bindings[slot] = made
        self._tasks[slot] = asyncio.create_task(made.run(), name=f"slot {slot}")
        self._tasks[f"{slot} bound"] = asyncio.create_task(self._send(type="bind", slot=slot))
        return made

    async def unbind(self, slot: str) -> None:
        """Show it no more; its resources are freed."""
        del self._bindings[slot]
        self._tasks.pop(f"{slot} bound", None)
        await stopped(self._tasks.pop(slot))
        await self._send(type="unbind", slot=slot)

    async def ended(self) -> None:
        """Wait until the connection ends for good.

        Raises:
            SdkError: why it did.
        """
        await asyncio.shield(self._ended)

    def server_now_ns(self) -> int:
        """The server's clock, as well as the pings tell; Unix ns."""
        return time.time_ns() + self._clock.offset_ns

    # -- the connection -----------------------------------------------------------------------------------------------

    async def _open(self) -> ClientConnection:
        since = f"?since={self._seq}" if self._epoch else ""
        hello = pack(type="hello", client=self._name, token=self._token or None, epoch=self._epoch or None)
        socket, heard = await dial(self._url + since, self._tls, SUBPROTOCOL, self._name, hello, greeting)
        self._clock.greet(int(heard.clock_ms * 1e6), time.time_ns())
        if heard.epoch != self._epoch:
            for binding in self._bindings.values():
                binding.restarted()
            self._epoch, self._seq = heard.epoch, heard.seq
        return socket

    async def _live(self, socket: ClientConnection) -> None:
        """Run the connection and every one after it, until one ends for good."""
        await stay(socket, self._use, self._open, self._url)

    async def _use(self, socket: ClientConnection) -> websockets.ConnectionClosed:
        """Bind what is bound, and take in what comes until the connection is lost."""
        self._socket = socket
        pinging = asyncio.create_task(self._ping(), name="asset pings")
        try:
            for slot, binding in self._bindings.items():
                binding.reconnected()
                await self._send(type="bind", slot=slot)
            while True:
                self._hear(read(await socket.recv()))
        except websockets.ConnectionClosed as error:
            return error
        finally:
            self._socket = None
            await stopped(pinging)

    def _hear(self, heard: Heard) -> None:
        if heard.type == "pong":
            now_ns = time.time_ns()
            self._clock.add(int(heard.t0_ms * 1e6), int(heard.t1_ms * 1e6), int(heard.t2_ms * 1e6), now_ns)
        elif heard.type == "error":
            logger.warning("the server reports an error", extra={"code": heard.code, "detail": heard.detail})
        self._seq = max(self._seq, heard.seq)
        if (binding := self._bindings.get(heard.slot)) is not None:
            direct(binding, heard)
            self._hold_now.set()
        elif heard.type == "resync":
            for slot in self._bindings:
                self._tasks[f"{slot} bound"] = asyncio.create_task(self._send(type="bind", slot=slot))
        self.on_event(heard)

    async def _ping(self) -> None:
        """Keep the leases and the clock: quickly at first, then every few seconds and when what is held changes."""
        count = 0
        while True:
            held = [(slot, ref.asset, ref.version) for slot, one in self._bindings.items() for ref in one.held]
            await self._send(type="ping", t0_ms=time.time_ns() / 1e6, held=held)
            count += 1
            self._hold_now.clear()
            if count < QUICK_PINGS:
                await asyncio.sleep(0.1)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PING_EVERY_S):
                    await self._hold_now.wait()

    async def _acknowledge(self, slot: str, revision: int, is_ready: bool, reason: str) -> None:
        more = {} if is_ready else {"reason": reason}
        await self._send(type="ack", slot=slot, rev=revision, state="ready" if is_ready else "failed", **more)

    def _wait_s(self, at_ms: float) -> float:
        return at_ms / 1e3 - self.server_now_ns() * 1e-9

    async def _send(self, **message: Any) -> None:
        """Send if there is a connection; what was said is said again when there is one."""
        if self._socket is not None:
            with contextlib.suppress(websockets.ConnectionClosed):
                await self._socket.send(pack(**message))


class connect_assets:
    """`async with connect_assets(url) as bus`: `url`, `token` and `ca` as for `clients.sdk.connect`."""

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        ca: str | os.PathLike[str] | bool = True,
        name: str = "commonground-python",
    ) -> None:
        self._url, self._token, self._ca, self._name = url, token, ca, name
        self._live: asyncio.Task[None] | None = None
        self._client: AssetClient | None = None

    async def __aenter__(self) -> AssetClient:
        """
        Raises:
            SdkError: the server cannot be reached or does not want us.
            ValueError: the URL is not one of a server.
        """
        self._client = client = AssetClient(self._url, self._token, self._ca, self._name)
        socket = await client._open()
        self._live = asyncio.create_task(client._live(socket), name="asset bus")
        self._live.add_done_callback(lambda task: _tell_end(client, task))
        return client

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        client, live = self._client, self._live
        assert client is not None
        assert live is not None
        socket = client._socket
        for task in (live, *client._tasks.values()):
            await stopped(task)
        if socket is not None:
            await socket.close()


def _tell_end(client: AssetClient, task: asyncio.Task[None]) -> None:
    if not client._ended.done():
        error = None if task.cancelled() else task.exception()
        if error is None:
            client._ended.set_result(None)
        else:
            client._ended.set_exception(error)
            client._ended.exception()  # seen: a program need not wait for the end
