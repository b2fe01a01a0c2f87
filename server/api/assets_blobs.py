"""Blobs over HTTP: named by their hash, so whoever knows one may have it, and caches may keep it for ever."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Annotated

from fastapi import APIRouter, HTTPException, Path, Request, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel

from server.api import assets_access as access
from server.api.contract import Busy, NotFound, Refused
from server.api.guard import Guard
from server.api.rest import PROBLEM
from server.assets.blobs import Blobs, BlobWriter

MAX_WRITING = 4
"""Uploads that are written at once."""
FLUSH_BYTES = 1 << 20
CACHE = "public, max-age=31536000, immutable"
_RANGE = re.compile(r"bytes=(\d*-\d*)(,\s*\d*-\d*){0,15}")
_MAGIC = (
    (b"glTF", "model/gltf-binary"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"RIFF", "image/webp"),
)
"""Only these are called by their name; nobody's upload is ever taken for a page or a script."""

Hash = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]


class Stored(BaseModel):
    """A blob that is here now."""

    sha256: str
    size: int


def router(blobs: Blobs, guard: Guard) -> APIRouter:
    """GET, HEAD and PUT of one blob."""
    api = APIRouter(prefix="/v1/blobs/sha256", tags=["blobs"], responses=PROBLEM)
    writing = asyncio.Semaphore(MAX_WRITING)

    @api.put("/{sha256}", status_code=201)
    async def put_blob(sha256: Hash, request: Request, response: Response) -> Stored:
        """Store bytes under their hash (201), or find them here already (200)."""
        access.writer(guard, request)
        if await asyncio.to_thread(blobs.keep, sha256, time.time_ns()):
            response.status_code = 200
            return Stored(sha256=sha256, size=blobs.size(sha256) or 0)
        if writing.locked():
            raise Busy("other files are being stored; try again in a moment", retry_after_s=1)
        async with writing:
            return Stored(sha256=sha256, size=await _receive(blobs, sha256, request))

    @api.get("/{sha256}", response_class=FileResponse)
    @api.head("/{sha256}", response_class=FileResponse)
    async def get_blob(sha256: Hash, request: Request) -> Response:
        """The bytes, or ranges of them; they never change."""
        access.reader(guard, request)
        size, head = await asyncio.to_thread(_peek, blobs, sha256)
        etag = f'"{sha256}"'
        headers = {"ETag": etag, "Cache-Control": CACHE, "Vary": "Authorization"}
        if etag in (tag.strip() for tag in request.headers.get("if-none-match", "").split(",")):
            return Response(status_code=304, headers=headers)
        _check_range(request.headers.get("range"), size)
        media_type = next((name for magic, name in _MAGIC if head.startswith(magic)), "application/octet-stream")
        return FileResponse(blobs.path(sha256), headers=headers, media_type=media_type)

    return api


async def _receive(blobs: Blobs, sha256: str, request: Request) -> int:
    """Write the body beside the event loop, a piece at a time; what is broken off leaves nothing."""
    making = blobs.writing()
    writer: BlobWriter = await asyncio.to_thread(making.__enter__)
    try:
        waiting = bytearray()
        async for chunk in request.stream():
            waiting += chunk
            if len(waiting) >= FLUSH_BYTES:
                await asyncio.to_thread(writer.write, bytes(waiting))
                waiting.clear()
        await asyncio.to_thread(writer.write, bytes(waiting))
        await asyncio.to_thread(writer.finish, sha256)
    except BaseException as error:
        await asyncio.shield(asyncio.to_thread(making.__exit__, type(error), error, error.__traceback__))
        raise
    await asyncio.to_thread(making.__exit__, None, None, None)
    return writer.size_bytes


def _peek(blobs: Blobs, sha256: str) -> tuple[int, bytes]:
    try:
        with blobs.path(sha256).open("rb") as file:
            head = file.read(16)
    except FileNotFoundError:
        raise NotFound(f"there is no blob {sha256}") from None
    return blobs.size(sha256) or 0, head


def _check_range(given: str | None, size: int) -> None:
    """
    Raises:
        Refused: that is no range of bytes.
        HTTPException: 416, it begins behind the end.
    """
    if given is None:
        return
    if _RANGE.fullmatch(given.strip()) is None:
        raise Refused("Range must be like bytes=0-99, with at most 16 ranges")
    for part in given.partition("=")[2].split(","):
        first, _, last = part.strip().partition("-")
        if not first and not last:
            raise Refused("a range needs a first or a last byte")
        if (first and int(first[:20]) >= size) or (not first and int(last[:20]) == 0) or size == 0:
            raise HTTPException(416, f"the blob has {size} bytes", headers={"Content-Range": f"bytes */{size}"})
        if first and last and int(last[:20]) < int(first[:20]):
            raise Refused("a range must not end before it begins")
