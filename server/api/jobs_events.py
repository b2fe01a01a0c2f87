"""How a job goes, as it happens: server-sent events, and a WebSocket at the same address that takes `cancel`, too.

Changes of state have a sequence number; `Last-Event-ID` or `?since=` resumes behind it, and none is missed. Progress in
between (`job.progress`: state, stage, progress, eta_s, yielded_ms) has none: the newest says it all.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Annotated

import msgspec
from fastapi import APIRouter, Header, Query, Request, Response, WebSocket

from server.api import assets_access as access
from server.api.connections import CLOSE_TRY_LATER, Door, Line, Speech
from server.api.contract import Refused
from server.api.event_stream import Chunks, Streams
from server.api.guard import Guard
from server.api.jobs import JobName
from server.api.jobs_counter import Counter
from server.api.rest import PROBLEM
from server.assets.values import MAX_COUNT
from server.auth import Grant
from server.jobs.desk import Desk
from server.jobs.events import JobEvent
from server.jobs.live import Live

SUBPROTOCOL = "commonground.jobs.v1"
MAX_MESSAGE_CHARS = 8192
CLOSE_DONE = 1000
ROOM_EVERY_S = 0.05
STALLED_S = 10.0
Since = Annotated[int | None, Query(ge=0, le=MAX_COUNT)]
LastEventId = Annotated[str | None, Header(max_length=32)]


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="hello"):
    """First message, within 5 s."""

    client: Annotated[str, msgspec.Meta(max_length=256)] = ""
    token: Annotated[str, msgspec.Meta(max_length=4096)] | None = None


class Cancel(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="cancel"):
    """Nobody wants the job any more."""


Message = Hello | Cancel
_decoder = msgspec.json.Decoder(Message)


def read(text: str) -> Message:
    """Raises: ValueError: it is no message of ours."""
    if len(text) > MAX_MESSAGE_CHARS:
        raise ValueError(f"message of {len(text)} characters; at most {MAX_MESSAGE_CHARS}")
    message: Message = _decoder.decode(text)
    return message


SPEECH: Speech[Message, Hello] = Speech("job", SUBPROTOCOL, True, read, Hello, 20)


def router(counter: Counter, guard: Guard, door: Door) -> APIRouter:
    """The stream and the socket."""
    api = APIRouter(tags=["jobs"], responses=PROBLEM)
    streams = Streams()

    @api.get("/v1/jobs/{job}/events", response_class=Response)
    async def stream(request: Request, job: JobName, since: Since = None, last: LastEventId = None) -> Response:
        """`text/event-stream`: what happened to a job since, then what happens, to its end."""
        last = last or request.headers.get("last-event-id")
        await counter.seen(access.reader(guard, request), job)
        if last is not None and last.isdecimal() and len(last) < 17:
            since = int(last)
        return streams.open(_framed(counter.desk, job, since))

    @api.websocket("/v1/jobs/{job}/events")
    async def serve(websocket: WebSocket, job: JobName, since: Since = None) -> None:
        """The same as text messages, until the job is over; then it closes with 1000."""
        await door.enter(websocket, SPEECH, lambda line, _, grant: _JobTalk(line, grant, counter, job, since))

    return api


class _JobTalk:
    """One client on a job's socket."""

    def __init__(self, line: Line[Message, Hello], grant: Grant, counter: Counter, job: str, since: int | None) -> None:
        self._line, self._grant, self._counter, self._job, self._since = line, grant, counter, job, since

    async def talk(self) -> None:
        await self._counter.seen(self._grant, self._job)
        telling = asyncio.create_task(self._tell(), name=f"tell of {self._job}")
        try:
            async for message in self._line.messages():
                if isinstance(message, Cancel):
                    await self._cancel()
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)

    def stop(self) -> None:
        """Nothing is held."""

    async def _cancel(self) -> None:
        try:
            await self._counter.seen(self._grant, self._job, to_change=True)
            await self._counter.desk.cancel(self._job)
        except Refused as refused:
            self._line.wire.send_text(msgspec.json.encode({"type": "error", "detail": refused.detail}))

    async def _tell(self) -> None:
        wire = self._line.wire
        try:
            async with contextlib.aclosing(self._counter.desk.follow(self._job, self._since)) as happening:
                async for event in happening:
                    if isinstance(event, Live) and not wire.is_writable:
                        continue
                    wire.send_text(_text(self._job, event))
        except Refused as refused:
            self._line.lose(CLOSE_TRY_LATER, refused.detail)
        else:
            self._line.lose(CLOSE_DONE, "the job is over")


async def _framed(desk: Desk, job: str, since: int | None) -> Chunks:
    async with contextlib.aclosing(desk.follow(job, since)) as happening:
        async for event in happening:
            id = b"id: %d\n" % event.seq if isinstance(event, JobEvent) else b""
            yield b"%sdata: %s\n\n" % (id, _text(job, event))


def _text(job: str, event: JobEvent | Live) -> bytes:
    if isinstance(event, JobEvent):
        return event.text
    return event.json(job)
