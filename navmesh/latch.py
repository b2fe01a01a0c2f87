"""A calm copy of the TSDF for walking on: solid, free or unknown for each half voxel, latched against noise.

Read anew for every frame, the sign of a noisy TSDF flickers along every surface, and with it four of
five NavMesh tiles.
So a cell changes its mind only when the distance passes zero by more than the hysteresis, and its slope only when the
angle passes the agent's limit by some degrees (a Schmitt trigger each). A cell that is contradicted outright means that
something moved: its block and the blocks around it are then read afresh, without memory, so that what a removed object
leaves behind is what would be there had it never stood there.

Cells are half a voxel tall: the zero crossing between two voxel centres is interpolated to that resolution.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from mapping.changes import BLOCK_VOXELS, VoxelSource, VoxelWindow
from mapping.kernels import kernel
from navmesh.blocks import BlockKey, Column, columns_of, dilate
from navmesh.tiles import TileKey

UNKNOWN, FREE, SOLID = 0, 1, 2
STATE_MASK = 0b11
MAX_SLOPE_LIMITS = 6
"""A cell is one byte: two bits of state, then one bit "too steep" for each slope limit."""

MAX_STEP_VOXELS = 3.0
"""Between two voxels of one surface the distance changes less than this; a larger step is the edge between what one
view saw as free and the far side of something else."""

Cells = NDArray[np.uint8]
Floats = NDArray[np.float32]
CELLS_SHAPE = (BLOCK_VOXELS, BLOCK_VOXELS, 2 * BLOCK_VOXELS)
"""One block of cells: x, z, height from the bottom up."""


class Config(BaseModel):
    """How stubborn a cell is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hysteresis_m: Annotated[float, Field(ge=0)] = 0.025
    """A cell turns solid below minus this distance and free above it; 3 sigma of the TSDF's noise."""
    contradiction_m: Annotated[float, Field(gt=0)] = 0.05
    """A cell this far on the wrong side of the surface was moved, not measured badly."""
    slope_hysteresis_deg: Annotated[float, Field(ge=0, lt=45)] = 5.0
    min_weight: Annotated[float, Field(ge=0)] = 0.0
    """Voxels with no more weight than this count as unknown."""


@dataclass(frozen=True, slots=True, eq=False)
class CellWindow:
    """All cells a tile depends on: its square widened by `border_blocks`; missing blocks are unknown."""

    key: TileKey
    border_blocks: int
    column_starts: NDArray[np.int32]  # (columns + 1,) where each column's blocks begin; order of `columns_of`
    block_y: NDArray[np.int32]  # (blocks,) the j of each block, ascending within a column
    cells: Cells  # (blocks, *CELLS_SHAPE)


class LatchedCells:
    """Cells of every block seen so far, brought up to date tile by tile."""

    def __init__(self, slope_limits_deg: Sequence[float], config: Config) -> None:
        """Prepare for agents of these slope limits; bit k of a cell answers for limit k.

        Raises:
            ValueError: there are more limits than a cell has bits for.
        """
        if len(slope_limits_deg) > MAX_SLOPE_LIMITS:
            raise ValueError(f"at most {MAX_SLOPE_LIMITS} different slope limits, got {len(slope_limits_deg)}")
        self._config = config
        self._cosines = np.array([_cosines(limit, config.slope_hysteresis_deg) for limit in slope_limits_deg])
        self._slots: dict[BlockKey, int] = {}
        self._columns: dict[Column, list[int]] = {}
        self._cells: Cells = np.zeros((256, *CELLS_SHAPE), np.uint8)
        self._stale: dict[Column, dict[int, bool]] = {}

    def clear(self) -> None:
        """Forget everything: the world was moved."""
        self._slots.clear()
        self._columns.clear()
        self._stale.clear()

    def mark(self, blocks: NDArray[np.int32]) -> NDArray[np.int32]:
        """Note that the TSDF of blocks (n, 3) changed; returns all blocks (m, 3) to read again.

        A cell looks one voxel beyond its block, so the neighbours that exist are read again, too.
        """
        own = set(map(tuple, blocks.tolist()))
        stale = [key for key in map(tuple, dilate(blocks).tolist()) if key in own or key in self._slots]
        for i, j, k in stale:
            self._stale.setdefault((i, k), {}).setdefault(j, False)
        return np.array(stale, np.int32).reshape(-1, 3)

    def refresh(self, voxels: VoxelSource, columns: Sequence[Column]) -> NDArray[np.int32]:
        """Read the stale blocks of some columns; returns the blocks (n, 3) whose cells differ from before."""
        changed: list[BlockKey] = []
        while work := self._take_stale(columns):
            keys = np.array([key for key, _ in work], np.int32)
            afresh = np.array([is_afresh for _, is_afresh in work])
            slots = np.array([self._slot(key) for key, _ in work])
            old = self._cells[slots]
            new, contradicted = self._read(voxels, keys, old, afresh)
            self._cells[slots] = new
            is_changed = (new != old).any(axis=(1, 2, 3))
            changed.extend(key for (key, _), differs in zip(work, is_changed, strict=True) if differs)
            self._mark_afresh(keys[contradicted])
        return np.array(changed, np.int32).reshape(-1, 3)

    def window(self, key: TileKey, border_blocks: int) -> CellWindow:
        """Copy the cells that a tile depends on."""
        starts, block_y, slots = [0], [], []
        for i, k in columns_of(key, border_blocks):
            for j in self._columns.get((i, k), ()):
                block_y.append(j)
                slots.append(self._slots[i, j, k])
            starts.append(len(slots))
        cells = self._cells[np.array(slots, np.intp)]
        return CellWindow(key, border_blocks, np.array(starts, np.int32), np.array(block_y, np.int32), cells)

    def _take_stale(self, columns: Iterable[Column]) -> list[tuple[BlockKey, bool]]:
        return [
            ((i, j, k), is_afresh)
            for i, k in columns
            for j, is_afresh in self._stale.pop((i, k), {}).items()
        ]  # fmt: skip

    def _mark_afresh(self, contradicted: NDArray[np.int32]) -> None:
        own = set(map(tuple, contradicted.tolist()))  # these were read afresh just now
        for i, j, k in map(tuple, dilate(contradicted).tolist()):
            if (i, j, k) in self._slots and (i, j, k) not in own:
                self._stale.setdefault((i, k), {})[j] = True

    def _slot(self, key: BlockKey) -> int:
        slot = self._slots.get(key)
        if slot is None:
            slot = self._slots[key] = len(self._slots)
            i, j, k = key
            column = self._columns.setdefault((i, k), [])
            column.append(j)
            column.sort()
            if slot == len(self._cells):
                self._cells = np.concatenate([self._cells, np.zeros_like(self._cells)])
            self._cells[slot] = UNKNOWN
        return slot

    def _read(
        self, voxels: VoxelSource, keys: NDArray[np.int32], old: Cells, afresh: NDArray[np.bool_]
    ) -> tuple[Cells, NDArray[np.bool_]]:
        low = keys.min(axis=0) * BLOCK_VOXELS - 1
        high = (keys.max(axis=0) + 1) * BLOCK_VOXELS + 1
        origin = (int(low[0]), int(low[1]), int(low[2]))
        extent = high - low
        window = voxels.window(origin, (int(extent[0]), int(extent[1]), int(extent[2])))
        return latch_blocks(window, keys, old, afresh, voxels.voxel_size_m, self._cosines, self._config)


def latch_blocks(
    window: VoxelWindow,
    keys: NDArray[np.int32],
    old: Cells,
    afresh: NDArray[np.bool_],
    voxel_size_m: float,
    cosines: NDArray[np.float64],
    config: Config,
) -> tuple[Cells, NDArray[np.bool_]]:
    """Compute the new cells (n, *CELLS_SHAPE) of blocks (n, 3), and which of the blocks were contradicted.

    The window must reach one voxel beyond every block. A pure function.
    """
    new = np.empty_like(old)
    contradicted = np.zeros(len(keys), np.bool_)
    first_voxel = (keys * BLOCK_VOXELS - np.array(window.origin_voxel, np.int32)).astype(np.int64)
    _latch(
        window.tsdf_m, window.weight, first_voxel, old, afresh,
        config.min_weight, config.hysteresis_m, config.contradiction_m, MAX_STEP_VOXELS * voxel_size_m,
        cosines, new, contradicted,
    )  # fmt: skip
    return new, contradicted


def warm_up() -> None:
    """Compile the kernel on one empty block."""
    side = BLOCK_VOXELS + 2
    empty = np.zeros((side, side, side), np.float32)
    window = VoxelWindow((-1, -1, -1), empty, empty, np.zeros((side, side, side, 3), np.uint8))
    cosines = np.array([_cosines(45.0, 5.0)])
    old = np.zeros((1, *CELLS_SHAPE), np.uint8)
    latch_blocks(window, np.zeros((1, 3), np.int32), old, np.zeros(1, np.bool_), 0.05, cosines, Config())


def _cosines(limit_deg: float, hysteresis_deg: float) -> tuple[float, float, float]:
    """Cosines of the angle at which ground is too steep: at first sight, when it was not, when it was."""
    return (
        math.cos(math.radians(limit_deg)),
        math.cos(math.radians(min(limit_deg + hysteresis_deg, 90.0))),
        math.cos(math.radians(max(limit_deg - hysteresis_deg, 0.0))),
    )


@kernel
def _latch(
    tsdf_m: Floats,
    weight: Floats,
    first_voxel: NDArray[np.int64],
    old: Cells,
    afresh: NDArray[np.bool_],
    min_weight: float,
    hysteresis_m: float,
    contradiction_m: float,
    max_step_m: float,
    cosines: NDArray[np.float64],
    new: Cells,
    contradicted: NDArray[np.bool_],
) -> None:
    distance = np.empty((8, 8, 16), np.float32)  # of one block's cells; NaN = unknown
    near = np.empty((3, 3, 3), np.float32)
    for b in range(len(first_voxel)):
        x0, y0, z0 = first_voxel[b]
        _interpolate(tsdf_m, weight, x0, y0, z0, min_weight, distance)
        contradicted[b] = _contradicts(distance, old[b], contradiction_m)
        forget = afresh[b] or contradicted[b]
        for x in range(8):
            for z in range(8):
                for y in range(8):
                    cosine = 2.0  # not asked for yet
                    for h in range(2 * y, 2 * y + 2):
                        before = 0 if forget else old[b, x, z, h]
                        state = _next_state(distance[x, z, h], before & 3, hysteresis_m)
                        if state == 2:
                            i, j, k = x0 + x, y0 + y, z0 + z
                            if cosine == 2.0:
                                cosine = 1.0  # deep inside: never a surface
                                if abs(tsdf_m[i, j + 1, k] - tsdf_m[i, j, k]) > max_step_m:
                                    cosine = -1.0  # a silhouette's edge: nothing to stand on
                                elif _is_near_surface(tsdf_m, i, j, k, hysteresis_m):
                                    cosine = _up_cosine(tsdf_m, weight, i, j, k, min_weight, near)
                            state |= _steep_bits(cosine, cosines, before)
                        new[b, x, z, h] = state


@kernel
def _interpolate(
    tsdf_m: Floats, weight: Floats, x0: int, y0: int, z0: int, min_weight: float, distance: Floats
) -> None:
    """TSDF at the middle of each half voxel, from the voxel's own value and its neighbour's below or above."""
    for x in range(8):
        for y in range(8):
            for z in range(8):
                i, j, k = x0 + x, y0 + y, z0 + z
                if not _is_known(tsdf_m, weight, i, j, k, min_weight):
                    distance[x, z, 2 * y] = np.nan
                    distance[x, z, 2 * y + 1] = np.nan
                    continue
                t = tsdf_m[i, j, k]
                below = tsdf_m[i, j - 1, k] if _is_known(tsdf_m, weight, i, j - 1, k, min_weight) else t
                above = tsdf_m[i, j + 1, k] if _is_known(tsdf_m, weight, i, j + 1, k, min_weight) else t
                distance[x, z, 2 * y] = np.float32(0.75) * t + np.float32(0.25) * below
                distance[x, z, 2 * y + 1] = np.float32(0.75) * t + np.float32(0.25) * above


@kernel
def _is_known(tsdf_m: Floats, weight: Floats, i: int, j: int, k: int, min_weight: float) -> bool:
    return bool(weight[i, j, k] > min_weight and np.isfinite(tsdf_m[i, j, k]))


@kernel
def _contradicts(distance: Floats, old: Cells, contradiction_m: float) -> bool:
    for x in range(8):
        for z in range(8):
            for h in range(16):
                t = distance[x, z, h]  # comparisons with NaN are false
                state = old[x, z, h] & 3
                if (state == 2 and t > contradiction_m) or (state == 1 and t < -contradiction_m):
                    return True
    return False


@kernel
def _next_state(t: float, state: int, hysteresis_m: float) -> int:
    if np.isnan(t):
        return 0
    if state == 2:
        return 1 if t > hysteresis_m else 2
    if state == 1:
        return 2 if t < -hysteresis_m else 1
    return 2 if t < 0.0 else 1


@kernel
def _is_near_surface(tsdf_m: Floats, i: int, j: int, k: int, hysteresis_m: float) -> bool:
    """Could a cell right above this solid voxel be free?"""
    return bool(max(tsdf_m[i, j, k], tsdf_m[i, j + 1, k]) > -1.5 * hysteresis_m - 0.005)


@kernel
def _up_cosine(tsdf_m: Floats, weight: Floats, i: int, j: int, k: int, min_weight: float, near: Floats) -> float:
    """Cosine between the surface normal and up, from differences averaged over a 3 x 3 face against noise."""
    for u in range(3):
        for v in range(3):
            for w in range(3):
                x, y, z = i + u - 1, j + v - 1, k + w - 1
                near[u, v, w] = tsdf_m[x, y, z] if weight[x, y, z] > min_weight else np.nan
    gx, gy, gz = 0.0, 0.0, 0.0
    nx, ny, nz = 0, 0, 0
    for u in range(3):
        for v in range(3):
            dx = near[2, u, v] - near[0, u, v]
            dy = near[u, 2, v] - near[u, 1, v]  # upwards only: what lies under a thin board must not count
            dz = near[u, v, 2] - near[u, v, 0]
            if np.isfinite(dx):
                gx += dx
                nx += 1
            if np.isfinite(dy):
                gy += dy
                ny += 1
            if np.isfinite(dz):
                gz += dz
                nz += 1
    gx, gy, gz = gx / max(2 * nx, 1), gy / max(ny, 1), gz / max(2 * nz, 1)
    norm = math.sqrt(gx * gx + gy * gy + gz * gz)
    return gy / norm if norm > 0.0 else -1.0


@kernel
def _steep_bits(cosine: float, cosines: NDArray[np.float64], before: int) -> int:
    bits = 0
    for limit in range(len(cosines)):
        bit = 4 << limit
        threshold = cosines[limit, 0]
        if before & 3 == 2:
            threshold = cosines[limit, 2] if before & bit else cosines[limit, 1]
        if cosine < threshold:
            bits |= bit
    return bits
