"""A phone for tests: a stock aiortc peer that publishes a moving pattern and talks on the DataChannel."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from fractions import Fraction
from typing import Any

import av
import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription, VideoStreamTrack
from aiortc.rtcdtlstransport import RTCCertificate
from aiortc.rtcrtpsender import RTCRtpSender

from streams.frame import StreamId
from streams.webrtc import WhipConfig, WhipPeer, WhipSession


class Pattern(VideoStreamTrack):
    """Frames at 30 fps whose mean brightness counts them; `size` may be changed at any time."""

    def __init__(self, width: int = 320, height: int = 240) -> None:
        super().__init__()
        self.size = (width, height)
        self.count = 0

    async def recv(self) -> av.VideoFrame:
        pts, time_base = await self.next_timestamp()
        width, height = self.size
        rgb = np.full((height, width, 3), 40 + self.count % 150, dtype=np.uint8)
        rgb[:, (self.count * 4) % width :][:, :8] = 255
        frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
        frame.pts, frame.time_base = pts, time_base or Fraction(1, 90000)
        self.count += 1
        return frame


class Phone:
    """Publishes to a `WhipPeer` in this process."""

    def __init__(
        self,
        codec: str = "VP8",
        *,
        channel: bool = True,
        audio: bool = False,
        connection: RTCPeerConnection | None = None,
        certificate: RTCCertificate | None = None,
    ) -> None:
        self.connection = connection or RTCPeerConnection(RTCConfiguration(iceServers=[]))
        if certificate is not None:
            self.connection._RTCPeerConnection__certificates = [certificate]
        self.video = Pattern()
        self.heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.opened = asyncio.Event()
        self.channel = self.connection.createDataChannel("commonground") if channel else None
        if audio:
            self.connection.addTransceiver("audio", direction="sendonly")
        transceiver = self.connection.addTransceiver(self.video, direction="sendonly")
        wanted = [c for c in RTCRtpSender.getCapabilities("video").codecs if c.name in (codec, "rtx")]
        transceiver.setCodecPreferences(wanted)
        if self.channel is not None:
            self.channel.on("open", self.opened.set)
            self.channel.on("message", lambda text: self.heard.put_nowait(json.loads(text)))

    async def offer(self) -> bytes:
        await self.connection.setLocalDescription()
        return self.connection.localDescription.sdp.encode()

    async def publish(self, peer: WhipPeer, stream: str = "phone") -> WhipSession:
        session = await peer.accept(await self.offer(), StreamId(stream))
        await self.connection.setRemoteDescription(RTCSessionDescription(session.answer_sdp, "answer"))
        return session

    def say(self, **message: Any) -> None:
        assert self.channel is not None
        self.channel.send(json.dumps(message))

    async def close(self) -> None:
        await self.connection.close()


@contextlib.asynccontextmanager
async def connected(
    phone: Phone | None = None,
    config: WhipConfig = WhipConfig(),  # noqa: B008
) -> AsyncIterator[tuple[Phone, WhipSession]]:
    """A phone that publishes, and its session; both are closed at the end."""
    phone = phone or Phone()
    session = await phone.publish(WhipPeer(config))
    try:
        yield phone, session
    finally:
        await session.close()
        await phone.close()
