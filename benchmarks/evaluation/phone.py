"""A simulated phone: which frames of a clip it films, with which camera and clock, and what it tells the server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.clips import Clip
from mapping.transforms import F64
from streams.frame import Frame, Image, Intrinsics, Motion, StreamId

MotionSamples = Literal["none", "first", "all"]
_MOTION_NOISE_DEG = 0.5
"""What is left of a phone's gravity sensor after its own filter."""


@dataclass(frozen=True, slots=True, eq=False)
class Phone:
    """Frame `i` of the clip is frame `seq = i` of the phone, so that truth is found by number."""

    name: StreamId
    clip: Clip
    frames: tuple[int, ...]
    """Numbers of the clip's frames, rising."""
    starts_s: float = 0.0
    """When its first frame is captured, on the session's clock."""
    clock_offset_s: float = 0.0
    """How wrong its time stamps are."""
    zoom: float = 1.0
    """Share of the picture's width and height that its narrower lens sees."""
    focal_error: float = 0.0
    """Relative error of the focal length that it states."""
    knows_k: bool = True
    posed: bool = False
    """It brings the recorded poses and depth."""
    motion: MotionSamples = "none"
    """Which frames bring a sample of the gravity sensor, where the clip knows where down is."""

    @classmethod
    def of(cls, clip: Clip, *, knows_k: bool = True, posed: bool = False) -> Phone:
        """A phone that films the whole clip."""
        return cls(StreamId(clip.name), clip, tuple(range(len(clip.images))), knows_k=knows_k, posed=posed)

    @property
    def camera(self) -> Intrinsics:
        """The true camera of its pictures."""
        k = self.clip.intrinsics
        w, h, left, top = self._crop()
        cropped = replace(k, cx=k.cx - left, cy=k.cy - top, width=w, height=h)
        return cropped.scaled(k.width, k.height)

    def true_pose(self, seq: int) -> F64 | None:
        """world_from_camera (4, 4) of the clip."""
        return self.clip.truth.get(seq)

    def due_s(self, seq: int) -> float:
        """When a frame is captured, on the session's clock."""
        return self.starts_s + (seq - self.frames[0]) / self.clip.fps

    def frame(self, seq: int, start_ns: int) -> Frame:
        """Decode a frame; `start_ns` is when the session began. Its clock is still right (see `clock_offset_s`)."""
        capture_ns = start_ns + round(self.due_s(seq) * 1e9)
        frame = self.clip.frame(
            seq, stream=self.name, capture_ns=capture_ns, posed=self.posed, with_intrinsics=self.knows_k
        )
        if self.zoom != 1.0:
            frame = replace(frame, image=Image(rgb=self._zoomed(frame.image.rgb)))
        if self.knows_k:
            stated = self.camera
            factor = 1 + self.focal_error
            frame = replace(frame, intrinsics=replace(stated, fx=stated.fx * factor, fy=stated.fy * factor))
        if self.motion == "all" or (self.motion == "first" and seq == self.frames[0]):
            frame = replace(frame, motion=self.motion_at(seq))
        _ = frame.image.gray  # a video decoder hands over luma for nothing; here it is the player's work
        return frame

    def stamped(self, frame: Frame) -> Frame:
        """The frame with the time that the phone's own clock shows."""
        return replace(frame, capture_ns=frame.capture_ns + round(self.clock_offset_s * 1e9))

    def true_time_ns(self, stamped: Frame) -> int:
        """When a frame was truly captured, whatever the phone's clock says."""
        return stamped.capture_ns - round(self.clock_offset_s * 1e9)

    def motion_at(self, seq: int) -> Motion | None:
        """A noisy sample of up in the camera's axes; None where truth or the clip's down is unknown."""
        pose, up = self.true_pose(seq), self.clip.up_world
        if pose is None or up is None:
            return None
        noise = np.random.default_rng(seq).normal(scale=np.radians(_MOTION_NOISE_DEG), size=3)
        sensed = pose[:3, :3].T @ up + noise
        return Motion(up_camera=sensed / np.linalg.norm(sensed))

    def _crop(self) -> tuple[int, int, int, int]:
        k = self.clip.intrinsics
        w, h = round(k.width * self.zoom), round(k.height * self.zoom)
        return w, h, (k.width - w) // 2, (k.height - h) // 2

    def _zoomed(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        w, h, left, top = self._crop()
        k = self.clip.intrinsics
        inner = rgb[top : top + h, left : left + w]
        return np.asarray(cv2.resize(inner, (k.width, k.height), interpolation=cv2.INTER_LINEAR), np.uint8)


class Reel:
    """A phone's frames in order: a `streams.sources.Source`. Counts the CPU that reading pictures took."""

    live = False
    dropped = 0
    ended_early: str | None = None

    def __init__(self, phone: Phone, start_ns: int = 0) -> None:
        self.phone, self.decode_cpu_s = phone, 0.0
        self._start_ns, self._closed = start_ns, False

    @property
    def num_frames(self) -> int | None:
        return len(self.phone.frames)

    def frames(self) -> Iterator[Frame]:
        """Deliver every frame."""
        for seq in self.phone.frames:
            if self._closed:
                return
            before_s = time.thread_time()
            frame = self.phone.frame(seq, self._start_ns)
            self.decode_cpu_s += time.thread_time() - before_s
            yield frame

    def close(self) -> None:
        """End soon."""
        self._closed = True
