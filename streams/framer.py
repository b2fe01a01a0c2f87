"""Frames of decoded pictures: with the time, camera and motion that the phone's page has told of."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from statistics import median

import av
import numpy as np

from streams.clock import NS_PER_MS, ClockConfig, OffsetSample, StreamClock, TimeSource
from streams.datachannel import Capture, Info, KnownCamera, Offset, PhoneMotion
from streams.frame import Frame, Intrinsics, Motion, StreamId
from streams.pictures import image_from_video

MOTION_SAMPLES = 64
MOTION_REACH_NS = 100 * NS_PER_MS
"""A motion sample further than this from a frame's capture does not belong to it."""
ASPECT_TOLERANCE = 0.01
LATENCY_SAMPLES = 128


class Framer:
    """What is known of one phone, and its frames. The event loop tells, a decoder's thread asks."""

    def __init__(
        self,
        stream: StreamId,
        camera: Intrinsics | None = None,
        config: ClockConfig = ClockConfig(),  # noqa: B008
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._stream, self._camera, self._now_ns = stream, camera, now_ns
        self._name = ""  # of the lens in use
        self._lock = threading.Lock()
        self._clock = StreamClock(config)
        self._motions: deque[tuple[int, Motion]] = deque(maxlen=MOTION_SAMPLES)
        self._latencies_ns: deque[int] = deque(maxlen=LATENCY_SAMPLES)
        self.num_frames = 0
        self.time_source: TimeSource | None = None
        """Where the newest frame's capture time came from."""

    @property
    def latency_ms(self) -> float | None:
        """Median over the last frames, from the last packet's arrival to the finished `Frame`."""
        with self._lock:
            return median(self._latencies_ns) / NS_PER_MS if self._latencies_ns else None

    def hear(self, message: Offset | Capture | PhoneMotion | KnownCamera | Info, now_ns: int) -> None:
        """Take in what the page says."""
        with self._lock:
            match message:
                case Offset():
                    sample = OffsetSample(message.offset_ms * NS_PER_MS, message.rtt_ms * NS_PER_MS, now_ns)
                    self._clock.add_exchange(sample)
                case Capture():
                    self._clock.add_capture(message.rtp, message.capture_ms)
                case PhoneMotion():
                    at_ns = self._clock.offset.server_ns(message.at_ms, now_ns)
                    self._motions.append((now_ns if at_ns is None else at_ns, _motion(message)))
                case Info():
                    self._name = message.label
                case KnownCamera():
                    m = message
                    self._camera = Intrinsics(m.fx, m.fy, m.cx, m.cy, m.width, m.height, m.k1)

    def hear_sender_report(self, rtp: int, sender_ns: int) -> None:
        """Take in an RTCP sender report."""
        with self._lock:
            self._clock.add_sender_report(rtp, sender_ns)

    def frame(self, picture: av.VideoFrame, rtp: int, complete_ns: int) -> Frame:
        """Make a frame of a picture whose last packet arrived at `complete_ns`.

        Raises:
            ValueError: the picture has no area.
        """
        image = image_from_video(picture)
        with self._lock:
            capture = self._clock.capture(rtp, complete_ns)
            self.time_source = capture.source
            frame = Frame(
                stream=self._stream,
                seq=self.num_frames,
                capture_ns=capture.ns,
                received_ns=self._now_ns(),
                image=image,
                camera=self._name,
                intrinsics=_fitted(self._camera, image.width, image.height),
                motion=self._motion_at(capture.ns),
                encoded_ns=complete_ns,
            )
            self.num_frames += 1
            self._latencies_ns.append(frame.received_ns - complete_ns)
        return frame

    def _motion_at(self, capture_ns: int) -> Motion | None:
        if not self._motions:
            return None
        at_ns, motion = min(self._motions, key=lambda m: abs(m[0] - capture_ns))
        return motion if abs(at_ns - capture_ns) <= MOTION_REACH_NS else None


def _fitted(camera: Intrinsics | None, width: int, height: int) -> Intrinsics | None:
    """The camera at this frame size; None when the frame has another shape (turned, cropped): it is unknown then."""
    if camera is None or abs(camera.width * height / (camera.height * width) - 1) > ASPECT_TOLERANCE:
        return None
    return camera.scaled(width, height)


def _motion(message: PhoneMotion) -> Motion:
    up = None if message.up is None else np.array(message.up) / np.linalg.norm(message.up)
    return Motion(up, None if message.rate is None else np.array(message.rate))
