from __future__ import annotations

import asyncio
import threading

import pytest

from streams.mailbox import Mailbox, MailboxClosed


async def test_only_the_newest_is_kept_and_the_others_are_counted() -> None:
    mailbox: Mailbox[int] = Mailbox()
    for i in range(5):
        mailbox.put(i)
    assert await mailbox.get() == 4
    assert (mailbox.overwritten, mailbox.delivered) == (4, 1)
    assert mailbox.take() is None


async def test_a_waiting_consumer_is_woken_from_another_thread() -> None:
    mailbox: Mailbox[str] = Mailbox()
    waiting = asyncio.ensure_future(mailbox.get())
    await asyncio.sleep(0)
    thread = threading.Thread(target=mailbox.put, args=("hello",))
    thread.start()
    assert await asyncio.wait_for(waiting, 5) == "hello"
    thread.join()


async def test_closing_delivers_what_waits_then_ends() -> None:
    mailbox: Mailbox[int] = Mailbox()
    mailbox.put(7)
    mailbox.close()
    mailbox.put(8)
    assert [item async for item in mailbox] == [7]
    with pytest.raises(MailboxClosed):
        await mailbox.get()


async def test_closing_wakes_a_waiting_consumer() -> None:
    mailbox: Mailbox[int] = Mailbox()
    waiting = asyncio.ensure_future(mailbox.get())
    await asyncio.sleep(0)
    mailbox.close()
    with pytest.raises(MailboxClosed):
        await asyncio.wait_for(waiting, 5)


async def test_a_cancelled_consumer_loses_nothing() -> None:
    mailbox: Mailbox[int] = Mailbox()
    waiting = asyncio.ensure_future(mailbox.get())
    await asyncio.sleep(0)
    waiting.cancel()
    mailbox.put(1)
    assert await asyncio.wait_for(mailbox.get(), 5) == 1


async def test_every_item_of_a_fast_producer_is_delivered_or_counted_and_the_last_one_arrives() -> None:
    mailbox: Mailbox[int] = Mailbox()

    def produce() -> None:
        for i in range(20_000):
            mailbox.put(i)
        mailbox.close()

    thread = threading.Thread(target=produce)
    thread.start()
    got = [item async for item in mailbox]
    thread.join()
    assert got == sorted(got)
    assert got[-1] == 19_999
    assert len(got) + mailbox.overwritten == 20_000


def test_putting_after_the_loop_is_gone_is_harmless() -> None:
    async def make() -> Mailbox[int]:
        return Mailbox()

    mailbox = asyncio.run(make())
    mailbox.put(1)
    mailbox.close()
