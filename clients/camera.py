"""A scripted phone: publishes a clip by WHIP and does on the DataChannel what the phone page does.

    clip = load(Path("walk.mp4"))
    async with Camera("https://localhost:8443", "flat", clip, token="...", ca="ca.pem") as phone:
        async for answer in phone.answers():
            print(answer.state, answer.world_from_camera, f"{answer.latency_ms:.0f} ms after capture")

The clip is encoded beforehand, so that a phone costs its packets and nothing else: many fit one machine. Capture is the
instant a frame is handed to the network; what a real phone's encoder adds is not part of the figures here.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
from aiortc import RTCConfiguration, RTCDataChannel, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from numpy.typing import NDArray

from clients import whip
from clients.clip_track import ClipTrack
from clients.clock import ServerClock
from clients.http import Http
from clients.mirror import rotation_from_quat
from clients.video import EncodedClip

logger = logging.getLogger(__name__)

CHANNEL_LABEL = "commonground"
QUICK_PINGS, QUICK_EVERY_S, STEADY_EVERY_S = 8, 0.1, 5.0
CAPTURE_EVERY_S = 1.0
MOTION_EVERY_S = 1 / 30
CONNECT_WITHIN_S = 15.0


@dataclass(frozen=True, slots=True, eq=False)
class MotionSample:
    """What a phone's sensors would say, in OpenCV camera axes."""

    up_camera: tuple[float, float, float]
    rate_camera_rad_s: tuple[float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class PoseAnswer:
    """One answer of the server to one frame."""

    state: str
    world_from_camera: NDArray[np.float64] | None  # (4, 4); None = not placed
    capture_ns: int
    """As the server understood it, on its clock."""
    clip_time_s: float | None
    """Place in the clip of the frame it answers; None when no sent frame fits."""
    latency_ms: float
    """From capture to answer, on this phone's own clock; NaN when no sent frame fits."""
    seen_share: float
    scale_source: str


@dataclass(frozen=True, slots=True, eq=False)
class LatePose:
    """Where a frame was that had been answered without a pose."""

    capture_ns: int
    """As the server understood it, on its clock."""
    world_from_camera: NDArray[np.float64]  # (4, 4)
    is_aligned: bool
    """In the shared map; False: in the phone's own frame, like the first pose after it."""


class Camera:
    """One simulated phone, connected while its `async with` block runs."""

    def __init__(
        self,
        url: str,
        scene: str,
        clip: EncodedClip,
        *,
        token: str | None = None,
        ca: str | os.PathLike[str] | bool = True,
        label: str = "scripted camera",
        query: Mapping[str, str] | None = None,
        clock_ahead_ns: int = 0,
        motion: Callable[[float], MotionSample] | None = None,
        loop: bool = True,
        max_answers: int = 256,
    ) -> None:
        """`motion` gives the sensors at a time of the clip; `clock_ahead_ns` sets this phone's clock wrong.

        Answers nobody reads wait, at most `max_answers`; the oldest go first.
        """
        self._session = whip.Session(Http(url, token=token, ca=ca), scene, query or {})
        self._clip, self._label, self._motion = clip, label, motion
        self._clock_ahead_ns = clock_ahead_ns
        self._track = ClipTrack(clip, self._now_ns, self._rtp_of_last_packet, loop=loop)
        self._peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._sender: RTCRtpSender | None = None
        self._channel: RTCDataChannel | None = None
        self._clock = ServerClock()
        self._answers: deque[PoseAnswer] = deque(maxlen=max_answers)
        self._news = asyncio.Event()
        self._ended: Exception | None = None
        self._is_open = False
        self._tasks: list[asyncio.Task[None]] = []
        self.num_answers = 0
        self.late: deque[LatePose] = deque(maxlen=max_answers)
        """What the server learnt of earlier frames, oldest first."""

    @property
    def num_sent(self) -> int:
        return self._track.num_sent

    async def __aenter__(self) -> Camera:
        """
        Raises:
            HttpError: the server refused, or cannot be reached.
            TimeoutError: the media path did not come up (UDP blocked?).
        """
        try:
            async with asyncio.timeout(CONNECT_WITHIN_S):
                await self._connect()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def answers(self) -> AsyncIterator[PoseAnswer]:
        """Pose answers as they come, until the clip (if not looped) or the connection ends.

        Raises:
            ConnectionError: the connection was lost.
        """
        while True:
            while self._answers:
                yield self._answers.popleft()
            if self._ended is not None:
                raise self._ended
            if not self._is_open or self._track.readyState == "ended":
                return
            self._news.clear()
            await self._news.wait()

    async def close(self) -> None:
        """Leave as a phone does: DELETE the session, then hang up."""
        self._is_open = False
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        self._track.stop()
        await self._session.delete()
        await self._peer.close()
        self._news.set()

    # -- the connection -----------------------------------------------------------------------------------------------

    async def _connect(self) -> None:
        peer = self._peer
        connected = asyncio.Event()
        opened = asyncio.Event()
        channel = self._channel = peer.createDataChannel(CHANNEL_LABEL, ordered=False)
        channel.on("open", opened.set)
        channel.on("message", self._hear)
        peer.on("connectionstatechange", lambda: self._watch(connected))
        transceiver = peer.addTransceiver(self._track, direction="sendonly")
        self._sender = transceiver.sender
        codecs = RTCRtpSender.getCapabilities("video").codecs
        transceiver.setCodecPreferences([codec for codec in codecs if codec.mimeType == "video/H264"])
        await peer.setLocalDescription(await peer.createOffer())
        answer = await self._session.post(peer.localDescription.sdp)
        await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        await connected.wait()
        if channel.readyState != "open":
            await opened.wait()
        self._is_open = True
        self._send({"t": "info", "label": self._label, "width": self._clip.width, "height": self._clip.height,
                    "screen_angle": 0})  # fmt: skip
        self._tasks = [asyncio.create_task(self._ping()), asyncio.create_task(self._report_captures())]
        if self._motion is not None:
            self._tasks.append(asyncio.create_task(self._report_motion(self._motion)))

    def _watch(self, connected: asyncio.Event) -> None:
        state = self._peer.connectionState
        if state == "connected":
            connected.set()
        elif state in ("failed", "closed") and self._is_open:
            self._ended = ConnectionError(f"the media connection {state}")
            self._news.set()

    def _now_ns(self) -> int:
        """This phone's clock."""
        return time.time_ns() + self._clock_ahead_ns

    def _send(self, message: dict[str, Any]) -> None:
        if self._channel is not None and self._channel.readyState == "open":
            self._channel.send(json.dumps(message))

    async def _ping(self) -> None:
        count = 0
        while True:
            self._send({"t": "ping", "t0": self._now_ns() / 1e6})
            count += 1
            await asyncio.sleep(QUICK_EVERY_S if count < QUICK_PINGS else STEADY_EVERY_S)

    async def _report_captures(self) -> None:
        """Say which instant an RTP stamp stands for."""
        while True:
            if self._track.newest is not None and self._track.rtp_origin is not None:
                sent = self._track.newest
                stamp = (self._track.rtp_origin + sent.pts) & 0xFFFFFFFF
                self._send({"t": "capture", "rtp": stamp, "capture_ms": sent.capture_ns / 1e6})
            await asyncio.sleep(CAPTURE_EVERY_S)

    def _rtp_of_last_packet(self) -> int:
        """aiortc adds a random start to every stamp and keeps it to itself."""
        assert self._sender is not None
        return int(self._sender._RTCRtpSender__rtp_timestamp)

    async def _report_motion(self, motion: Callable[[float], MotionSample]) -> None:
        while True:
            if (newest := self._track.newest) is not None:
                sample = motion(newest.clip_time_s)
                self._send({"t": "motion", "up": sample.up_camera, "rate": sample.rate_camera_rad_s,
                            "at_ms": newest.capture_ns / 1e6})  # fmt: skip
            await asyncio.sleep(MOTION_EVERY_S)

    # -- what the server says -----------------------------------------------------------------------------------------

    def _hear(self, text: str | bytes) -> None:
        now_ns = self._now_ns()
        try:
            message = json.loads(text)
            kind = message["t"]
            if kind == "pong":
                self._clock.add(*(round(message[k] * 1e6) for k in ("t0", "t1", "t2")), now_ns)  # type: ignore[call-arg]
                offset, rtt = self._clock.offset_ns, self._clock.rtt_ns or 0
                self._send({"t": "offset", "offset_ms": offset / 1e6, "rtt_ms": rtt / 1e6})
            elif kind == "pose":
                self._answers.append(self._answer(message, now_ns))
                self.num_answers += 1
                self._news.set()
            elif kind == "late":
                self.late.extend(
                    LatePose(int(pose["capture_ns"]), _pose(pose["world_from_camera"]), bool(message["is_aligned"]))
                    for pose in message["poses"]
                )
            elif kind == "notice":
                logger.info(
                    "notice from the server", extra={"level": message.get("level"), "text": message.get("text")}
                )
        except (ValueError, KeyError, TypeError) as error:
            logger.warning("a message of the server cannot be read", extra={"reason": repr(error)})

    def _answer(self, message: dict[str, Any], now_ns: int) -> PoseAnswer:
        placed = message.get("world_from_camera")
        capture_ns = int(message["capture_ns"])
        sent = self._track.nearest(capture_ns - self._clock.offset_ns)
        return PoseAnswer(
            state=str(message["state"]),
            world_from_camera=None if placed is None else _pose(placed),
            capture_ns=capture_ns,
            clip_time_s=None if sent is None else sent.clip_time_s,
            latency_ms=float("nan") if sent is None else (now_ns - sent.capture_ns) / 1e6,
            seen_share=float(message.get("seen_share") or 0.0),
            scale_source=str(message.get("scale_source", "none")),
        )


def _pose(placed: dict[str, Any]) -> NDArray[np.float64]:
    pose = np.eye(4)
    pose[:3, :3] = rotation_from_quat(placed["q_wxyz"])
    pose[:3, 3] = placed["t"]
    return pose
