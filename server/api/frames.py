"""Frames that bring their own poses: one multipart request each (image, meta, maybe depth), kept in memory only."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict

from fastapi import APIRouter, Request, Response
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from server.api.capability import Seals
from server.api.contract import Busy, NotFound, Refused, Scenes, Unprocessable
from server.api.guard import Guard
from server.api.whip import WrongType
from server.auth import Role
from streams.frame import Frame, StreamId
from streams.posed import PosedFrameError, posed_frame

MAX_DECODING = 2
MAX_WAITING = 8
MAX_STREAMS_COUNTED = 4096
PARTS = ("image", "meta", "depth")


class _InMemory(MultiPartParser):
    """People's pictures never touch the disk on their way in; the request's size is capped before."""

    spool_max_size = 1 << 30


class FrameIntake:
    """Decodes frames beside the event loop, a few at a time, and hands them on in the order they came."""

    def __init__(self, scenes: Scenes) -> None:
        self._scenes = scenes
        self._decoding = asyncio.Semaphore(MAX_DECODING)
        self._waiting = 0
        self._next_seq: OrderedDict[StreamId, int] = OrderedDict()

    async def take(self, stream: StreamId, parts: dict[str, bytes]) -> Frame:
        """Decode and hand on.

        Raises:
            Busy: too many frames wait to be decoded.
            Unprocessable: the frame is malformed or cannot be true.
        """
        if self._waiting >= MAX_WAITING:
            raise Busy("frames come faster than they can be decoded; send fewer", retry_after_s=1)
        received_ns, seq = time.time_ns(), self._count(stream)
        self._waiting += 1
        try:
            async with self._decoding:
                frame = await asyncio.to_thread(
                    posed_frame,
                    parts["meta"],
                    parts["image"],
                    parts.get("depth"),
                    stream=stream,
                    seq=seq,
                    received_ns=received_ns,
                )
        except PosedFrameError as error:
            raise Unprocessable(str(error)) from error
        finally:
            self._waiting -= 1
        await self._scenes.offer_posed(stream, frame)
        return frame

    def _count(self, stream: StreamId) -> int:
        seq = self._next_seq.pop(stream, 0)
        self._next_seq[stream] = seq + 1
        if len(self._next_seq) > MAX_STREAMS_COUNTED:
            self._next_seq.popitem(last=False)
        return seq


def router(scenes: Scenes, guard: Guard, seals: Seals) -> APIRouter:
    """The routes of a camera's frames; their address is known to the camera alone."""
    api = APIRouter(prefix="/v1", tags=["streams"])
    intake = FrameIntake(scenes)

    @api.post("/streams/{name}/frames", status_code=202, response_class=Response)
    async def take_frame(name: str, request: Request) -> Response:
        """`image` JPEG or PNG, `meta` JSON (pose, intrinsics, capture_ns, trust), maybe `depth` 16-bit PNG."""
        guard.require_somewhere(request, Role.PUBLISH)
        owned = seals.open(name)
        if owned is None or all(summary.stream != owned.stream for summary in scenes.streams()):
            raise NotFound("there is no such stream; open one first, and post to the address it gives")
        await intake.take(owned.stream, await _parts(request))
        return Response(status_code=202)

    @api.delete("/streams/{name}/frames", status_code=204, response_class=Response)
    async def end_frames(name: str, request: Request) -> Response:
        """There are no more frames: the camera goes, what it mapped stays."""
        guard.require_somewhere(request, Role.PUBLISH)
        owned = seals.open(name)
        if owned is None:
            raise NotFound("there is no such stream")
        await scenes.end_posed(owned.stream)
        return Response(status_code=204)

    return api


async def _parts(request: Request) -> dict[str, bytes]:
    """The parts by name.

    Raises:
        WrongType: not multipart.
        Refused: malformed, or parts are missing.
    """
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise WrongType("Content-Type must be multipart/form-data with the parts image, meta and maybe depth")
    try:
        parser = _InMemory(request.headers, request.stream(), max_files=len(PARTS), max_fields=len(PARTS))
        form = await parser.parse()
    except MultiPartException as error:
        raise Refused(f"malformed multipart: {error.message}") from error
    except (KeyError, ValueError, UnicodeError) as error:
        raise Refused("malformed multipart") from error
    out: dict[str, bytes] = {}
    for name in PARTS:
        value = form.get(name)
        if isinstance(value, UploadFile):
            out[name] = await value.read()
        elif isinstance(value, str):
            out[name] = value.encode()
    await form.close()
    if missing := {"image", "meta"} - out.keys():
        raise Unprocessable(f"the part {', '.join(sorted(missing))} is missing")
    return out
