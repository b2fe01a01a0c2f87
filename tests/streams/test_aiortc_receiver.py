from __future__ import annotations

import threading
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest
from aiortc.jitterbuffer import JitterFrame
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.rtp import RtpPacket

from streams.aiortc_receiver import INBOX_FRAMES, DecoderInbox, MarkerJitterBuffer, is_key_frame

VP8 = RTCRtpCodecParameters(mimeType="video/VP8", clockRate=90000, payloadType=97)
H264 = RTCRtpCodecParameters(mimeType="video/H264", clockRate=90000, payloadType=99)


def packet(seq: int, frame: int, *, last: bool = False, data: bytes | None = None) -> RtpPacket:
    out = RtpPacket(payload_type=97, sequence_number=seq % 65536, timestamp=frame * 3000 % 2**32, marker=int(last))
    out._data = bytes([seq % 256]) if data is None else data
    return out


def buffer() -> tuple[MarkerJitterBuffer, list[str]]:
    gaps: list[str] = []
    return MarkerJitterBuffer(lambda: gaps.append("gap")), gaps


def data(frame: JitterFrame | None) -> bytes | None:
    return None if frame is None else frame.data


@pytest.mark.parametrize("start", [0, 65533])
def test_a_frame_is_whole_at_its_marker_without_waiting_for_the_next(start: int) -> None:
    jitter, gaps = buffer()
    for i in range(20):
        assert jitter.add(packet(start + 3 * i, i, data=b"a"))[1] is None
        assert jitter.add(packet(start + 3 * i + 1, i, data=b"b"))[1] is None
        frame = jitter.add(packet(start + 3 * i + 2, i, last=True, data=b"c"))[1]
        assert frame is not None
        assert (frame.data, frame.timestamp) == (b"abc", i * 3000)
    assert gaps == []


def test_packets_are_put_in_order_and_a_late_one_may_complete_several_frames() -> None:
    jitter, _ = buffer()
    jitter.add(packet(0, 0, last=True))
    assert jitter.add(packet(3, 2, last=True))[1] is None
    assert jitter.add(packet(2, 1, last=True))[1] is None
    assert data(jitter.add(packet(1, 1))[1]) == b"\x01\x02"
    assert data(jitter.pop()) == b"\x03"
    assert jitter.pop() is None


def test_a_sender_without_markers_is_understood_by_its_timestamps() -> None:
    jitter, _ = buffer()
    jitter.add(packet(0, 0))
    jitter.add(packet(1, 0))
    assert data(jitter.add(packet(2, 1))[1]) == b"\x00\x01"


def test_padding_makes_no_frame() -> None:
    jitter, _ = buffer()
    assert data(jitter.add(packet(0, 0, last=True))[1]) == b"\x00"
    assert jitter.add(packet(1, 0, data=b""))[1] is None
    assert jitter.add(packet(2, 0, data=b""))[1] is None
    assert data(jitter.add(packet(3, 1, last=True))[1]) == b"\x03"


def test_a_skipped_gap_takes_the_torn_frame_with_it() -> None:
    jitter, gaps = buffer()
    jitter.add(packet(0, 0, last=True))
    jitter.add(packet(1, 1))
    jitter.add(packet(3, 1, last=True))  # 2 is lost
    jitter.add(packet(4, 2))
    jitter.add(packet(5, 2, last=True))
    assert jitter.pop() is None
    jitter.skip_gap(2)
    assert gaps == ["gap"]
    assert data(jitter.pop()) == b"\x04\x05"


def test_a_wild_jump_of_sequence_numbers_is_a_gap_not_a_stall() -> None:
    jitter, gaps = buffer()
    jitter.add(packet(0, 0, last=True))
    jitter.add(packet(30_000, 1))
    assert gaps == ["gap"]
    assert data(jitter.add(packet(30_001, 1, last=True))[1]) == bytes([30_000 % 256, 30_001 % 256])


def encode(codec: str, sizes: list[tuple[int, int]]) -> list[bytes]:
    """One encoded frame for each size; a new size begins with a key frame."""
    out: list[bytes] = []
    encoder: Any = None
    for i, (width, height) in enumerate(sizes):
        if encoder is None or (encoder.width, encoder.height) != (width, height):
            encoder = av.CodecContext.create(codec, "w")
            encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
            encoder.time_base = Fraction(1, 30)
            encoder.options = (
                {"tune": "zerolatency", "preset": "ultrafast"} if codec == "libx264" else {"deadline": "realtime"}
            )
        frame = av.VideoFrame.from_ndarray(np.full((height, width, 3), 20 + 5 * i, np.uint8), format="rgb24")
        frame.pts = i
        out += [bytes(p) for p in encoder.encode(frame.reformat(format="yuv420p"))]
    return out


@pytest.mark.parametrize(("codec", "encoder"), [(VP8, "libvpx"), (H264, "libx264")])
def test_key_frames_are_recognised(codec: RTCRtpCodecParameters, encoder: str) -> None:
    kinds = [is_key_frame(codec.name, data) for data in encode(encoder, [(64, 48)] * 3 + [(80, 48)] * 2)]
    assert kinds == [True, False, False, True, False]


class Inbox:
    """An inbox with its decoder in a thread, as aiortc runs it."""

    def __init__(self) -> None:
        self.asked = 0
        self.pictures: list[tuple[int, int, int]] = []
        self.inbox = DecoderInbox(self._ask, self._picture)

    def _ask(self) -> None:
        self.asked += 1

    def _picture(self, picture: av.VideoFrame, rtp: int, complete_ns: int) -> None:
        self.pictures.append((picture.width, picture.height, rtp))

    def put(self, encoded: bytes, rtp: int, codec: RTCRtpCodecParameters = VP8) -> None:
        self.inbox.put((codec, JitterFrame(data=encoded, timestamp=rtp)))

    def run_dry(self) -> None:
        """Decode what waits."""
        while self.inbox._frames:
            decode = threading.Thread(target=self.inbox.get)
            decode.start()
            while self.inbox._frames:
                decode.join(0.01)
            self.inbox.put(None)
            decode.join()


def test_frames_are_decoded_with_their_own_timestamps() -> None:
    inbox = Inbox()
    for i, encoded in enumerate(encode("libvpx", [(64, 48), (64, 48), (96, 64)])):
        inbox.put(encoded, 2**32 - 3000 + i * 3000)
    inbox.run_dry()
    assert inbox.pictures == [(64, 48, 2**32 - 3000), (64, 48, 2**32), (96, 64, 2**32 + 3000)]


def test_nothing_is_decoded_before_a_key_frame_which_is_asked_for_once() -> None:
    inbox = Inbox()
    key, *deltas = encode("libvpx", [(64, 48)] * 6)
    for i, encoded in enumerate(deltas):
        inbox.put(encoded, i)
    assert (inbox.asked, inbox.inbox.dropped) == (1, 5)
    inbox.put(key, 10)
    inbox.run_dry()
    assert [rtp for _, _, rtp in inbox.pictures] == [10]


def test_a_decoder_that_falls_behind_starts_again_at_a_key_frame() -> None:
    inbox = Inbox()
    frames = encode("libvpx", [(64, 48)] * (INBOX_FRAMES + 2))
    for i, encoded in enumerate(frames):
        inbox.put(encoded, i)
    assert inbox.inbox.dropped == INBOX_FRAMES + 2
    inbox.put(frames[0], 99)
    inbox.run_dry()
    assert [rtp for _, _, rtp in inbox.pictures] == [99]


def test_rubbish_is_counted_and_decoding_goes_on() -> None:
    inbox = Inbox()
    key = encode("libvpx", [(64, 48)])[0]
    inbox.put(b"\x00" * 3, 1)
    inbox.put(b"\x10\x02\x00\x9d\x01\x2a", 2)
    inbox.put(key, 3)
    inbox.run_dry()
    assert inbox.inbox.undecodable >= 1
    assert [rtp for _, _, rtp in inbox.pictures] == [3]


@pytest.mark.parametrize(("codec", "encoder"), [(VP8, "libvpx"), (H264, "libx264")])
def test_frames_beyond_4k_are_refused_and_counted(codec: RTCRtpCodecParameters, encoder: str) -> None:
    inbox = Inbox()
    big, small = encode(encoder, [(4096, 2304), (64, 48)])
    inbox.put(big, 1, codec)
    inbox.put(small, 2, codec)
    inbox.run_dry()
    assert [rtp for _, _, rtp in inbox.pictures] == [2]
    assert inbox.inbox.oversize + inbox.inbox.undecodable == 1
