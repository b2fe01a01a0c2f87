"""A video receiver on aiortc that adds no latency and queues nothing without bound.

Stock aiortc 1.16 hands a frame on only when the next one begins (33 ms late at 30 fps), and its queues of encoded and
decoded frames have no end. Here a frame ends at its RTP marker bit, a hole in the sequence is asked for again and then
skipped, encoded frames wait in a short inbox that falls back to the next key frame, and decoded ones go straight to
their consumer from the decoder's thread.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import av
from aiortc import clock
from aiortc.jitterbuffer import JitterBuffer, JitterFrame
from aiortc.rtcrtpreceiver import RTCRtpReceiver
from aiortc.rtp import RtcpByePacket, RtcpSrPacket, RtpPacket
from aiortc.utils import uint16_add

from streams.pictures import MAX_PIXELS, too_large
from streams.transport_feedback import TransportFeedback

logger = logging.getLogger(__name__)

JITTER_PACKETS = 512
INBOX_FRAMES = 30
"""A second of encoded video; a decoder that is further behind starts again at the next key frame."""
ASK_AGAIN_S = 0.06
SKIP_GAP_S = 0.3
KEY_FRAME_INTERVAL_S = 0.5
"""A key frame is not asked for more often than this."""

PictureCallback = Callable[[av.VideoFrame, int, int], None]
"""Called on the decoder's thread with the picture, its 32-bit RTP timestamp, and the ns at which it was complete."""


class MarkerJitterBuffer(JitterBuffer):  # type: ignore[misc]
    """Puts packets in order and releases a frame as soon as its last packet (RTP marker bit) is there."""

    def __init__(self, on_gap: Callable[[], None]) -> None:
        super().__init__(capacity=JITTER_PACKETS, is_video=True)
        self._on_gap = on_gap

    @property
    def origin(self) -> int | None:
        """Sequence number awaited next."""
        return self._origin  # type: ignore[no-any-return]

    def add(self, packet: RtpPacket) -> tuple[bool, JitterFrame | None]:
        lost, frame = super().add(packet)
        if lost:
            self._on_gap()
        return lost, frame

    def pop(self) -> JitterFrame | None:
        """Take the next complete frame, if there is one: a late packet may have completed several."""
        return None if self._origin is None else self._remove_frame(self._origin)

    def skip_gap(self, last_missing: int) -> None:
        """Give up everything up to a missing packet, and the frame it tore."""
        self.remove(min(uint16_add(last_missing, 1 - self._origin), self._capacity))
        torn = self._head()
        while torn is not None and (head := self._head()) is not None and head.timestamp == torn.timestamp:
            self.remove(1)
        self._on_gap()

    def _head(self) -> RtpPacket | None:
        return self._packets[self._origin % self._capacity]

    def _remove_frame(self, sequence_number: int) -> JitterFrame | None:
        packets: list[RtpPacket] = []
        count = 0
        while count < self._capacity:
            packet = self._packets[(self._origin + count) % self._capacity]
            if packet is None:
                return None
            ended = bool(packets) and packet.timestamp != packets[0].timestamp  # a sender that sets no marker
            if not ended:
                packets.append(packet)
                count += 1
                ended = bool(packet.marker)
            if ended:
                self.remove(count)
                data = b"".join(p._data for p in packets)
                if data:
                    return JitterFrame(data=data, timestamp=packets[0].timestamp)
                packets, count = [], 0  # padding only
        return None


class DecoderInbox:
    """Encoded frames on their way to the decoder, in place of aiortc's unbounded queue.

    Bound: `INBOX_FRAMES`. Policy when full: all that wait are dropped and decoding resumes at a key frame, which the
    sender is asked for; frames that depend on lost ones are never decoded.
    """

    def __init__(self, ask_key_frame: Callable[[], None], on_picture: PictureCallback) -> None:
        self._ask_key_frame, self._on_picture = ask_key_frame, on_picture
        self._frames: deque[tuple[Any, JitterFrame, int]] = deque()
        self._ready = threading.Condition()
        self._closed = False
        self._await_key = True
        self._asked_s = 0.0
        self.codec: Any = None
        """Of the newest frame put in."""
        self.dropped = 0
        self.undecodable = 0
        self.oversize = 0

    def put(self, task: tuple[Any, JitterFrame] | None) -> None:
        """Take a complete encoded frame; None ends the decoder."""
        with self._ready:
            if task is None:
                self._closed = True
                self._frames.clear()
            else:
                self._add(*task)
            self._ready.notify()

    def await_key_frame(self) -> None:
        """What follows depends on something lost: decode nothing before the next key frame."""
        with self._ready:
            self._await_key = True

    def get(self) -> None:
        """Decode until closed. aiortc's decoder thread calls this for its first task, and None tells it to end."""
        decoder: av.VideoCodecContext | None = None
        name = None
        while (item := self._next()) is not None:
            codec, encoded, complete_ns = item
            if decoder is None or codec.name != name:
                decoder, name = _decoder(codec.name), codec.name
            self._decode(decoder, encoded, complete_ns)

    def _add(self, codec: Any, encoded: JitterFrame) -> None:
        self.codec = codec
        if len(self._frames) >= INBOX_FRAMES:
            self.dropped += len(self._frames)
            self._frames.clear()
            self._await_key = True
        if self._await_key and not is_key_frame(codec.name, encoded.data):
            self.dropped += 1
            if time.monotonic() - self._asked_s > KEY_FRAME_INTERVAL_S:
                self._asked_s = time.monotonic()
                self._ask_key_frame()
            return
        self._await_key = False
        self._frames.append((codec, encoded, time.time_ns()))

    def _next(self) -> tuple[Any, JitterFrame, int] | None:
        with self._ready:
            self._ready.wait_for(lambda: self._frames or self._closed)
            return self._frames.popleft() if self._frames else None

    def _decode(self, decoder: av.VideoCodecContext, encoded: JitterFrame, complete_ns: int) -> None:
        packet = av.Packet(encoded.data)
        packet.pts = encoded.timestamp
        try:
            pictures = decoder.decode(packet)
        except av.FFmpegError as error:
            self.undecodable += 1
            logger.debug("cannot decode a frame: %s", error)
            self.await_key_frame()
            return
        for picture in pictures:
            if too_large(picture.width, picture.height):
                self.oversize += 1
            else:
                self._on_picture(picture, encoded.timestamp, complete_ns)


class PromptVideoReceiver(RTCRtpReceiver):  # type: ignore[misc]
    """aiortc's receiver with the parts above in place of its own; reaches into its private fields (version pinned)."""

    def __init__(self, transport: Any) -> None:
        super().__init__("video", transport)
        self.on_picture: PictureCallback = lambda picture, rtp, complete_ns: None
        self.on_packet: Callable[[RtpPacket], None] = lambda packet: None
        self.on_sender_report: Callable[[int, int], None] = lambda rtp, sender_ns: None
        self.on_bye: Callable[[], None] = lambda: None
        self.inbox = DecoderInbox(
            self._RTCRtpReceiver__decoder_error.set, lambda picture, rtp, ns: self.on_picture(picture, rtp, ns)
        )
        self._jitter = MarkerJitterBuffer(self.inbox.await_key_frame)
        self._feedback = TransportFeedback()
        self._gap: tuple[int, float] | None = None  # sequence number awaited, since when
        self._asked_s = 0.0
        self._RTCRtpReceiver__decoder_queue = self.inbox
        self._RTCRtpReceiver__jitter_buffer = self._jitter
        self._RTCRtpReceiver__timestamp_mapper = _KeepTimestamps()

    async def _handle_rtp_packet(self, packet: RtpPacket, arrival_time_ms: int) -> None:
        self.on_packet(packet)
        await self._report_arrival(packet, time.time_ns())
        await super()._handle_rtp_packet(packet, arrival_time_ms)
        while self.inbox.codec is not None and (frame := self._jitter.pop()) is not None:
            self.inbox.put((self.inbox.codec, frame))
        await self._mind_gap(packet.ssrc, time.monotonic())

    async def _handle_rtcp_packet(self, packet: Any) -> None:
        if isinstance(packet, RtcpSrPacket):
            report = packet.sender_info
            sender_ns = round(clock.datetime_from_ntp(report.ntp_timestamp).timestamp() * 1e9)
            self.on_sender_report(report.rtp_timestamp, sender_ns)
        elif isinstance(packet, RtcpByePacket):
            self.on_bye()
            return
        await super()._handle_rtcp_packet(packet)

    async def _report_arrival(self, packet: RtpPacket, now_ns: int) -> None:
        number = packet.extensions.transport_sequence_number  # present where negotiated
        if number is None:
            return
        self._feedback.add(number, now_ns)
        if self._feedback.due(now_ns):
            for report in self._feedback.report(now_ns, self._RTCRtpReceiver__rtcp_ssrc or 0, packet.ssrc):
                with contextlib.suppress(ConnectionError):
                    await self.transport._send_rtp(report)

    async def _mind_gap(self, ssrc: int, now_s: float) -> None:
        """Ask again for packets that hold the next frame back, then do without them."""
        origin = self._jitter.origin
        lost = self._RTCRtpReceiver__nack_generator.missing
        if origin is None or not lost:
            self._gap = None
            return
        holding = sorted(
            (s for s in lost if uint16_add(s, -origin) < JITTER_PACKETS), key=lambda s: uint16_add(s, -origin)
        )
        if not holding:
            self._gap = None
        elif self._gap is None or self._gap[0] != origin:
            self._gap = origin, now_s
            self._asked_s = now_s
        elif now_s - self._gap[1] > SKIP_GAP_S:
            self._jitter.skip_gap(holding[-1])
            lost.difference_update(holding)
            self._gap = None
            await self._send_rtcp_pli(ssrc)
        elif now_s - self._asked_s > ASK_AGAIN_S:
            self._asked_s = now_s
            await self._send_rtcp_nack(ssrc, sorted(lost))


class _KeepTimestamps:
    """In place of aiortc's mapper, which rebases RTP timestamps to zero and so loses what the page's times refer to."""

    def map(self, timestamp: int) -> int:
        return timestamp


def is_key_frame(codec: str, data: bytes) -> bool:
    """Whether an encoded frame can be decoded on its own (VP8: RFC 6386, section 9.1; H.264: an IDR or its SPS)."""
    if codec.upper() == "VP8":
        return not data[0] & 1
    start = data.find(b"\x00\x00\x01")
    while 0 <= start < len(data) - 3:
        if data[start + 3] & 0x1F in (5, 7):
            return True
        start = data.find(b"\x00\x00\x01", start + 3)
    return False


def _decoder(name: str) -> av.VideoCodecContext:
    decoder = av.CodecContext.create({"VP8": "libvpx", "H264": "h264"}[name.upper()], "r")
    assert isinstance(decoder, av.VideoCodecContext)
    decoder.thread_count = 1  # many streams share the cores; one frame takes a millisecond or two
    decoder.options = {"max_pixels": str(MAX_PIXELS)}
    return decoder
