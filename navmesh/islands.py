"""Ground that leads nowhere: table tops and other small patches that nothing connects to the rest of the ground.

An island is connected ground of less than `MIN_GROUND_M2`; any larger one is somewhere one may have come from, a room
at least. So whether a polygon lies on an island follows from the tiles around it alone: a flood from it either covers
that much ground, and stops, or comes to its end. A change costs its tile and those beside it, however large the map is.

The flags belong to no tile, for a tile is a pure function of its voxels and a door that opens elsewhere changes none.
They are kept here, brought up to date some tiles a step, and published as a layer of their own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from navmesh.recast import Point, Standing, World
from navmesh.tiles import NavTile, TileKey

MIN_GROUND_M2 = 4.0
_FIRST_FLOOD_M = 4.0
_HERE_M = 0.01
_STAND_M: Point = (0.02, 0.5, 0.02)
"""Around the middle of a polygon, to stand on it: heights between its corners may lie off its plane."""

Polygons = frozenset[int]
NONE: Polygons = frozenset()


@dataclass(frozen=True, slots=True)
class IslandTile:
    """Which polygons of a tile lie on islands, by their rows; none = publish as a removal."""

    key: TileKey
    agent: str
    polygons: tuple[int, ...]


@dataclass(slots=True, eq=False)
class _Ground:
    corners_m: NDArray[np.float64]  # (m, 6, 3) world; those that are not used repeat the first
    middles_m: NDArray[np.float64]  # (m, 3)
    areas_m2: NDArray[np.float64]  # (m,)
    islands: Polygons = NONE
    together: set[TileKey] = field(default_factory=set)
    """Tiles that an island of this one reaches into."""


class Islands:
    """The islands of one agent's ground. One thread marks and steps; any may ask `on`."""

    def __init__(self, agent: str, world: World, tile_size_m: float, min_ground_m2: float = MIN_GROUND_M2) -> None:
        self._agent, self._world, self._tile_m, self._min_m2 = agent, world, tile_size_m, min_ground_m2
        self._tiles: dict[TileKey, _Ground] = {}
        self._due: dict[TileKey, None] = {}
        self._told: dict[TileKey, Polygons] = {}

    @property
    def pending(self) -> int:
        """How many tiles changed and were not looked at."""
        return len(self._due)

    def mark(self, tile: NavTile) -> None:
        """A tile was swapped in; what it says is looked at by a later `step`."""
        before = self._tiles.pop(tile.key, None)
        self._due |= dict.fromkeys([tile.key, *(before.together if before is not None else ())])
        if len(tile.polys):
            self._tiles[tile.key] = _ground(tile)

    def holds(self, standing: Standing) -> bool:
        """Is this place on an island, as far as is known?"""
        if not any(tile.islands for key in standing.revisions if (tile := self._tiles.get(key)) is not None):
            return False
        reach = self._world.reach(standing.point_m, _HERE_M, _STAND_M)
        if reach is None:
            return False
        tile = self._tiles.get(TileKey(*reach.tiles[0].tolist()))
        return tile is not None and int(reach.polygons[0]) in tile.islands

    def step(self, most_tiles: int) -> list[IslandTile]:
        """Look at so many changed tiles and at what lies around them; returns those with other islands than before."""
        due = list(islice(self._due, most_tiles))
        for key in due:
            del self._due[key]
        around = {TileKey(x + dx, z + dz) for x, z in due for dx in (-1, 0, 1) for dz in (-1, 0, 1)}
        around |= {key for near in around & self._tiles.keys() for key in self._tiles[near].together}
        around &= self._tiles.keys()
        found: dict[TileKey, set[int]] = {key: set() for key in around}
        for key in around:
            self._tiles[key].together.clear()
        known: dict[TileKey, set[int]] = {}
        for key in sorted(around):
            for polygon in range(len(self._tiles[key].areas_m2)):
                if polygon in known.get(key, ()):
                    continue
                reached, is_island = self._flood(key, polygon)
                for at, polygons in reached.items():
                    known.setdefault(at, set()).update(polygons)
                    if is_island and at in self._tiles:
                        found.setdefault(at, set(self._tiles[at].islands)).update(polygons)
                        self._tiles[at].together |= reached.keys()
        for key, polygons in found.items():
            self._tiles[key].islands = frozenset(polygons)
        return self._news(found.keys() | set(due))

    def nearest_ground(self, point_m: Point, search_m: Point) -> Standing | None:
        """Where one can stand that is nearest to a point and on no island, as far as is known."""
        low, high = np.subtract(point_m, search_m) // self._tile_m, np.add(point_m, search_m) // self._tile_m
        spans = [range(int(a), int(b) + 1) for a, b in zip(low, high, strict=True)]
        places: list[NDArray[np.float64]] = []
        for key in (TileKey(x, z) for x in spans[0] for z in spans[2]):
            if (tile := self._tiles.get(key)) is not None:
                rows = (row for row in range(len(tile.corners_m)) if row not in tile.islands)
                places += [closest(tile.corners_m[row], point_m) for row in rows]
        near = [place for place in places if np.all(np.abs(place - point_m) <= search_m)]
        for x, y, z in sorted((place.tolist() for place in near), key=lambda place: math.dist(place, point_m)):
            if (standing := self._world.nearest((x, y, z), _STAND_M)) is not None:
                return standing
        return None

    def _flood(self, key: TileKey, polygon: int) -> tuple[dict[TileKey, set[int]], bool]:
        """The polygons connected to one, all of them if they are an island, and whether they are."""
        x, y, z = self._tiles[key].middles_m[polygon].tolist()
        within_m, num_before = _FIRST_FLOOD_M, 0
        while True:
            reached: dict[TileKey, set[int]] = {key: {polygon}}
            reach = self._world.reach((x, y, z), within_m, _STAND_M)
            if reach is None or reach.is_cut:
                return reached, False
            tiles = [TileKey(*tile) for tile in reach.tiles.tolist()]
            if (tiles[0], int(reach.polygons[0])) != (key, polygon):
                return reached, False  # another polygon lies nearer to its middle: they overlap
            for at, row in zip(tiles, reach.polygons.tolist(), strict=True):
                reached.setdefault(at, set()).add(row)
            area_m2 = sum(float(self._tiles[at].areas_m2[list(rows)].sum()) for at, rows in reached.items())
            if area_m2 >= self._min_m2:
                return reached, False
            if len(tiles) == num_before:
                return reached, True
            within_m, num_before = 2 * within_m, len(tiles)

    def _news(self, keys: Iterable[TileKey]) -> list[IslandTile]:
        news = []
        for key in sorted(keys):
            now = self._tiles[key].islands if key in self._tiles else NONE
            if now != self._told.get(key, NONE):
                news.append(IslandTile(key, self._agent, tuple(sorted(now))))
                self._told[key] = now
        return news


def _ground(tile: NavTile) -> _Ground:
    is_used = tile.polys != 0xFFFF
    steps_m = (tile.cell_size_m, tile.cell_height_m, tile.cell_size_m)
    corners_m = (np.array(tile.origin_m) + tile.verts * steps_m)[np.where(is_used, tile.polys, tile.polys[:, :1])]
    middles_m = np.average(corners_m, axis=1, weights=np.broadcast_to(is_used[..., None], corners_m.shape))
    x, z = corners_m[..., 0], corners_m[..., 2]
    areas_m2 = np.abs(np.sum(x * np.roll(z, -1, axis=1) - z * np.roll(x, -1, axis=1), axis=1)) / 2  # shoelace formula
    return _Ground(corners_m, middles_m, areas_m2)


def closest(corners: NDArray[np.float64], point_m: Point) -> NDArray[np.float64]:
    """The place (3,) of a convex polygon (n, 3) that is nearest to a point as seen from above, on its mean plane."""
    ahead = np.roll(corners, -1, axis=0) - corners
    to_point = np.asarray(point_m) - corners
    flat = [0, 2]
    turns = ahead[:, 0] * to_point[:, 2] - ahead[:, 2] * to_point[:, 0]
    if np.all(turns <= 0.0) or np.all(turns >= 0.0):
        plane, *_ = np.linalg.lstsq(
            np.column_stack([corners[:, flat], np.ones(len(corners))]), corners[:, 1], rcond=None
        )
        x, _, z = point_m
        return np.array([x, plane @ [x, z, 1.0], z])
    share = np.sum(to_point[:, flat] * ahead[:, flat], axis=1) / np.maximum(np.sum(ahead[:, flat] ** 2, axis=1), 1e-12)
    places = corners + np.clip(share, 0.0, 1.0)[:, None] * ahead
    best: NDArray[np.float64] = places[np.argmin(np.linalg.norm((places - point_m)[:, flat], axis=1))]
    return best
