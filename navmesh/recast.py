"""Recast and Detour in metres: the only file that touches the extension, its voxel units and its limits.

Built against the library of 2021 that Debian and Ubuntu ship as well as newer ones: the stage in which they differ, the
filters for headroom and ledges, is our own (`native/surface.cpp`). https://github.com/recastnavigation/recastnavigation
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from navmesh import _recast
from navmesh.tiles import FLOOR, RAMP, STAIRS, TILE_CELLS, NavTile, TileKey

Point = tuple[float, float, float]
Revisions = dict[TileKey, int]
"""Tiles that an answer rests on, in the order they are met, and the revision each had."""

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]

MAX_SPAN_HEIGHT = _recast.MAX_SPAN_HEIGHT
WALKABLE = FLOOR
"""Area of ground whose kind nobody told; 0 = cannot be walked on."""

_EPSILON = 1e-6  # 0.25 m / 0.05 m must stay five cells


Cost = Annotated[float, Field(ge=1, allow_inf_nan=False)]


class AreaCosts(BaseModel):
    """What a metre on each kind of ground counts for when the best way is chosen; nothing is cheaper than a metre."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    floor: Cost = 1.0
    stairs: Cost = 1.0
    ramp: Cost = 1.0

    def by_area(self) -> list[tuple[int, float]]:
        return [(FLOOR, self.floor), (STAIRS, self.stairs), (RAMP, self.ramp)]


NO_PREFERENCE = AreaCosts()


class Agent(BaseModel):
    """Who walks: a cylinder that climbs. Each profile has a NavMesh of its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=64)] = "human"
    radius_m: Positive = 0.25
    height_m: Positive = 1.7
    max_climb_m: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.25
    max_slope_deg: Annotated[float, Field(gt=0, lt=90)] = 45.0
    area_costs: AreaCosts = NO_PREFERENCE


class Config(BaseModel):
    """How finely Recast draws what can be walked on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    partition: Literal["watershed", "monotone", "layers"] = "monotone"
    """In rooms `monotone` takes three fifths of the time of `watershed` for as many polygons; `layers` mixes area types
    in Recast before 2023."""
    min_region_m2: Annotated[float, Field(ge=0)] = 0.15
    """Walkable islands inside a tile smaller than this are dropped."""
    merge_region_m2: Annotated[float, Field(ge=0)] = 1.0
    contour_error_cells: Annotated[float, Field(ge=0)] = 1.3
    """How far a polygon's edge may stray from the cells' edge."""
    radius_margin_cells: Annotated[float, Field(ge=0)] = 1.5
    """Added to the agent's radius, so that the contour error never eats into the promised clearance."""
    detail: bool = True
    """Give Detour a height for every 0.3 m, not only for each corner."""


@dataclass(frozen=True, slots=True)
class TileFrame:
    """Where one tile's cells lie in the world: cell (0, 0) is the corner of the border, heights count from the base."""

    key: TileKey
    cell_size_m: float
    cell_height_m: float
    border_cells: int
    tile_cells: int = TILE_CELLS
    grid_origin_m: Point = (0.0, 0.0, 0.0)
    """World position of the corner of tile (0, 0) at height 0."""

    @property
    def side_cells(self) -> int:
        return self.tile_cells + 2 * self.border_cells

    @property
    def origin_m(self) -> Point:
        """World position of the low corner of cell (0, 0); every tile computes it in the same way."""
        x, y, z = self.grid_origin_m
        return (
            x + (self.key.x * self.tile_cells - self.border_cells) * self.cell_size_m,
            y,
            z + (self.key.z * self.tile_cells - self.border_cells) * self.cell_size_m,
        )


def radius_cells(agent: Agent, cell_size_m: float, config: Config) -> int:
    """How many cells are taken off the walkable area's rim."""
    return math.ceil(agent.radius_m / cell_size_m + config.radius_margin_cells - _EPSILON)


def height_cells(agent: Agent, cell_height_m: float) -> int:
    """How many cells of headroom the agent needs.

    Raises:
        ValueError: more, or fewer, than Recast can count.
    """
    cells = math.ceil(agent.height_m / cell_height_m - _EPSILON)
    if not 3 <= cells < 255:
        raise ValueError(
            f"agent {agent.name!r}: a height of {agent.height_m} m is {cells} cells of {cell_height_m} m; "
            "Recast takes 3 to 254, so choose another height or voxel size"
        )
    return cells


def climb_cells(agent: Agent, cell_height_m: float) -> int:
    """How many cells the agent steps up or down."""
    return math.floor(agent.max_climb_m / cell_height_m + _EPSILON)


def build_from_spans(spans: NDArray[np.uint16], frame: TileFrame, agent: Agent, config: Config) -> NavTile:
    """Build one tile from solid spans (n, 5): x, z, smin, smax in cells, area (0 or a kind of ground).

    Releases the GIL.

    Raises:
        ValueError: the agent is beyond Recast's limits at this cell size, or a span lies outside the frame.
        RuntimeError: Recast gave up.
    """
    field = _heightfield(frame)
    field.add_spans(spans)
    return _nav_tile(field.build(_params(frame, agent, config)), frame, agent)


def build_from_triangles(
    vertices_m: NDArray[np.float32], triangles: NDArray[np.int32], frame: TileFrame, agent: Agent, config: Config
) -> NavTile:
    """Build one tile from a mesh, (n, 3) world metres and (m, 3) indices, for worlds that never were voxels.

    Raises:
        ValueError: as `build_from_spans`, or a vertex is not finite, or an index is out of range.
        RuntimeError: Recast gave up.
    """
    params = _params(frame, agent, config)
    params.filter_low_hanging = True  # curbs and stairs are separate triangles here
    field = _heightfield(frame)
    field.rasterize(vertices_m, triangles, agent.max_slope_deg, params.walkable_climb)
    return _nav_tile(field.build(params), frame, agent)


def _heightfield(frame: TileFrame) -> _recast.Heightfield:
    side = frame.side_cells
    return _recast.Heightfield(side, side, frame.origin_m, frame.cell_size_m, frame.cell_height_m)


def _params(frame: TileFrame, agent: Agent, config: Config) -> _recast.TileParams:
    height = height_cells(agent, frame.cell_height_m)
    params = _recast.TileParams()
    params.tile_x, params.tile_z = frame.key
    params.border = frame.border_cells
    params.walkable_height = height
    params.walkable_climb = climb_cells(agent, frame.cell_height_m)
    params.walkable_radius = radius_cells(agent, frame.cell_size_m, config)
    params.partition = _recast.Partition[config.partition]
    cells_per_m2 = 1.0 / frame.cell_size_m**2
    params.min_region_area = round(config.min_region_m2 * cells_per_m2)
    params.merge_region_area = round(config.merge_region_m2 * cells_per_m2)
    params.max_contour_error = config.contour_error_cells
    params.detail = config.detail
    params.detail_sample_m = 6 * frame.cell_size_m
    params.detail_error_m = 1.5 * frame.cell_height_m  # a single cell that flickers by one does not show
    params.agent_height_m = agent.height_m
    params.agent_radius_m = agent.radius_m
    params.agent_climb_m = agent.max_climb_m
    return params


def _nav_tile(tile: _recast.Tile, frame: TileFrame, agent: Agent) -> NavTile:
    x, y, z = tile.origin
    return NavTile(
        key=frame.key,
        agent=agent.name,
        origin_m=(x, y, z),
        cell_size_m=frame.cell_size_m,
        cell_height_m=frame.cell_height_m,
        verts=tile.verts,
        polys=tile.polys,
        neighbours=tile.neighbours,
        areas=tile.areas,
        blob=tile.blob,
    )


@dataclass(frozen=True, slots=True)
class Standing:
    """A place where an agent can stand."""

    point_m: Point
    revisions: Revisions
    area: int
    """The kind of ground: `FLOOR`, `STAIRS` or `RAMP` of `navmesh.tiles`."""


@dataclass(frozen=True, slots=True, eq=False)
class Reach:
    """Where one can get by walking no farther than asked for; the polygon one stands on is the first."""

    tiles: NDArray[np.int32]  # (n, 2) key (x, z) of each polygon's tile
    polygons: NDArray[np.int32]  # (n,) row of `NavTile.polys`
    walk_m: NDArray[np.float32]  # (n,) about how far it is to the edge over which the polygon is entered
    revisions: Revisions
    is_cut: bool
    """There is more within reach than one search explores."""


class World:
    """A live Detour navmesh of one agent; safe to use from several threads."""

    _TOTAL_BITS = 22  # a 32-bit polygon reference keeps ten bits for Detour's salt

    def __init__(
        self, tile_size_m: float, grid_origin_m: Point, *, tile_bits: int = 10, area_costs: AreaCosts = NO_PREFERENCE
    ) -> None:
        self._tile_size_m = tile_size_m
        self._area_costs = area_costs
        self._grid_origin_m = grid_origin_m
        self._tile_bits = tile_bits
        self._blobs: dict[TileKey, tuple[bytes, int]] = {}
        self._native = self._new_native()

    def __len__(self) -> int:
        return len(self._blobs)

    def set(self, key: TileKey, blob: bytes, revision: int = 0) -> None:
        """Add or replace a tile; an empty blob removes it. Answers that rest on the tile name its revision.

        Raises:
            ValueError: the blob is not a Detour tile, or not of this key, or has too many polygons.
        """
        if not blob:
            if self._blobs.pop(key, None) is not None:
                self._native.remove_tile(*key)
            return
        if key not in self._blobs and len(self._blobs) == 1 << self._tile_bits:
            self._grow()
        self._native.set_tile(blob, *key, revision)
        self._blobs[key] = blob, revision

    def nearest(self, point: Point, half_extents_m: Point) -> Standing | None:
        """The walkable point nearest to `point` within a box."""
        found = self._native.nearest(point, half_extents_m)
        if found is None:
            return None
        (x, y, z), tile, area = found
        return Standing((x, y, z), _revisions([tile]), area)

    def reachable(self, start: Point, goal: Point, half_extents_m: Point) -> bool:
        """Do both points stand on one connected island?"""
        return self._native.reachable(start, goal, half_extents_m)

    def path(self, start: Point, goal: Point, half_extents_m: Point) -> tuple[NDArray[np.float32], Revisions, bool]:
        """String-pulled points (n, 3), the tiles they pass, and whether the path ends short of the goal."""
        points, tiles, is_partial = self._native.path(start, goal, half_extents_m)
        return points, _revisions(tiles), is_partial

    def raycast(self, start: Point, end: Point, half_extents_m: Point) -> tuple[Point, bool, bool, Revisions] | None:
        """Walk straight from start towards end.

        Returns:
            where that stops, whether a wall stopped it, whether it arrived on the end's own floor, the tiles passed.
        """
        found = self._native.raycast(start, end, half_extents_m)
        if found is None:
            return None
        (x, y, z), is_blocked, sees, tiles = found
        return (x, y, z), is_blocked, sees, _revisions(tiles)

    def reach(self, start: Point, within_m: float, half_extents_m: Point) -> Reach | None:
        """All polygons whose nearest edge lies within a walk of `within_m`."""
        found = self._native.reach(start, within_m, half_extents_m)
        if found is None:
            return None
        tile_of, polygons, walk_m, tiles, is_cut = found
        keys = np.array([tile[:2] for tile in tiles], np.int32).reshape(-1, 2)[tile_of]
        return Reach(keys, polygons, walk_m, _revisions(tiles), is_cut)

    def _new_native(self) -> _recast.World:
        poly_bits = self._TOTAL_BITS - self._tile_bits
        return _recast.World(
            self._grid_origin_m,
            self._tile_size_m,
            tile_bits=self._tile_bits,
            poly_bits=poly_bits,
            area_costs=self._area_costs.by_area(),
        )

    def _grow(self) -> None:
        self._tile_bits += 1
        self._native = self._new_native()
        for key, (blob, revision) in self._blobs.items():
            self._native.set_tile(blob, *key, revision)


def _revisions(tiles: Iterable[tuple[int, int, int]]) -> Revisions:
    return {TileKey(x, z): revision for x, z, revision in tiles}
