"""A mailbox that holds one thing: the newest. Put from any thread, await from one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class MailboxClosed(Exception):
    """Nothing more will come."""


class Mailbox(Generic[T]):
    """Bound: one item. Policy when full: the new one replaces the old one, which is counted in `overwritten`.

    Made inside the event loop of its (single) consumer.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._item: T | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False
        self.delivered = 0
        self.overwritten = 0

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def is_waiting(self) -> bool:
        """Whether an item lies here."""
        return self._item is not None

    def put(self, item: T) -> None:
        """Leave an item, from any thread; dropped when the mailbox is closed."""
        with self._lock:
            if self._closed:
                return
            self.overwritten += self._item is not None
            self._item = item
        self._notify()

    def close(self) -> None:
        """End it, from any thread: an item that waits is still delivered, then consumers get `MailboxClosed`."""
        with self._lock:
            self._closed = True
        self._notify()

    def take(self) -> T | None:
        """What waits, without waiting."""
        with self._lock:
            item, self._item = self._item, None
            self.delivered += item is not None
            return item

    async def get(self) -> T:
        """Wait for an item.

        Raises:
            MailboxClosed: it was closed and is empty.
        """
        while True:
            waiter = self._waiter = self._loop.create_future()
            item = self.take()
            if item is not None:
                return item
            if self._closed:
                raise MailboxClosed
            await waiter

    def __aiter__(self) -> Mailbox[T]:
        return self

    async def __anext__(self) -> T:
        try:
            return await self.get()
        except MailboxClosed:
            raise StopAsyncIteration from None

    def _notify(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
