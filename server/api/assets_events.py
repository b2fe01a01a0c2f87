"""The same events as a stream of server-sent events, for those who only watch: `Last-Event-ID` or `?since=` resumes."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from starlette.types import Receive, Scope, Send

from server.api import assets_access as access
from server.api.contract import Busy
from server.api.guard import Guard
from server.api.rest import PROBLEM
from server.assets import messages as m
from server.assets.backlog import Backlog
from server.assets.database import Event
from server.assets.opened import Assets
from server.assets.values import MAX_COUNT
from server.auth import Grant

MAX_STREAMS = 256
BEAT_S = 15.0
STALLED_S = 10.0
"""So long a client may take nothing."""
Since = Annotated[int | None, Query(ge=0, le=MAX_COUNT)]
LastEventId = Annotated[str | None, Header(max_length=32)]


def router(assets: Assets, guard: Guard) -> APIRouter:
    """The one route; the WebSocket has the same address."""
    api = APIRouter(tags=["assets"], responses=PROBLEM)
    streams: set[object] = set()

    @api.get("/v1/assets/events", response_class=Response)
    async def stream(request: Request, since: Since = None, last_event_id: LastEventId = None) -> Response:
        """`text/event-stream`: `hello`, what happened since, then what happens; `resync` when too much did."""
        grant = access.reader(guard, request)
        if len(streams) >= MAX_STREAMS:
            raise Busy("too many event streams", retry_after_s=5)
        if last_event_id is not None and last_event_id.isdecimal() and len(last_event_id) < 17:
            since = int(last_event_id)
        return _EventStream(assets, grant, since, streams)

    return api


class _EventStream(Response):
    """Writes events until the client goes or takes nothing any more. Fulfils `server.assets.feed.Reader`."""

    media_type = "text/event-stream"

    def __init__(self, assets: Assets, grant: Grant, since: int | None, streams: set[object]) -> None:
        self.status_code, self.background = 200, None
        self.init_headers({"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._feed, self._epoch, self._grant, self._since = assets.feed, assets.bus.epoch, grant, since
        self._streams = streams
        self._backlog = Backlog()
        self._waiting, self._room = asyncio.Event(), asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._streams.add(self)
        tasks = [asyncio.create_task(self._write(send)), asyncio.create_task(_gone(receive))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._streams.discard(self)
            self._feed.leave(self)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def offer(self, event: Event) -> None:
        if access.may_see(self._grant, event.scene):
            self._backlog.push(event)
            self._waiting.set()

    async def room(self) -> None:
        """Wait until nothing waits; others get their turn in any case."""
        await asyncio.sleep(0)
        while self._backlog:
            self._room.clear()
            await self._room.wait()

    async def _write(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})

        async def say(chunk: bytes) -> None:
            async with asyncio.timeout(STALLED_S):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})

        await say(_framed(m.pack("hello", seq=self._feed.seq, epoch=self._epoch)))
        following = asyncio.create_task(self._feed.follow(self, self._since))
        following.add_done_callback(lambda _: self._waiting.set())
        try:
            has_followed = False
            while not self._backlog.is_overflowing:
                if following.done() and not has_followed:
                    has_followed = True
                    if not following.result():
                        await say(_framed(m.pack("resync", seq=self._feed.seq)))
                        self._feed.join(self)
                while (text := self._backlog.pop()) is not None:
                    await say(_framed(text))
                self._room.set()
                self._waiting.clear()
                try:
                    async with asyncio.timeout(BEAT_S):
                        await self._waiting.wait()
                except TimeoutError:
                    await say(b":\n\n")
        finally:
            following.cancel()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _framed(text: bytes) -> bytes:
    """As an event with the sequence number as its id; hello and the like have none."""
    if text.startswith(b'{"seq":'):
        seq = text[7 : text.index(b",")]
        return b"id: %s\ndata: %s\n\n" % (seq, text)
    return b"data: %s\n\n" % text
