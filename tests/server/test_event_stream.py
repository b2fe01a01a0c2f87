"""Server-sent events: what is streamed ends with its client, however that comes about."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from server.api import event_stream
from server.api.contract import Busy
from server.api.event_stream import Chunks, EventStream, Streams


class Client:
    """The other end of an ASGI response."""

    def __init__(self, takes: int = 1_000_000) -> None:
        self.got: list[bytes] = []
        self.is_over = False
        self.leaves, self.news = asyncio.Event(), asyncio.Event()
        self._takes = takes

    async def receive(self) -> dict[str, Any]:
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if len(self.got) >= self._takes:
            await asyncio.Event().wait()
        if message["type"] == "http.response.body":
            self.got.append(message["body"])
            self.is_over = not message["more_body"]
            self.news.set()

    async def listen(self, stream: EventStream) -> None:
        async with asyncio.timeout(20):
            await stream({}, self.receive, self.send)


class Source:
    """Gives some chunks, then waits for ever or ends; notes that it was closed."""

    def __init__(self, count: int, ends: bool = False) -> None:
        self.is_closed = False
        self._count, self._ends = count, ends

    async def chunks(self) -> Chunks:
        try:
            for number in range(self._count):
                yield b"data: %d\n\n" % number
            if not self._ends:
                await asyncio.Event().wait()
        finally:
            self.is_closed = True


async def test_a_stream_that_ends_says_so() -> None:
    client, source = Client(), Source(3, ends=True)
    await client.listen(EventStream(source.chunks()))
    assert client.got == [b"data: 0\n\n", b"data: 1\n\n", b"data: 2\n\n", b""]
    assert client.is_over
    assert source.is_closed


@pytest.mark.parametrize("takes", [1, 1_000_000], ids=["while it takes nothing", "while nothing happens"])
async def test_a_client_that_goes_closes_what_it_listened_to(takes: int) -> None:
    client, source = Client(takes), Source(5)
    listening = asyncio.create_task(client.listen(EventStream(source.chunks())))
    await client.news.wait()
    client.leaves.set()
    await listening
    assert source.is_closed


async def test_a_client_that_takes_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "STALLED_S", 0.05)
    client, source = Client(takes=1), Source(5)
    await client.listen(EventStream(source.chunks()))
    assert len(client.got) == 1
    assert source.is_closed


async def test_while_nothing_happens_a_comment_keeps_the_line_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "BEAT_S", 0.01)
    client = Client()
    listening = asyncio.create_task(client.listen(EventStream(Source(1).chunks())))
    while client.got[1:] != [b":\n\n"] * 2:
        await client.news.wait()
        client.news.clear()
    client.leaves.set()
    await listening


async def test_open_streams_are_bounded_and_leave_room_when_they_go() -> None:
    streams, first = Streams(most=1), Client()
    listening = asyncio.create_task(first.listen(streams.open(Source(1).chunks())))
    await first.news.wait()
    with pytest.raises(Busy, match="too many event streams"):
        streams.open(Source(1).chunks())
    first.leaves.set()
    await listening
    source = Source(1, ends=True)
    await Client().listen(streams.open(source.chunks()))
    assert source.is_closed
