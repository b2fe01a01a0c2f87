"""Latched cells to Recast's solid spans, without a triangle on the way.

What unknown means here: it is never a span, so it neither carries nor blocks. Ground is walkable where a solid cell was
seen with free air right above it (a camera always sees the air before a surface); further up, air that no camera looked
through does not take headroom away, known solid does. A solid cell under unknown is the unseen back of something: it
blocks and is never ground. Where the ground ends in the unknown, the NavMesh ends an agent's radius before it.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from mapping.changes import BLOCK_VOXELS
from mapping.kernels import kernel
from navmesh import latch
from navmesh.latch import CELLS_SHAPE, Cells, CellWindow
from navmesh.recast import MAX_SPAN_HEIGHT, WALKABLE
from navmesh.tiles import TILE_BLOCKS, TileKey

BASE_HALF_VOXELS = 4096
"""Heights count from this many cells below y = 0, in every tile of every map (102.4 m at 5 cm voxels)."""
MAX_SPANS_PER_COLUMN = 255
"""Recast's limit; what lies above the 255th solid thing in a column is left out."""


_STEEP = 1
"""Area, while spans are being made, of what was seen from above but leans too much."""


class Config(BaseModel):
    """What is too small to believe."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    speck_voxels: Annotated[int, Field(ge=0)] = 10
    """A solid thing with fewer voxels than this, and in fewer than four of the 3 x 3 columns around it, is a stray
    measurement and no obstacle."""
    bridge_cells: Annotated[int, Field(ge=0, le=4)] = 2
    """Gaps in the ground this wide, with ground of the same height on both sides, are taken for ground nobody measured,
    unless air was seen in them."""


def spans_of(window: CellWindow, border_cells: int, slope_limit: int, config: Config) -> NDArray[np.uint16]:
    """Spans (n, 5) of a tile and `border_cells` around it; what more the window holds only lends its voice.

    Columns: x and z in cells from the corner of the border, smin, smax in half voxels from the base, area.
    `slope_limit` is the index of the agent's limit among those the cells were latched for. A pure function.

    Raises:
        ValueError: the window does not reach far enough beyond the border.
    """
    margin = window.border_blocks * BLOCK_VOXELS - border_cells
    if margin < max(config.bridge_cells, 1):
        raise ValueError(f"a window of {window.border_blocks} border blocks is too narrow for {border_cells} cells")
    side = TILE_BLOCKS + 2 * window.border_blocks
    most = max(len(window.cells) * CELLS_SHAPE[0] * CELLS_SHAPE[1] * CELLS_SHAPE[2] // 2, 1)
    spans = np.empty((most, 5), np.int32)
    starts = np.empty((side * BLOCK_VOXELS, side * BLOCK_VOXELS), np.int32)
    counts = np.empty_like(starts)
    count = _spans(window.cells, window.column_starts, window.block_y, side, 4 << slope_limit, spans, starts, counts)
    _forgive_edges(spans, count, starts, counts)
    _level(spans, count, starts, counts)
    total = _bridge_gaps(
        window.cells, window.column_starts, window.block_y, side, spans, count, starts, counts, config.bridge_cells
    )
    left = _without_specks(spans[:total], count, starts, counts, margin, 2 * config.speck_voxels)
    return spans[:left].astype(np.uint16)


def warm_up() -> None:
    """Compile the kernels between voxels and spans."""
    latch.warm_up()
    starts = np.zeros((TILE_BLOCKS + 2) ** 2 + 1, np.int32)
    starts[-1] = 1
    cells = np.zeros((1, *CELLS_SHAPE), np.uint8)
    spans_of(CellWindow(TileKey(0, 0), 1, starts, np.zeros(1, np.int32), cells), 0, 0, Config())


@kernel
def _spans(
    cells: Cells,
    column_starts: NDArray[np.int32],
    block_y: NDArray[np.int32],
    side: int,
    steep_bit: int,
    spans: NDArray[np.int32],
    starts: NDArray[np.int32],
    counts: NDArray[np.int32],
) -> int:
    """Walk every column of cells from the bottom up; returns how many spans were written; fills in where they are."""
    count = 0
    for column in range(side * side):
        first, last = column_starts[column], column_starts[column + 1]
        for x in range(8):
            for z in range(8):
                at_x, at_z = (column // side) * 8 + x, (column % side) * 8 + z
                begin = count
                bottom, height, top_cell = -1, 0, 0
                for b in range(first, last):
                    block_bottom = block_y[b] * 16 + BASE_HALF_VOXELS
                    if bottom >= 0 and block_bottom != height:  # no block in between: unknown above
                        count = _emit(spans, count, begin, at_x, at_z, bottom, height, 0)
                        bottom = -1
                    height = block_bottom
                    for h in range(16):
                        cell = cells[b, x, z, h]
                        if cell & 3 == 2:
                            if bottom < 0:
                                bottom = height
                            top_cell = cell
                        elif bottom >= 0:
                            area = 0
                            if cell & 3 == 1:
                                area = _STEEP if top_cell & steep_bit else WALKABLE
                            count = _emit(spans, count, begin, at_x, at_z, bottom, height, area)
                            bottom = -1
                        height += 1
                if bottom >= 0:
                    count = _emit(spans, count, begin, at_x, at_z, bottom, height, 0)
                starts[at_x, at_z], counts[at_x, at_z] = begin, count - begin
    return count


@kernel
def _forgive_edges(spans: NDArray[np.int32], count: int, starts: NDArray[np.int32], counts: NDArray[np.int32]) -> None:
    """Call steep ground level where level ground of the same height lies within two columns.

    The gradient at the edge of a step, or at the foot of a wall, is that of both sides: it leans where nothing leans.
    A slope that is truly too steep rises more than this within one column.
    """
    measured = spans[:count].copy()
    for s in range(count):
        x, z, top = measured[s, 0], measured[s, 1], measured[s, 3]
        if measured[s, 4] != _STEEP or not (2 <= x < len(starts) - 2 and 2 <= z < len(starts) - 2):
            continue
        for dx in range(-2, 3):
            for dz in range(-2, 3):
                begin = starts[x + dx, z + dz]
                for other in range(begin, begin + counts[x + dx, z + dz]):
                    if measured[other, 4] == WALKABLE and abs(measured[other, 3] - top) <= 1:
                        spans[s, 4] = WALKABLE


@kernel
def _level(spans: NDArray[np.int32], count: int, starts: NDArray[np.int32], counts: NDArray[np.int32]) -> None:
    """Bring ground that stands out by one cell to the height that most of the eight columns around it share."""
    measured = spans[:count].copy()
    for x in range(1, len(starts) - 1):
        for z in range(1, len(starts) - 1):
            for s in range(starts[x, z], starts[x, z] + counts[x, z]):
                if measured[s, 4] != WALKABLE:
                    continue
                top = measured[s, 3]
                higher, lower = 0, 0
                for dx in range(-1, 2):
                    for dz in range(-1, 2):
                        there = _ground_at(measured, starts[x + dx, z + dz], counts[x + dx, z + dz], top)
                        higher += there == top + 1
                        lower += there == top - 1
                if higher >= 5:
                    spans[s, 3] = top + 1
                elif lower >= 5 and top - 1 > measured[s, 2]:
                    spans[s, 3] = top - 1


@kernel
def _bridge_gaps(
    cells: Cells,
    column_starts: NDArray[np.int32],
    block_y: NDArray[np.int32],
    side: int,
    spans: NDArray[np.int32],
    count: int,
    starts: NDArray[np.int32],
    counts: NDArray[np.int32],
    gap: int,
) -> int:
    """Lay ground across gaps along x or z of at most `gap` columns; returns the new number of spans."""
    measured = spans[:count].copy()  # what is laid here must not carry the next bridge
    for x in range(gap, len(starts) - gap):
        for z in range(gap, len(starts) - gap):
            for along_x in range(2):
                dx, dz = along_x, 1 - along_x
                for back in range(1, gap + 1):
                    begin = starts[x - back * dx, z - back * dz]
                    for s in range(begin, begin + counts[x - back * dx, z - back * dz]):
                        level = measured[s, 3]
                        if measured[s, 4] != WALKABLE or _ground_at(measured, starts[x, z], counts[x, z], level) >= 0:
                            continue
                        for ahead in range(1, gap + 2 - back):
                            there_x, there_z = x + ahead * dx, z + ahead * dz
                            there = _ground_at(measured, starts[there_x, there_z], counts[there_x, there_z], level)
                            if there >= 0:
                                floor = (level + there) // 2
                                if _lies_open(cells, column_starts, block_y, side, x, z, floor):
                                    break
                                count = _lay(spans, count, len(measured), starts[x, z], counts[x, z], x, z, floor)
                                break
    return count


@kernel
def _ground_at(spans: NDArray[np.int32], begin: int, count: int, level: int) -> int:
    """Height of a column's ground within two half voxels of a level; -1 = there is none."""
    for s in range(begin, begin + count):
        if spans[s, 4] == WALKABLE and abs(spans[s, 3] - level) <= 2:
            return int(spans[s, 3])
    return -1


@kernel
def _lies_open(
    cells: Cells, column_starts: NDArray[np.int32], block_y: NDArray[np.int32], side: int, x: int, z: int, level: int
) -> bool:
    """Was air seen right below this level? Then the gap is a hole."""
    column = (x // 8) * side + z // 8
    for b in range(column_starts[column], column_starts[column + 1]):
        h = level - 3 - (block_y[b] * 16 + BASE_HALF_VOXELS)
        if 0 <= h < 16:
            return bool(cells[b, x % 8, z % 8, h] & 3 == 1)
    return False


@kernel
def _lay(
    spans: NDArray[np.int32], count: int, num_measured: int, begin: int, num: int, x: int, z: int, level: int
) -> int:
    """Make ground at a level of one column, out of the solid that ends there if some does, unless solid fills it."""
    laid = count - 1  # this column's bridges are the last ones
    while laid >= num_measured and spans[laid, 0] == x and spans[laid, 1] == z:
        if abs(spans[laid, 3] - level) <= 2:
            return count
        laid -= 1
    for s in range(begin, begin + num):
        bottom, top = spans[s, 2], spans[s, 3]
        if abs(top - level) <= 2:
            spans[s, 4] = WALKABLE
            return count
        if bottom < level < top:
            return count
    if count == len(spans) or level < 1:
        return count
    return _emit(spans, count, count, x, z, level - 1, level, WALKABLE)


@kernel
def _without_specks(
    spans: NDArray[np.int32],
    num_measured: int,
    starts: NDArray[np.int32],
    counts: NDArray[np.int32],
    margin: int,
    least_cells: int,
) -> int:
    """Cut the margin off and drop every speck, in place; returns how many spans are left.

    The first `num_measured` spans are those that `starts` and `counts` speak of; the others bridge gaps.
    """
    end = len(starts) - margin
    keep = np.zeros(len(spans), np.bool_)
    for s in range(len(spans)):
        x, z = spans[s, 0], spans[s, 1]
        if margin <= x < end and margin <= z < end:
            is_bridge = s >= num_measured
            keep[s] = is_bridge or _has_company(spans, starts, counts, x, z, s, least_cells)
    left = 0
    for s in range(len(spans)):
        if keep[s]:
            spans[left] = spans[s]
            spans[left, 0] -= margin
            spans[left, 1] -= margin
            if spans[left, 4] == _STEEP:
                spans[left, 4] = 0
            left += 1
    return left


@kernel
def _has_company(
    spans: NDArray[np.int32],
    starts: NDArray[np.int32],
    counts: NDArray[np.int32],
    x: int,
    z: int,
    s: int,
    least_cells: int,
) -> bool:
    """Is a span part of something with volume or area, among the spans around it that touch its heights?"""
    volume, columns = 0, 0
    for dx in range(-1, 2):
        for dz in range(-1, 2):
            begin = starts[x + dx, z + dz]
            before = volume
            for other in range(begin, begin + counts[x + dx, z + dz]):
                if spans[other, 2] <= spans[s, 3] and spans[other, 3] >= spans[s, 2]:
                    volume += spans[other, 3] - spans[other, 2]
            columns += volume > before
            if volume >= least_cells or columns >= 4:
                return True
    return False


@kernel
def _emit(
    spans: NDArray[np.int32], count: int, column_begin: int, x: int, z: int, bottom: int, top: int, area: int
) -> int:
    """Write one span, cut to Recast's height range."""
    low, high = max(bottom, 0), min(top, MAX_SPAN_HEIGHT)
    if low >= high or count - column_begin == MAX_SPANS_PER_COLUMN:
        return count
    spans[count, 0] = x
    spans[count, 1] = z
    spans[count, 2] = low
    spans[count, 3] = high
    spans[count, 4] = area if top == high else 0
    return count + 1
