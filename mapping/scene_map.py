"""The fused map of one scene: keyframes of many phones in, one metric, gravity-aligned world out.

Read it as a story: a keyframe is *observed* (what it tells about up, scale and markers is kept), *placed* (its depth
arrives, its pose becomes part of the world), *fused* (its depth goes into the volume) and, when the tracker learns
better, *corrected*. Every step returns what it changed; nothing here waits, sends or writes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from mapping import tsdf
from mapping.changes import KeyframeId, MapChange, VoxelSource
from mapping.engines import WindowPrediction
from mapping.tracker import Tracked
from mapping.transforms import F64, Sim3
from streams.frame import Frame, StreamId


class MarkerConfig(BaseModel):
    """Printed square markers in the scene."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dictionary: str = "apriltag_36h11"
    """Or an ArUco dictionary such as `aruco_4x4_50`."""
    size_m: float = Field(default=0.16, gt=0)
    """Edge of the black square."""


class Config(BaseModel):
    """How a scene's map is built."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tsdf: tsdf.Config = tsdf.Config()
    marker: MarkerConfig | None = None
    depth_side_px: int = Field(default=256, ge=32)
    """Long side at which depth is fused and kept."""
    max_keyframes: int = Field(default=1500, ge=2)
    """Keyframes kept for re-fusion; when full, the one most like its neighbours goes, its voxels stay."""


class StreamOptions(BaseModel):
    """What is known about one phone beforehand."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: Literal["own", "shared"] = "own"
    """`shared`: this phone starts at the very pose at which the map's first phone started."""
    world: str | None = None
    """Posed streams that name the same world are taken to share their coordinates."""
    camera_height_m: float | None = Field(default=None, gt=0)
    """How high above the floor the camera is carried: a scale cue."""


@dataclass(frozen=True, slots=True)
class Status:
    """How far the map can be trusted, in plain values."""

    epoch: int
    scale_source: str
    """`posed`, `marker`, `distance`, `camera_height`, or `none`: then lengths are not metres."""
    scale_sigma: float
    """Relative; inf when the source is `none`."""
    gravity_source: str
    """`posed`, `motion`, `planes`, or `cameras` (a guess from how phones are held)."""
    gravity_sigma_deg: float
    aligned: tuple[tuple[StreamId, int], ...]
    """(stream, component) that lie in the world."""
    unaligned: tuple[tuple[StreamId, int], ...]
    """(stream, component) that do not yet, and of which nothing is fused."""
    num_keyframes: int
    num_pending: int
    """Keyframes that the next calls of `fuse` will bring in."""
    num_blocks: int
    is_full: bool
    """The volume has no room for new blocks."""


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Confident depth pixels of one keyframe, in ITS camera's axes, so that they move with its pose."""

    points_camera_m: NDArray[np.float32]  # (n, 3) metres
    rgb: NDArray[np.uint8]  # (n, 3)


class SceneMap:
    """One world. One caller at a time."""

    def __init__(self, config: Config = Config()) -> None:  # noqa: B008
        raise NotImplementedError

    @property
    def voxels(self) -> VoxelSource:
        """The volume; copy windows out of it between calls, not during them."""
        raise NotImplementedError

    @property
    def status(self) -> Status:
        raise NotImplementedError

    def join(self, stream: StreamId, options: StreamOptions) -> None:
        """Tell what is known about a phone before its first keyframe; without it, the defaults hold."""
        raise NotImplementedError

    def world_from_component(self, stream: StreamId, component: int) -> Sim3 | None:
        """Where a tracker's component lies in the world; None while it does not (nothing of it is fused)."""
        raise NotImplementedError

    def observe(self, tracked: Tracked, frame: Frame) -> None:
        """Take a new keyframe in: its pose, and what it says about up, scale and markers. Needs no depth."""
        raise NotImplementedError

    def place(self, tracked: Tracked, frame: Frame, prediction: WindowPrediction | None = None) -> MapChange:
        """Give an observed keyframe its depth: the engine's, or the frame's own where `prediction` is None.

        Raises:
            ValueError: there is no depth, or it does not fit its intrinsics.
        """
        raise NotImplementedError

    def fuse(self) -> MapChange:
        """Bring pending keyframes into the volume; opens a new epoch first when up or scale are known better."""
        raise NotImplementedError

    def correct(self, tracked: Tracked) -> MapChange:
        """Take over `tracked.corrected`; keyframes that moved noticeably are fused anew by the next `fuse`."""
        raise NotImplementedError

    def declare_distance(self, a_world: F64, b_world: F64, distance_m: float) -> None:
        """Somebody measured the distance between two points (3,) of the map: a scale cue for the next `fuse`."""
        raise NotImplementedError

    def keyframe_poses(self) -> dict[KeyframeId, F64]:
        """world_from_camera (4, 4) of every placed keyframe: what a late joiner needs."""
        raise NotImplementedError

    def keyframe_points(self, keyframe: KeyframeId, max_points: int = 2000) -> Points | None:
        """A keyframe's most confident depth pixels; None when it is unknown, unaligned or no longer kept."""
        raise NotImplementedError

    def restore(self, blocks: tsdf.Blocks, epoch: int) -> None:
        """Go on from a stored volume: its world is settled, so no later cue turns or scales it."""
        raise NotImplementedError
