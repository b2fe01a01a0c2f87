from __future__ import annotations

import asyncio

import pytest

from streams.mailbox import MailboxClosed
from streams.turnstile import Turnstile

LONG_S = 30.0


async def test_everything_comes_out_in_order_and_senders_wait_for_room() -> None:
    turnstile: Turnstile[int] = Turnstile(size=2)
    sent: list[int] = []

    async def send() -> None:
        for item in range(6):
            assert await turnstile.put(item, LONG_S)
            sent.append(item)

    sender = asyncio.create_task(send())
    for _ in range(20):
        await asyncio.sleep(0)
    assert sent == [0, 1]  # the third waits
    assert [await turnstile.get() for _ in range(6)] == [0, 1, 2, 3, 4, 5]
    await sender


async def test_a_sender_that_waited_in_vain_is_told_and_its_item_is_gone() -> None:
    turnstile: Turnstile[str] = Turnstile(size=1)
    assert await turnstile.put("first", LONG_S)
    assert not await turnstile.put("second", 0.0)
    assert await turnstile.get() == "first"
    assert await turnstile.put("third", LONG_S)
    assert await turnstile.get() == "third"


async def test_a_closed_one_gives_what_waits_and_then_ends() -> None:
    turnstile: Turnstile[str] = Turnstile(size=2)
    assert await turnstile.put("last", LONG_S)
    await turnstile.close()
    assert await turnstile.get() == "last"
    with pytest.raises(MailboxClosed):
        await turnstile.get()
