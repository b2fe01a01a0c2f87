"""The scripted phone against a real aiortc peer behind a real HTTP server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import uvicorn
from aiortc import RTCConfiguration, RTCDataChannel, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from fastapi import FastAPI, Request, Response

from clients.camera import Camera, MotionSample
from clients.http import HttpError
from clients.video import EncodedClip, load

SERVER_AHEAD_NS = 5_000_000_000


def folder_of(path: Path, count: int, fps: float = 30.0) -> Path:
    (path / "rgb").mkdir(parents=True)
    for i in range(count):
        image = np.full((120, 160, 3), (40 + 3 * i) % 200, np.uint8)
        cv2.imwrite(str(path / f"rgb/{i:06d}.jpg"), image)
    (path / "camera.json").write_text(json.dumps({"fps": fps}))
    return path


@pytest.fixture
def clip(tmp_path: Path) -> EncodedClip:
    return load(folder_of(tmp_path / "clip", 30))


@dataclass
class FakeServer:
    """Answers WHIP offers, decodes what comes and answers every frame with a pose."""

    url: str = ""
    got: list[dict[str, Any]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    peers: list[RTCPeerConnection] = field(default_factory=list)
    num_frames: int = 0
    deleted: list[str] = field(default_factory=list)
    channel: RTCDataChannel | None = None
    rtp_ticks_s: float = 0.0

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.post("/v1/scenes/{scene}/whip")
        async def post(scene: str, request: Request) -> Response:
            if scene == "full":
                return Response('{"detail": "too many cameras"}', 503, media_type="application/problem+json")
            self.headers = dict(request.headers)
            answer = await self.accept((await request.body()).decode())
            location = f"/v1/whip/{scene}-1"
            return Response(answer, 201, {"Location": location}, media_type="application/sdp")

        @app.delete("/v1/whip/{session}")
        async def delete(session: str) -> Response:
            self.deleted.append(session)
            return Response(status_code=200)

        return app

    async def accept(self, offer: str) -> str:
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.peers.append(peer)

        @peer.on("track")
        def on_track(track: MediaStreamTrack) -> None:
            tasks.append(asyncio.ensure_future(self.watch(track)))

        @peer.on("datachannel")
        def on_channel(channel: RTCDataChannel) -> None:
            self.channel = channel
            channel.on("message", self.hear)

        tasks: list[asyncio.Future[None]] = []
        await peer.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        await peer.setLocalDescription(await peer.createAnswer())
        return str(peer.localDescription.sdp)

    async def watch(self, track: MediaStreamTrack) -> None:
        with contextlib.suppress(MediaStreamError):
            while True:
                await track.recv()
                self.num_frames += 1
                captures = [m["capture_ms"] for m in self.got if m["t"] == "capture"]
                offsets = [m["offset_ms"] for m in self.got if m["t"] == "offset"]
                if self.channel is not None and captures and offsets:
                    # Say that the newest reported capture has been placed, on the server's own clock.
                    capture_ns = round((captures[-1] + offsets[-1]) * 1e6)
                    placed = {"t": [1.0, 2.0, 3.0], "q_wxyz": [1.0, 0.0, 0.0, 0.0]}
                    self.say({"t": "pose", "capture_ns": str(capture_ns), "state": "tracking",
                              "world_from_camera": placed, "seen_share": 0.5})  # fmt: skip
                    late = {"capture_ns": str(capture_ns - 10**8), "world_from_camera": placed}
                    self.say({"t": "late", "is_aligned": False, "poses": [late]})

    def hear(self, text: str) -> None:
        message = json.loads(text)
        self.got.append(message)
        if message["t"] == "ping":
            there = (time.time_ns() + SERVER_AHEAD_NS) / 1e6
            self.say({"t": "pong", "t0": message["t0"], "t1": there, "t2": there})

    def say(self, message: dict[str, Any]) -> None:
        assert self.channel is not None
        self.channel.send(json.dumps(message))


@contextlib.asynccontextmanager
async def fake_server() -> AsyncIterator[FakeServer]:
    fake = FakeServer()
    listening = socket.create_server(("127.0.0.1", 0))
    fake.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    server = uvicorn.Server(uvicorn.Config(fake.app(), log_level="error", lifespan="off"))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    yield fake
    for peer in fake.peers:
        await peer.close()
    server.should_exit = True
    await serving


async def test_a_phone_publishes_reports_its_clock_and_hears_its_pose(clip: EncodedClip) -> None:
    def motion(clip_time_s: float) -> MotionSample:
        return MotionSample((0.0, -1.0, 0.0), (clip_time_s, 0.0, 0.0))

    async with fake_server() as fake:
        phone = Camera(fake.url, "flat", clip, token="secret", motion=motion)
        async with phone, asyncio.timeout(30):
            answers = []
            async for answer in phone.answers():
                answers.append(answer)
                kinds = {m["t"] for m in fake.got}
                if len(answers) > 5 and kinds == {"ping", "offset", "capture", "motion", "info"}:
                    break
        assert fake.headers["authorization"] == "Bearer secret"
        assert fake.headers["content-type"] == "application/sdp"
        assert fake.deleted == ["flat-1"]
        last = answers[-1]
        assert last.state == "tracking"
        assert last.world_from_camera is not None
        np.testing.assert_array_equal(last.world_from_camera[:3, 3], [1, 2, 3])
        assert last.clip_time_s is not None
        assert 0 <= last.clip_time_s < clip.duration_s
        assert last.latency_ms >= 0
        assert not phone.late[-1].is_aligned
        assert phone.late[-1].capture_ns < last.capture_ns
        np.testing.assert_array_equal(phone.late[-1].world_from_camera[:3, 3], [1, 2, 3])
        offsets = [m["offset_ms"] for m in fake.got if m["t"] == "offset"]
        rtts = [m["rtt_ms"] for m in fake.got if m["t"] == "offset"]
        assert abs(offsets[-1] - SERVER_AHEAD_NS / 1e6) <= rtts[-1]


async def test_capture_reports_name_the_rtp_stamps_that_are_sent(
    clip: EncodedClip, monkeypatch: pytest.MonkeyPatch
) -> None:
    import aiortc.rtcrtpreceiver as receiver

    arrived: dict[int, int] = {}
    handle = receiver.RTCRtpReceiver._handle_rtp_packet

    async def spy(self: Any, packet: Any, arrival_time_ms: int) -> None:
        arrived.setdefault(packet.timestamp, time.time_ns())
        await handle(self, packet, arrival_time_ms)

    monkeypatch.setattr(receiver.RTCRtpReceiver, "_handle_rtp_packet", spy)
    async with fake_server() as fake, Camera(fake.url, "flat", clip) as phone, asyncio.timeout(30):
        async for _ in phone.answers():
            captures = [m for m in fake.got if m["t"] == "capture"]
            if len(captures) >= 2:
                break
        for report in captures:
            assert report["rtp"] in arrived
            assert report["capture_ms"] * 1e6 <= arrived[report["rtp"]]


async def test_a_wrong_phone_clock_does_not_change_latencies(clip: EncodedClip) -> None:
    async with fake_server() as fake, asyncio.timeout(30):
        async with Camera(fake.url, "flat", clip, clock_ahead_ns=-7_200_000_000_000) as phone:
            async for answer in phone.answers():
                if answer.clip_time_s is not None:
                    break
            offset_ms = next(m["offset_ms"] for m in reversed(fake.got) if m["t"] == "offset")
        assert offset_ms == pytest.approx(7_200_000 + SERVER_AHEAD_NS / 1e6, abs=1000)


async def test_a_clip_that_is_not_looped_ends(tmp_path: Path) -> None:
    short = load(folder_of(tmp_path / "short", 6))
    async with fake_server() as fake, asyncio.timeout(30):
        async with Camera(fake.url, "flat", short, loop=False) as phone:
            async for _ in phone.answers():
                pass
        assert phone.num_sent == 6


async def test_a_refusal_says_why() -> None:
    clip = EncodedClip((b"\0\0\1",), 30.0, 160, 120)
    async with fake_server() as fake:
        with pytest.raises(HttpError, match="too many cameras") as caught:
            await Camera(fake.url, "full", clip).__aenter__()
        assert caught.value.status == 503
        with pytest.raises(HttpError, match="404"):
            await Camera(fake.url + "/elsewhere", "flat", clip).__aenter__()
    with pytest.raises(HttpError, match="cannot reach"):
        await Camera(fake.url, "flat", clip).__aenter__()


def test_folders_and_files_become_frames_with_a_keyframe_first_and_every_second(tmp_path: Path) -> None:
    clip = load(folder_of(tmp_path / "clip", 40, fps=20.0))
    assert (len(clip.frames), clip.fps, clip.width, clip.height) == (40, 20.0, 160, 120)
    assert clip.duration_s == pytest.approx(2.0)
    raw = tmp_path / "clip.h264"
    raw.write_bytes(b"".join(clip.frames))
    again = load(raw, fps=20.0)
    assert again.frames == clip.frames
    decoder = av.CodecContext.create("h264", "r")
    keys = [i for i, unit in enumerate(clip.frames) for image in decoder.decode(av.Packet(unit)) if image.key_frame]
    assert keys[0] == 0
    assert len(keys) >= 1


@pytest.mark.parametrize("content", [b"", b"not a video at all", b"\0\0\0\1\x67"])
@pytest.mark.parametrize("suffix", [".mp4", ".h264"])
def test_what_is_no_video_is_refused(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="broken"):
        load(path)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no rgb/\*\.jpg"):
        load(tmp_path)
