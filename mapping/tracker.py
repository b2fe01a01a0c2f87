"""A pose for every frame of one camera: pixels in, `component_from_camera` out, on the CPU and without weights.

Sans-I/O and deterministic: `Tracker.track` is a pure step of a state machine that never waits for anybody.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from mapping.transforms import F64
from streams.frame import Frame, Intrinsics, StreamId


@dataclass(frozen=True, slots=True, eq=False)
class Tracked:
    """What the tracker says about one frame. A component is one connected map with its own origin and scale."""

    stream: StreamId
    seq: int
    capture_ns: int
    state: Literal["starting", "tracked", "lost"]
    component: int
    """Counts the maps of this stream: one more whenever the tracker had to start anew, unconnected."""
    component_from_camera: F64 | None
    """(4, 4); None unless tracked. The unit is the component's own (metres only on posed streams)."""
    intrinsics: Intrinsics
    """The camera used, of this frame's size: given, guessed, or refined from a guess."""
    keyframe: bool = False
    """This frame became a node of the tracker's local map."""
    overlap: float = 0.0
    """Share of the reference node's landmarks that is still tracked, 0..1."""
    parallax_rad: float = 0.0
    """Median angle between the rays to the landmarks from here and from the last node."""
    inliers: int = 0
    landmarks_component: NDArray[np.float32] | None = None
    """(n, 3) on keyframes: the landmarks it sees, in the component's frame."""
    corrected: dict[int, F64] = field(default_factory=dict)
    """seq -> component_from_camera of earlier nodes that local bundle adjustment has just moved."""


class TrackerConfig(BaseModel):
    """Every length in pixels is meant on the tracking image, whose long side is at most `max_side_px`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_side_px: int = 640
    num_features: int = 450


class Tracker:
    """Follows one stream."""

    def __init__(self, stream: StreamId, config: TrackerConfig = TrackerConfig()) -> None:  # noqa: B008
        self._stream, self._config = stream, config

    def track(self, frame: Frame) -> Tracked:
        """Pose one frame; frames come in the order of their capture."""
        intrinsics = frame.intrinsics or Intrinsics.from_fov(frame.image.width, frame.image.height)
        return Tracked(frame.stream, frame.seq, frame.capture_ns, "starting", 0, None, intrinsics)


def warm_up() -> None:
    """Compile every kernel, so that the first frames of the first phone are not slow."""
