"""Loops that outlive whatever goes wrong in one turn of them: a full disk, a broken row, a mistake of ours."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from server.api.contract import Refused

log = logging.getLogger(__name__)
PAUSE_S = 1.0


async def steadily(what: str, turn: Callable[[], Awaitable[None]], pause_s: float = PAUSE_S) -> None:
    """Do one turn after the other until cancelled; one that fails is logged, and after a pause it goes on.

    Args:
        what: for the log.
        turn: waits by itself when there is nothing to do.
    """
    while True:
        try:
            await turn()
        except Refused as refused:  # a full disk, a bus that has too much to do
            log.warning("%s has to wait", what, extra={"reason": refused.detail})
            await asyncio.sleep(pause_s)
        except Exception:
            log.exception("%s stumbled", what)
            await asyncio.sleep(pause_s)


async def happens_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event, but no longer than that; whether it is set."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()
