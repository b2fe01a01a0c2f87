"""The same events as a stream of server-sent events, for those who only watch: `Last-Event-ID` or `?since=` resumes."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response

from server.api import assets_access as access
from server.api.event_stream import Chunks, Streams
from server.api.guard import Guard
from server.api.rest import PROBLEM
from server.assets import messages as m
from server.assets.backlog import Backlog
from server.assets.database import Event
from server.assets.opened import Assets
from server.assets.values import MAX_COUNT
from server.auth import Grant

Since = Annotated[int | None, Query(ge=0, le=MAX_COUNT)]
LastEventId = Annotated[str | None, Header(max_length=32)]


def router(assets: Assets, guard: Guard) -> APIRouter:
    """The one route; the WebSocket has the same address."""
    api = APIRouter(tags=["assets"], responses=PROBLEM)
    streams = Streams()

    @api.get("/v1/assets/events", response_class=Response)
    async def stream(request: Request, since: Since = None, last_event_id: LastEventId = None) -> Response:
        """`text/event-stream`: `hello`, what happened since, then what happens; `resync` when too much did."""
        grant = access.reader(guard, request)
        if last_event_id is not None and last_event_id.isdecimal() and len(last_event_id) < 17:
            since = int(last_event_id)
        return streams.open(_told(assets, grant, since))

    return api


async def _told(assets: Assets, grant: Grant, since: int | None) -> Chunks:
    """Until too much waits: then the client has to come back and resume."""
    feed, reader = assets.feed, _Reader(grant)
    yield _framed(m.pack("hello", seq=feed.seq, epoch=assets.bus.epoch))
    following = asyncio.create_task(feed.follow(reader, since), name="asset event stream")
    following.add_done_callback(lambda _: reader.news.set())
    has_followed = False
    try:
        while not reader.waiting.is_overflowing:
            if following.done() and not has_followed:
                has_followed = True
                if not following.result():
                    yield _framed(m.pack("resync", seq=feed.seq))
                    feed.join(reader)
            while (text := reader.waiting.pop()) is not None:
                yield _framed(text)
            reader.has_room.set()
            reader.news.clear()
            await reader.news.wait()
    finally:
        following.cancel()
        feed.leave(reader)


class _Reader:
    """What waits for one client. Fulfils `server.assets.feed.Reader`."""

    def __init__(self, grant: Grant) -> None:
        self._grant = grant
        self.waiting = Backlog()
        self.news, self.has_room = asyncio.Event(), asyncio.Event()

    def offer(self, event: Event) -> None:
        if access.may_see(self._grant, event.scene):
            self.waiting.push(event)
            self.news.set()

    async def room(self) -> None:
        """Wait until nothing waits; others get their turn in any case."""
        await asyncio.sleep(0)
        while self.waiting:
            self.has_room.clear()
            await self.has_room.wait()


def _framed(text: bytes) -> bytes:
    """As an event with the sequence number as its id; hello and the like have none."""
    if text.startswith(b'{"seq":'):
        seq = text[7 : text.index(b",")]
        return b"id: %s\ndata: %s\n\n" % (seq, text)
    return b"data: %s\n\n" % text
