"""One NavMesh tile of one agent from the cells around it: a pure function, the same bytes for the same cells."""

from __future__ import annotations

import math

from mapping.changes import BLOCK_VOXELS
from navmesh.latch import CellWindow
from navmesh.recast import Agent, Config, TileFrame, build_from_spans, radius_cells
from navmesh.spans import BASE_HALF_VOXELS, spans_of
from navmesh.tiles import NavTile


def border_blocks(agent: Agent, voxel_size_m: float, config: Config) -> int:
    """How many blocks beyond its square a tile must see: the agent's radius, and one cell to tell a ledge."""
    return math.ceil((radius_cells(agent, voxel_size_m, config) + 1) / BLOCK_VOXELS)


def build_nav_tile(window: CellWindow, slope_limit: int, agent: Agent, voxel_size_m: float, config: Config) -> NavTile:
    """Turn cells into walkable polygons; `slope_limit` is the index of the agent's limit in the latched cells.

    Raises:
        ValueError: the agent is beyond Recast's limits at this voxel size.
        RuntimeError: Recast gave up.
    """
    cell_height_m = voxel_size_m / 2
    frame = TileFrame(
        key=window.key,
        cell_size_m=voxel_size_m,
        cell_height_m=cell_height_m,
        border_cells=window.border_blocks * BLOCK_VOXELS,
        grid_origin_m=(0.0, -BASE_HALF_VOXELS * cell_height_m, 0.0),
    )
    return build_from_spans(spans_of(window, slope_limit), frame, agent, config)
