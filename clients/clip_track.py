"""A clip's encoded frames as a WebRTC track: each leaves at its time, and when it left is remembered."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import av
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from clients.video import EncodedClip

RTP_HZ = 90_000
LATE_S = 0.5
"""A camera that fell this far behind starts its schedule anew instead of catching up in a burst."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A frame that has left."""

    capture_ns: int  # phone's clock
    pts: int  # RTP ticks since the first frame
    clip_time_s: float


class ClipTrack(MediaStreamTrack):  # type: ignore[misc]
    """Hands out the clip's encoded frames at their times and remembers when each was captured."""

    kind = "video"

    def __init__(
        self,
        clip: EncodedClip,
        now_ns: Callable[[], int],
        rtp_of_last_packet: Callable[[], int],
        *,
        loop: bool,
        remembered: int = 300,
    ) -> None:
        super().__init__()
        self._clip, self._now_ns, self._rtp_of_last_packet = clip, now_ns, rtp_of_last_packet
        self._loop = loop
        self._sent: deque[Sent] = deque(maxlen=remembered)
        self._started_s = 0.0
        self.num_sent = 0
        self.newest: Sent | None = None
        self.rtp_origin: int | None = None
        """RTP stamp of pts 0; known once the first frame has left."""

    async def recv(self) -> av.Packet:
        index = self.num_sent
        if self.readyState != "live" or (not self._loop and index >= len(self._clip.frames)):
            self.stop()
            raise MediaStreamError
        if self.newest is not None and self.rtp_origin is None:
            # aiortc asks for a frame when all packets of the one before have been sent.
            self.rtp_origin = self._rtp_of_last_packet() - self.newest.pts
        now_s = time.monotonic()
        if index == 0:
            self._started_s = now_s
        due_s = self._started_s + index / self._clip.fps
        if now_s > due_s + LATE_S:
            self._started_s += now_s - due_s
        await asyncio.sleep(max(0.0, due_s - now_s))
        place = index % len(self._clip.frames)
        pts = round((time.monotonic() - self._started_s) * RTP_HZ) if index else 0
        if self.newest is not None:
            pts = max(pts, self.newest.pts + 1)
        self.newest = Sent(self._now_ns(), pts, place / self._clip.fps)
        self._sent.append(self.newest)
        self.num_sent += 1
        packet = av.Packet(self._clip.frames[place])
        packet.pts, packet.time_base = pts, Fraction(1, RTP_HZ)
        return packet

    def nearest(self, capture_ns: int) -> Sent | None:
        """The sent frame captured at about that time of the phone's clock, if one was."""
        if not self._sent:
            return None
        best = min(self._sent, key=lambda sent: abs(sent.capture_ns - capture_ns))
        return best if abs(best.capture_ns - capture_ns) < 0.5e9 / self._clip.fps else None
