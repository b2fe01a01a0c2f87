"""A second, independent WebRTC stack as the phone: GStreamer's webrtcbin (libnice, OpenSSL with RSA, its own RTP)."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from streams.frame import StreamId
from streams.problem import RequestRefused
from streams.webrtc import WhipPeer, WhipSession

SYSTEM_PYTHON = "/usr/bin/python3"
SENDER = Path(__file__).with_name("gst_sender.py")
DATA = Path(os.environ.get("COMMONGROUND_DATA", Path(__file__).parents[3] / "shared" / "data"))


@asynccontextmanager
async def whip_server(sessions: asyncio.Queue[WhipSession]) -> AsyncIterator[str]:
    """The least HTTP around `WhipPeer`: POST /whip and DELETE."""
    peer, by_id = WhipPeer(), dict[str, WhipSession]()

    async def post(request: Request) -> Response:
        if request.headers.get("authorization") != "Bearer secret":
            return Response(status_code=401)
        try:
            session = await peer.accept(await request.body(), StreamId("gst"))
        except RequestRefused as refused:
            return PlainTextResponse(str(refused), refused.status)
        by_id[session.id] = session
        sessions.put_nowait(session)
        return Response(session.answer_sdp, 201, {"Location": f"/whip/{session.id}"}, media_type="application/sdp")

    async def delete(request: Request) -> Response:
        await by_id[request.path_params["id"]].close("deleted")
        return Response()

    app = Starlette(routes=[Route("/whip", post, methods=["POST"]), Route("/whip/{id}", delete, methods=["DELETE"])])
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    serving = asyncio.ensure_future(server.serve(sockets=[listening]))
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/whip"
    finally:
        server.should_exit = True
        await serving
        for session in by_id.values():
            await session.close()


async def publish(codec: str, frames: int, images: str | None = None) -> tuple[int, tuple[int, int], str]:
    """Let GStreamer send; returns how many frames came, the size of the last one, and why the session ended.

    Frames that a busy machine gave up before decoding them came, too.
    """
    sessions: asyncio.Queue[WhipSession] = asyncio.Queue()
    async with whip_server(sessions) as url:
        command = [SYSTEM_PYTHON, str(SENDER), url, "--token", "secret", "--codec", codec, "--frames", str(frames)]
        sender = await asyncio.create_subprocess_exec(
            *command, *(["--images", images] if images else []), stderr=asyncio.subprocess.PIPE
        )
        accepting = asyncio.ensure_future(sessions.get())
        leaving = asyncio.ensure_future(sender.communicate())
        await asyncio.wait({accepting, leaving}, return_when=asyncio.FIRST_COMPLETED, timeout=60)
        if not accepting.done():
            accepting.cancel()
            _, stderr = await leaving
            if sender.returncode == 2:
                pytest.skip(f"{stderr.decode().strip()} (see {SENDER.name})")
            pytest.fail(stderr.decode())
        session = accepting.result()
        size = (0, 0)
        async for frame in session.frames:
            size = frame.image.width, frame.image.height
        _, stderr = await asyncio.wait_for(leaving, 30)
        assert sender.returncode == 0, stderr.decode()
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(session.ended), 10)
        return session.stats.frames + session.stats.dropped, size, session.ended.result()


def need_system_python() -> None:
    if not Path(SYSTEM_PYTHON).exists():
        pytest.skip(f"no {SYSTEM_PYTHON}, which GStreamer's bindings belong to")


@pytest.mark.parametrize("codec", ["vp8", "h264"])
async def test_gstreamer_publishes(codec: str) -> None:
    need_system_python()
    count, size, reason = await publish(codec, 45)
    assert count >= 30
    assert size == (640, 480)
    assert reason == "deleted"


@pytest.mark.slow
async def test_gstreamer_publishes_a_recording() -> None:
    need_system_python()
    if not (DATA / "redkitchen").exists():
        if os.environ.get("CI"):
            pytest.fail(f"footage is missing: {DATA / 'redkitchen'}")
        pytest.skip(f"no footage at {DATA}; set COMMONGROUND_DATA")
    count, size, reason = await publish("vp8", 300, str(DATA / "redkitchen" / "rgb" / "%06d.jpg"))
    assert count >= 270
    assert (size, reason) == ((640, 480), "deleted")
