"""One NavMesh tile of one agent from the cells around it: a pure function, the same bytes for the same cells."""

from __future__ import annotations

import math

from mapping.changes import BLOCK_VOXELS
from navmesh.latch import LatchedCells
from navmesh.recast import Agent, Config, TileFrame, build_from_spans, climb_cells, radius_cells
from navmesh.spans import BASE_HALF_VOXELS, REACH_CELLS, spans_of
from navmesh.spans import Config as SpanConfig
from navmesh.tiles import NavTile, TileKey


def border_cells(agent: Agent, voxel_size_m: float, config: Config) -> int:
    """How far beyond its square Recast must see: the agent's radius; a ledge; and, so that edges between tiles are
    drawn as edges between regions and not as walls, a strip that survives both."""
    return radius_cells(agent, voxel_size_m, config) + 3


def border_blocks(agent: Agent, voxel_size_m: float, config: Config) -> int:
    """How many blocks beyond its square a tile depends on."""
    return math.ceil((border_cells(agent, voxel_size_m, config) + REACH_CELLS) / BLOCK_VOXELS)


def build_nav_tile(
    cells: LatchedCells,
    key: TileKey,
    slope_limit: int,
    agent: Agent,
    voxel_size_m: float,
    config: Config,
    span_config: SpanConfig,
) -> NavTile:
    """Turn cells into walkable polygons; `slope_limit` is the index of the agent's limit in the latched cells.

    Raises:
        ValueError: the agent is beyond Recast's limits at this voxel size.
        RuntimeError: Recast gave up.
    """
    cell_height_m = voxel_size_m / 2
    frame = TileFrame(
        key=key,
        cell_size_m=voxel_size_m,
        cell_height_m=cell_height_m,
        border_cells=border_cells(agent, voxel_size_m, config),
        grid_origin_m=(0.0, -BASE_HALF_VOXELS * cell_height_m, 0.0),
    )
    steps = climb_cells(agent, cell_height_m)
    spans = spans_of(cells, key, frame.border_cells, slope_limit, span_config, steps)
    return build_from_spans(spans, frame, agent, config)
