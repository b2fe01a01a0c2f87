"""A calm copy of the TSDF for walking on: solid, free or unknown for each half voxel, latched against noise.

Read anew for every frame, the sign of a noisy TSDF flickers along each surface, and four of five tiles with it.
So a cell changes its mind only when the distance passes zero by more than the hysteresis, and its slope only when the
angle passes the agent's limit by some degrees (a Schmitt trigger each).

A cell that is contradicted outright, or several of one block that turn at once, mean that something moved: that block
and those around it are then read afresh, without memory, so that what a removed object leaves behind is what would be
there had it never stood there. Only where one thing stands out from another by less than the hysteresis does what was
there before linger: cells are a function of the voxels *as they were read one after the other*. Whoever reads the same
voxels in the same order has the same cells, and `LatchState` hands them on; whoever forgets them (`clear`) and reads
anew has what a first look at the voxels of now would give, whatever came before.

Cells are half a voxel tall: the zero crossing between two voxel centres is interpolated to that resolution.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from mapping.changes import BLOCK_VOXELS, VoxelSource
from navmesh import _voxels
from navmesh.tiles import TileKey

UNKNOWN, FREE, SOLID = 0, 1, 2
STATE_MASK = 0b11
MAX_SLOPE_LIMITS = 6
"""To look at, a cell is one byte: two bits of state, then one bit "too steep" for each slope limit."""

MAX_STEP_VOXELS = 3.0
"""Between two voxels of one surface the distance changes less than this; a larger step is the edge between what one
view saw as free and the far side of something else."""

Cells = NDArray[np.uint8]
CELLS_SHAPE = (BLOCK_VOXELS, BLOCK_VOXELS, 2 * BLOCK_VOXELS)
"""One block of cells: x, z, height from the bottom up."""

_BLOCKS_AT_ONCE = 512
"""What one thread reads before it looks for more."""

Run = Callable[[Callable[[int], None], Iterable[int]], Iterable[None]]
"""`map`, or an executor's."""


class Config(BaseModel):
    """How stubborn a cell is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hysteresis_m: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.025
    """A cell turns solid below minus this distance and free above it; 3 sigma of the TSDF's noise."""
    contradiction_m: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.05
    """A cell this far on the wrong side of the surface was moved, not measured badly."""
    contradiction_cells: Annotated[int, Field(ge=1)] = 6
    """So many cells of one block that turn at once were moved, too: noise turns one here and there."""
    slope_hysteresis_deg: Annotated[float, Field(ge=0, lt=45)] = 5.0
    min_weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """Voxels with no more weight than this count as unknown."""


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What came of reading the map anew."""

    changed: set[TileKey]
    """Tiles with a changed block in reach."""
    stale: set[TileKey]
    """Tiles where something moved, so that cells must be read once more."""


@dataclass(frozen=True, slots=True, eq=False)
class LatchState:
    """All that is remembered, to be handed on or stored."""

    keys: NDArray[np.int32]  # (n, 3) blocks
    planes: NDArray[
        np.uint16
    ]  # (n, 64 * (2 + slope limits)) a bit for each height: solid, free, too steep for each limit


class LatchedCells:
    """Cells of every block seen so far. One thread calls `mark` and `refresh`; between those, any may ask for spans."""

    def __init__(self, slope_limits_deg: Sequence[float], voxel_size_m: float, config: Config) -> None:
        """Prepare for agents of these slope limits; bit k of a cell answers for limit k.

        Raises:
            ValueError: there are more limits than a cell has bits for, or none.
        """
        if not 1 <= len(slope_limits_deg) <= MAX_SLOPE_LIMITS:
            raise ValueError(f"at most {MAX_SLOPE_LIMITS} different slope limits, at least one; got {slope_limits_deg}")
        self.native = _voxels.CellStore(
            config.min_weight,
            config.hysteresis_m,
            config.contradiction_m,
            config.contradiction_cells,
            MAX_STEP_VOXELS * voxel_size_m,
            [_cosines(limit, config.slope_hysteresis_deg) for limit in slope_limits_deg],
        )
        """What `spans` walks through."""

    @property
    def nbytes(self) -> int:
        """Memory it takes."""
        return self.native.nbytes

    def clear(self) -> None:
        """Forget everything: the world was moved."""
        self.native.clear()

    def state(self) -> LatchState:
        """A copy of what is remembered."""
        return LatchState(*self.native.state())

    def restore(self, state: LatchState) -> None:
        """Remember what another one did.

        Raises:
            ValueError: that one had another number of slope limits, or the arrays do not fit together.
        """
        keys, planes = np.ascontiguousarray(state.keys, np.int32), np.ascontiguousarray(state.planes, np.uint16)
        self.native.restore(keys, planes)

    def mark(self, blocks: NDArray[np.int32]) -> set[TileKey]:
        """Note that the TSDF of blocks (n, 3) changed; returns the tiles whose cells must be read again.

        A cell looks one voxel beyond its block, so the neighbours that exist are read again, too.
        """
        return _tile_keys(self.native.mark(np.ascontiguousarray(blocks, np.int32)))

    def refresh(
        self, voxels: VoxelSource, tiles: Iterable[TileKey], reach_blocks: int = 0, run: Run = map
    ) -> Refreshed:
        """Read the stale blocks of some tiles; a changed block counts for every tile it is within `reach_blocks` of."""
        num_picked, keys = self.native.begin(list(tiles))
        lent = voxels.lend(keys)

        def latch(first: int) -> None:
            last = min(first + _BLOCKS_AT_ONCE, num_picked)
            self.native.latch(first, last, lent.rows, lent.tsdf_m, lent.weight, lent.known_weight)

        for _ in run(latch, range(0, num_picked, _BLOCKS_AT_ONCE)):
            pass
        changed, stale = self.native.finish(reach_blocks)
        return Refreshed(_tile_keys(changed), _tile_keys(stale))

    def get(self, keys: NDArray[np.int32]) -> Cells:
        """Cells (n, *CELLS_SHAPE) of blocks (n, 3); those of unknown blocks are unknown."""
        return self.native.get(np.ascontiguousarray(keys, np.int32))

    def put(self, keys: NDArray[np.int32], cells: Cells) -> None:
        """Set the cells (n, *CELLS_SHAPE) of blocks (n, 3) as if they had been read."""
        self.native.put(np.ascontiguousarray(keys, np.int32), np.ascontiguousarray(cells))


def _tile_keys(tiles: Iterable[Sequence[int]]) -> set[TileKey]:
    return {TileKey(x, z) for x, z in tiles}


def _cosines(limit_deg: float, hysteresis_deg: float) -> tuple[float, float, float]:
    """Cosines of the angle at which ground is too steep: at first sight, when it was not, when it was."""
    return (
        math.cos(math.radians(limit_deg)),
        math.cos(math.radians(min(limit_deg + hysteresis_deg, 90.0))),
        math.cos(math.radians(max(limit_deg - hysteresis_deg, 0.0))),
    )
