from __future__ import annotations

import av
import numpy as np
import pytest

from streams.clock import NS_PER_MS
from streams.datachannel import Capture, KnownCamera, Offset, PhoneMotion
from streams.frame import Intrinsics, StreamId
from streams.framer import Framer

NOW_NS = 1_800_000_000_000_000_000
HOUR_MS = 3_600_000.0


def picture(width: int = 64, height: int = 48) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(np.zeros((height, width, 3), np.uint8), format="rgb24")


def framer() -> Framer:
    """Of a phone whose clock is an hour late."""
    made = Framer(StreamId("p"), now_ns=lambda: NOW_NS + 3 * NS_PER_MS)
    made.hear(Offset(offset_ms=HOUR_MS, rtt_ms=2.0), NOW_NS)
    return made


def test_frames_count_and_carry_the_time_the_page_gave() -> None:
    phone = framer()
    phone.hear(Capture(rtp=9000, capture_ms=NOW_NS / NS_PER_MS - HOUR_MS - 40), NOW_NS)
    first, second = phone.frame(picture(), 9000, NOW_NS), phone.frame(picture(), 9900, NOW_NS + 10 * NS_PER_MS)
    assert (first.seq, second.seq, phone.num_frames) == (0, 1, 2)
    assert first.capture_ns == pytest.approx(NOW_NS - 40 * NS_PER_MS, abs=1000)
    assert second.capture_ns - first.capture_ns == pytest.approx(10 * NS_PER_MS, abs=1000)
    assert phone.time_source == "page"
    assert phone.latency_ms == pytest.approx((3 - 7) / 2)


def test_motion_belongs_to_the_frame_nearest_in_time() -> None:
    phone = framer()
    for ago_ms, down in ((500, 1.0), (60, 2.0), (20, 0.5)):
        at_ms = NOW_NS / NS_PER_MS - HOUR_MS - ago_ms
        phone.hear(PhoneMotion(at_ms=at_ms, up=(0, -1, 0), rate=(0, down, 0)), NOW_NS)
    phone.hear(Capture(rtp=0, capture_ms=NOW_NS / NS_PER_MS - HOUR_MS - 55), NOW_NS)
    motion = phone.frame(picture(), 0, NOW_NS).motion
    assert motion is not None
    assert motion.rate_camera_rad_s is not None
    assert motion.rate_camera_rad_s.tolist() == [0, 2, 0]
    assert phone.frame(picture(), 90 * 1000, NOW_NS + 10**9).motion is None  # a second later: too old


def test_a_known_camera_is_scaled_and_not_used_for_another_shape() -> None:
    phone = framer()
    assert phone.frame(picture(), 0, NOW_NS).intrinsics is None
    phone.hear(KnownCamera(fx=640, fy=640, cx=320, cy=240, width=640, height=480), NOW_NS)
    assert phone.frame(picture(), 0, NOW_NS).intrinsics == Intrinsics(64, 64, 32, 24, 64, 48)
    assert phone.frame(picture(48, 64), 0, NOW_NS).intrinsics is None  # the phone was turned
