"""Latched cells to Recast's solid spans, without a triangle on the way.

What unknown means here: it is never a span, so it neither carries nor blocks. Ground is walkable where a solid cell was
seen with free air right above it (a camera always sees the air before a surface); further up, air that no camera looked
through does not take headroom away, known solid does. A solid cell under unknown is the unseen back of something: it
blocks and is never ground. Where the ground ends in the unknown, the NavMesh ends an agent's radius before it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mapping.kernels import kernel
from navmesh.latch import CELLS_SHAPE, Cells, CellWindow
from navmesh.recast import MAX_SPAN_HEIGHT, WALKABLE
from navmesh.tiles import TILE_BLOCKS, TileKey

BASE_HALF_VOXELS = 4096
"""Heights count from this many cells below y = 0, in every tile of every map (102.4 m at 5 cm voxels)."""
MAX_SPANS_PER_COLUMN = 255
"""Recast's limit; what lies above the 255th solid thing in a column is left out."""


def spans_of(window: CellWindow, slope_limit: int) -> NDArray[np.uint16]:
    """Spans (n, 5) of a window: x and z in cells from its corner, smin, smax in half voxels from the base, area.

    `slope_limit` is the index of the agent's limit among those the cells were latched for. A pure function.
    """
    side = TILE_BLOCKS + 2 * window.border_blocks
    most = max(len(window.cells) * CELLS_SHAPE[0] * CELLS_SHAPE[1] * CELLS_SHAPE[2] // 2, 1)
    spans = np.empty((most, 5), np.uint16)
    count = _spans(window.cells, window.column_starts, window.block_y, side, 4 << slope_limit, spans)
    return spans[:count]


def warm_up() -> None:
    """Compile the kernel on one column."""
    starts = np.zeros(TILE_BLOCKS**2 + 1, np.int32)
    starts[-1] = 1
    cells = np.zeros((1, *CELLS_SHAPE), np.uint8)
    spans_of(CellWindow(TileKey(0, 0), 0, starts, np.zeros(1, np.int32), cells), 0)


@kernel
def _spans(
    cells: Cells,
    column_starts: NDArray[np.int32],
    block_y: NDArray[np.int32],
    side: int,
    steep_bit: int,
    spans: NDArray[np.uint16],
) -> int:
    """Walk every column of cells from the bottom up; returns how many spans were written."""
    count = 0
    for column in range(side * side):
        first, last = column_starts[column], column_starts[column + 1]
        for x in range(8):
            for z in range(8):
                at_x, at_z = (column // side) * 8 + x, (column % side) * 8 + z
                column_begin = count
                bottom, height, top_cell = -1, 0, 0
                for b in range(first, last):
                    block_bottom = block_y[b] * 16 + BASE_HALF_VOXELS
                    if bottom >= 0 and block_bottom != height:  # no block in between: unknown above
                        count = _emit(spans, count, column_begin, at_x, at_z, bottom, height, False)
                        bottom = -1
                    height = block_bottom
                    for h in range(16):
                        cell = cells[b, x, z, h]
                        if cell & 3 == 2:
                            if bottom < 0:
                                bottom = height
                            top_cell = cell
                        elif bottom >= 0:
                            is_ground = cell & 3 == 1 and top_cell & steep_bit == 0
                            count = _emit(spans, count, column_begin, at_x, at_z, bottom, height, is_ground)
                            bottom = -1
                        height += 1
                if bottom >= 0:
                    count = _emit(spans, count, column_begin, at_x, at_z, bottom, height, False)
    return count


@kernel
def _emit(
    spans: NDArray[np.uint16], count: int, column_begin: int, x: int, z: int, bottom: int, top: int, is_ground: bool
) -> int:
    """Write one span, cut to Recast's height range."""
    low, high = max(bottom, 0), min(top, MAX_SPAN_HEIGHT)
    if low >= high or count - column_begin == MAX_SPANS_PER_COLUMN:
        return count
    spans[count, 0] = x
    spans[count, 1] = z
    spans[count, 2] = low
    spans[count, 3] = high
    spans[count, 4] = WALKABLE if is_ground and top == high else 0
    return count + 1
