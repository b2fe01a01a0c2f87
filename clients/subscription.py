"""One scene, live, as a program sees it: updates in order, and the newest of every key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from clients.mirror import Complete, Key, Put, SceneMirror, Update
from clients.transport import SdkError
from server import protocol
from server.protocol import Layer, Roi, SceneMessage


class Subscription:
    """One scene, live. Iterate it for updates, or just look at `tiles`; one reader at a time."""

    def __init__(
        self,
        request: protocol.Subscribe,
        send: Callable[[protocol.ClientMessage], Awaitable[None]],
        on_close: Callable[[str], object],
    ) -> None:
        """`request` is asked on every new connection; `send` reaches the server while there is one."""
        self._request, self._send, self._on_close = request, send, on_close
        self._mirror = SceneMirror(request.scene)
        self._ready = asyncio.Event()
        self._error: SdkError | None = None
        self._closed = False

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
        self._request = msgspec.structs.replace(self._request, roi=roi)
        await self._send(protocol.UpdateRoi(scene=self.scene, roi=roi))

    async def close(self) -> None:
        """Stop receiving this scene; iteration ends."""
        if not self._closed:
            self.end(None)
            self._on_close(self.scene)
            await self._send(protocol.Unsubscribe(scene=self.scene))

    # -- the client's side --------------------------------------------------------------------------------------------

    @property
    def request(self) -> protocol.Subscribe:
        """What to ask for now: what is known already need not come again."""
        return msgspec.structs.replace(self._request, resume=self._mirror.resume)

    def take_in(self, message: SceneMessage, arrays: dict[str, NDArray[Any]], now_ns: int) -> int:
        """Bring the scene up to date; returns the newest sequence number."""
        self._mirror.apply(message, arrays, now_ns)
        self._ready.set()
        return self._mirror.seq

    def end(self, error: SdkError | None) -> None:
        """Iteration ends, by this error if there is one."""
        self._closed, self._error = True, error
        self._ready.set()
