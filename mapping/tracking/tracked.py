"""What a tracker says: where the camera was in a frame, and where it had been in earlier ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mapping.transforms import F64
from streams.frame import Intrinsics, StreamId


@dataclass(frozen=True, slots=True, eq=False)
class Backfilled:
    """Where an earlier frame was, known only now."""

    seq: int
    capture_ns: int
    component_from_camera: F64  # (4, 4)


@dataclass(frozen=True, slots=True, eq=False)
class Tracked:
    """What the tracker says about one frame. A component is one connected map with its own origin and scale."""

    stream: StreamId
    seq: int
    capture_ns: int
    state: Literal["starting", "tracked", "lost"]
    component: int
    """Numbers the maps of this stream: a new one whenever the tracker had to start anew, unconnected."""
    component_from_camera: F64 | None
    """(4, 4). The unit is the component's own (metres only on posed streams). None when lost; while `starting` only the
    turn of a camera that has hardly moved, in the frame of the map to come."""
    intrinsics: Intrinsics
    """The camera used, of this frame's size: given, guessed, or refined from a guess."""
    keyframe: bool = False
    """This frame becomes a node of the tracker's local map."""
    overlap: float = 0.0
    """Share of the reference node's landmarks that is still tracked, 0..1."""
    parallax_rad: float = 0.0
    """Median angle between the rays to the landmarks from here and from the last node."""
    inliers: int = 0
    """Landmarks that agree; 0 while a gyro carries the pose through a moment in which nothing can be seen."""
    landmarks_component: NDArray[np.float32] | None = None
    """(n, 3) on keyframes that the map has taken in: the landmarks it sees, in the component's frame."""
    corrected: dict[int, F64] = field(default_factory=dict)
    """seq -> component_from_camera of earlier nodes that local bundle adjustment has just moved."""
    backfilled: tuple[Backfilled, ...] = ()
    """Earlier frames, answered `starting` or `lost`, that the new map could pose; oldest first."""
