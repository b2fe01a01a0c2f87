"""Server-sent events out of a generator: until it ends, the client goes, or takes nothing any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from fastapi import Response
from starlette.types import Receive, Scope, Send

from server.api.contract import Busy

BEAT_S = 15.0
STALLED_S = 10.0
"""So long a client may take nothing."""
MAX_STREAMS = 256

Chunks = AsyncGenerator[bytes, None]
"""Events, framed already; closed when the stream ends."""


class Streams:
    """The open streams of one kind."""

    def __init__(self, most: int = MAX_STREAMS) -> None:
        self._most, self._count = most, 0

    def open(self, chunks: Chunks) -> EventStream:
        """
        Raises:
            Busy: there are too many.
        """
        if self._count >= self._most:
            raise Busy("too many event streams", retry_after_s=5)
        return EventStream(self._counted(chunks))

    async def _counted(self, chunks: Chunks) -> Chunks:
        self._count += 1
        try:
            async for chunk in chunks:
                yield chunk
        finally:
            self._count -= 1
            await chunks.aclose()


class EventStream(Response):
    """`text/event-stream`."""

    media_type = "text/event-stream"

    def __init__(self, chunks: Chunks) -> None:
        self.status_code, self.background = 200, None
        self.init_headers({"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._chunks = chunks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        tasks = [asyncio.create_task(self._write(send)), asyncio.create_task(_gone(receive))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._chunks.aclose()

    async def _write(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        chunk: asyncio.Future[bytes] | None = None
        try:
            while True:
                chunk = chunk or asyncio.ensure_future(anext(self._chunks))
                done, _ = await asyncio.wait([chunk], timeout=BEAT_S)
                if not done:
                    body = b":\n\n"
                else:
                    try:
                        body = chunk.result()
                    except StopAsyncIteration:
                        await send({"type": "http.response.body", "body": b"", "more_body": False})
                        return
                    chunk = None
                async with asyncio.timeout(STALLED_S):
                    await send({"type": "http.response.body", "body": body, "more_body": True})
        finally:
            if chunk is not None:
                chunk.cancel()
                await asyncio.gather(chunk, return_exceptions=True)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
