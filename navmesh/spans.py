"""Latched cells to Recast's solid spans, without a triangle on the way.

What unknown means here: it is never a span, so it neither carries nor blocks. Ground is walkable where a solid cell was
seen with free air right above it (a camera always sees the air before a surface); further up, air that no camera looked
through does not take headroom away, known solid does. A solid cell under unknown is the unseen back of something: it
blocks and is never ground. Where the ground ends in the unknown, the NavMesh ends an agent's radius before it.

What kind of ground it is follows from the heights around it alone, for every agent alike (lengths at 5 cm voxels; they
scale with the voxel). `STAIRS` are level treads, 0.15 to 0.5 m deep along x or z, between two similar risers of 7.5 to
30 cm that go the same way: from the foot of the first riser to the last one. `RAMP` is what rises by some 8 degrees or
more along x or z, for at least 0.4 m and with no step above 10 cm. The rest, single steps and landings too, is `FLOOR`.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from navmesh import _voxels
from navmesh.latch import LatchedCells
from navmesh.tiles import TileKey

BASE_HALF_VOXELS = _voxels.BASE_CELLS
"""Heights count from this many cells below y = 0, in every tile of every map (102.4 m at 5 cm voxels)."""
MAX_SPANS_PER_COLUMN = 255
"""Recast's limit; what lies above the 255th solid thing in a column is left out."""
REACH_CELLS = _voxels.SPAN_REACH
"""How far around a column `spans_of` looks."""


class Config(BaseModel):
    """What is too small to believe."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    speck_voxels: Annotated[int, Field(ge=0)] = 10
    """A solid thing with fewer voxels than this, and in fewer than four of the 3 x 3 columns around it, is a stray
    measurement and no obstacle. Nor is what frays from a wall: thin things over ground, no more than a column wide.
    0 = everything is believed."""
    bridge_cells: Annotated[int, Field(ge=0, le=4)] = 4
    """Gaps in the ground this wide, with ground of the same height on both sides, are taken for ground nobody measured,
    unless air was seen in them. Too narrow for a person to fall into, whatever they are."""
    areas: bool = True
    """Tell stairs and ramps from floor; otherwise all ground is floor."""


def spans_of(
    cells: LatchedCells, key: TileKey, border_cells: int, slope_limit: int, config: Config, step_cells: int = 0
) -> NDArray[np.uint16]:
    """Spans (n, 5) of a tile and `border_cells` around it: a pure function of the cells there and `REACH_CELLS` beyond.

    Columns: x and z in cells from the corner of the border, smin, smax in half voxels from the base, area (0 or a kind
    of ground, see `navmesh.tiles`).
    `slope_limit` is the index of the agent's limit among those the cells were latched for. `step_cells` is how high it
    steps: what leans between two level grounds no further apart is the edge of a step, and walkable. Releases the GIL.

    Raises:
        ValueError: no such slope limit, or a border of more than 1024 cells.
    """
    specks = 2 * config.speck_voxels
    return cells.native.spans(*key, border_cells, slope_limit, specks, config.bridge_cells, config.areas, step_cells)
