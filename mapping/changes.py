"""What one step changed in a map, and the window through which the floors above look at its voxels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NewType, Protocol

import numpy as np
from numpy.typing import NDArray

from mapping.transforms import Sim3
from streams.frame import StreamId

KeyframeId = NewType("KeyframeId", str)
"""`<stream>/<seq>`: the frame it was made from."""


def stream_of(keyframe: KeyframeId) -> StreamId:
    """Whose frame it was."""
    return StreamId(keyframe.rpartition("/")[0])


def seq_of(keyframe: KeyframeId) -> int:
    """Number of the frame."""
    return int(keyframe.rpartition("/")[2])


BLOCK_VOXELS = 8
"""A TSDF block is a cube of 8^3 voxels; BlockKey (i, j, k) covers voxels 8i .. 8i+7 along x, and so on."""


@dataclass(frozen=True, slots=True, eq=False)
class VoxelWindow:
    """A dense box of voxels, axes (x, y, z); voxel (i, j, k) of the world has its centre at (i, j, k) + 0.5 sizes."""

    origin_voxel: tuple[int, int, int]
    tsdf_m: NDArray[np.float32]  # (nx, ny, nz) signed distance, + in front of the surface, truncated
    weight: NDArray[np.float32]  # (nx, ny, nz) 0 = never observed: unknown, neither free nor solid
    rgb: NDArray[np.uint8]  # (nx, ny, nz, 3)


@dataclass(frozen=True, slots=True, eq=False)
class VoxelBlocks:
    """Blocks of voxels where they lie, without a copy: to be read at once, before the map changes again."""

    rows: NDArray[np.int64]  # (n,) where each block asked for stands in the arrays below; -1 = there is no such block
    tsdf_m: NDArray[np.float32]  # (m, 8, 8, 8) axes (x, y, z)
    weight: NDArray[np.float32]  # (m, 8, 8, 8)
    known_weight: float
    """Voxels with less weight than this are unknown, and those with none."""


class VoxelSource(Protocol):
    """A map's voxels in world axes; what navmesh needs of mapping."""

    @property
    def voxel_size_m(self) -> float: ...

    @property
    def truncation_m(self) -> float: ...

    def window(self, origin_voxel: tuple[int, int, int], shape: tuple[int, int, int]) -> VoxelWindow:
        """Copy a box of voxels; those of blocks that do not exist have weight 0."""
        ...

    def block_keys(self) -> NDArray[np.int32]:
        """(n, 3) keys of every block that exists."""
        ...

    def lend(self, keys: NDArray[np.int32]) -> VoxelBlocks:
        """Show the voxels of blocks (n, 3) in place."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class MapChange:
    """What one step changed. Empty fields mean "this did not change"."""

    epoch: int
    """Counts corrections of the whole map; geometry of different epochs does not mix."""
    poses: dict[KeyframeId, NDArray[np.float64]] = field(default_factory=dict)
    """world_from_camera (4, 4) of keyframes that were added or moved."""
    dirty_blocks: NDArray[np.int32] = field(default_factory=lambda: np.empty((0, 3), np.int32))
    """(n, 3) BlockKeys whose voxels changed."""
    new_from_old: Sim3 | None = None
    """Set when this change opened a new epoch: where points of the old world lie in the new one."""
    reason: str = ""
    """Why the epoch changed: `gravity`, `scale`, `marker`, `loop`, `merge`."""
