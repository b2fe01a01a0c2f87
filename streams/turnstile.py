"""A short queue whose senders wait: nothing is left out, nobody is ahead by more than a few."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

from streams.mailbox import MailboxClosed

T = TypeVar("T")


class Turnstile(Generic[T]):
    """Bound: `size` items. Policy when full: the sender waits, in order, and is told when it waited for nothing."""

    def __init__(self, size: int = 2) -> None:
        self._queue: asyncio.Queue[T | None] = asyncio.Queue(size)

    async def put(self, item: T, patience_s: float) -> bool:
        """Leave an item when there is room; False when there was none for so long."""
        try:
            async with asyncio.timeout(patience_s):
                await self._queue.put(item)
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Nothing more will come; what waits is still delivered."""
        await self._queue.put(None)

    async def get(self) -> T:
        """Wait for an item; for its one reader.

        Raises:
            MailboxClosed: it was closed and is empty.
        """
        item = await self._queue.get()
        if item is None:
            raise MailboxClosed
        return item
