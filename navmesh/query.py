"""Paths, rays and reach on the tiles that were published: the live NavMesh of each agent.

Every answer names the tiles it rests on and their revisions, so that a client can tell when to ask again. The revisions
are those that the search saw, even while other threads swap tiles. Many questions at once are asked of one moment's
mesh each, not of one for all: their revisions tell.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from navmesh.islands import Islands, IslandTile
from navmesh.recast import Agent, Point, Reach, Revisions, Standing, World
from navmesh.spans import BASE_HALF_VOXELS
from navmesh.tiles import TILE_CELLS, NavTile, TileChange, TileKey

_LOG = logging.getLogger(__name__)

SEARCH_M: Point = (1.0, 2.0, 1.0)
"""How far from a given point the walkable surface is looked for, along x, y and z."""


MAX_LEGS = 4
"""A search explores at most 16,384 polygons, some 150 m of furnished rooms around. Beyond, the way goes on with
another search from where that one came nearest to the goal, so often at most: what one answer may cost is bounded."""
MIN_PROGRESS_M = 5.0
"""A leg that brings one no nearer than this has come to a dead end."""


class UnknownAgent(ValueError):
    """No agent profile of that name walks this map."""


@dataclass(frozen=True, slots=True, eq=False)
class Path:
    """The best way an agent's centre can take (the shortest, unless its `area_costs` prefer some ground), or the way to
    the nearest point it can reach."""

    points_m: NDArray[np.float32]  # (n, 3) world, both ends included; n = 0: there is nowhere to stand near the start
    is_partial: bool
    """The last point is not the goal: it cannot be reached from the start, or is too far to be found in `MAX_LEGS`."""
    revisions: Revisions
    """Tiles the path crosses, and the revision of each that it was found on."""

    @property
    def length_m(self) -> float:
        return float(np.linalg.norm(np.diff(self.points_m, axis=0), axis=1).sum())


@dataclass(frozen=True, slots=True)
class Ray:
    """How far one can walk straight ahead."""

    start_m: Point
    """Where one stands."""
    end_m: Point
    is_blocked: bool
    """Something that cannot be walked on came before the end."""
    revisions: Revisions
    sees_end: bool = False
    """The way is clear, and leads to the floor that the end stands on: not to the one above or below it."""


class Query:
    """Holds a Detour world for each agent; tiles go in as they are published, from one thread; any thread may ask."""

    def __init__(self, agents: Sequence[Agent], voxel_size_m: float) -> None:
        tile_size_m = TILE_CELLS * voxel_size_m
        origin_m = (0.0, -BASE_HALF_VOXELS * voxel_size_m / 2, 0.0)
        self._worlds = {agent.name: World(tile_size_m, origin_m, area_costs=agent.area_costs) for agent in agents}
        self._islands = {agent: Islands(agent, world, tile_size_m) for agent, world in self._worlds.items()}
        self._revisions: dict[tuple[str, TileKey], int] = {}
        self.num_refused = 0
        """Tiles that Detour would not take."""

    @property
    def agents(self) -> tuple[str, ...]:
        return tuple(self._worlds)

    def apply(self, change: TileChange) -> None:
        """Swap in what a round of rebuilding gave; an empty tile removes the one before."""
        self.set(change.nav)

    def set(self, tiles: Iterable[NavTile]) -> None:
        """Swap in tiles one by one, each counted as a new revision of its key.

        A tile that Detour refuses (a corrupt blob, more polygons than a map of this size has room for) is left out:
        until a better one comes nobody can walk there.

        Raises:
            UnknownAgent: a tile belongs to an agent this query was not made for.
        """
        for tile in tiles:
            world, revision = self._world(tile.agent), self.revision(tile.agent, tile.key) + 1
            self._revisions[tile.agent, tile.key] = revision
            try:
                world.set(tile.key, tile.blob, revision)
            except ValueError as error:
                world.set(tile.key, b"", revision)
                self.num_refused += 1
                tile = replace(tile, verts=tile.verts[:0], polys=tile.polys[:0])
                _LOG.warning("tile %s of agent %r is left out: %s", tuple(tile.key), tile.agent, error)
            self._islands[tile.agent].mark(tile)

    @property
    def islands_pending(self) -> int:
        """How many tiles `find_islands` has still to look at."""
        return sum(islands.pending for islands in self._islands.values())

    def find_islands(self, most_tiles: int) -> list[IslandTile]:
        """Look at so many changed tiles of each agent; returns those where islands came or went (see `islands`)."""
        return [tile for islands in self._islands.values() for tile in islands.step(most_tiles)]

    def revision(self, agent: str, key: TileKey) -> int:
        """How often this tile changed since the query was made; 0 = never seen."""
        return self._revisions.get((agent, key), 0)

    def path(self, start_m: Point, goal_m: Point, agent: str, search_m: Point = SEARCH_M) -> Path:
        """Find the way from start to goal (world metres) that costs the agent the least.

        A goal on another island is answered without searching for it: the path then leads to the point nearest to the
        goal, within `search_m` of it, on the start's own island. A goal too far for one search is reached in legs; the
        way is then no longer sure to be the best.

        Raises:
            UnknownAgent: no such profile.
            ValueError: a coordinate is not finite.
        """
        world = self._world(agent)
        points_m, revisions, is_partial = world.path(start_m, goal_m, search_m)
        legs = MAX_LEGS - 1 if is_partial and world.reachable(start_m, goal_m, search_m) else 0
        for _ in range(legs):
            if not is_partial:
                break
            x, y, z = (float(v) for v in points_m[-1])
            leg_m, leg_revisions, is_partial = world.path((x, y, z), goal_m, search_m)
            if len(leg_m) == 0:  # the tile was taken away meanwhile
                break
            if is_partial and math.dist((x, y, z), goal_m) - math.dist(leg_m[-1], goal_m) < MIN_PROGRESS_M:
                break
            points_m, revisions = np.concatenate([points_m, leg_m[1:]]), revisions | leg_revisions
        return Path(points_m, is_partial, revisions)

    def reachable(self, start_m: Point, goal_m: Point, agent: str, search_m: Point = SEARCH_M) -> bool:
        """Is there any way from start to goal?"""
        return self._world(agent).reachable(start_m, goal_m, search_m)

    def nearest(self, point_m: Point, agent: str, search_m: Point = SEARCH_M, *, islands: bool = True) -> Point | None:
        """The point nearest to a given one where the agent can stand, or None within `search_m`."""
        found = self.standing(point_m, agent, search_m, islands=islands)
        return None if found is None else found.point_m

    def standing(
        self, point_m: Point, agent: str, search_m: Point = SEARCH_M, *, islands: bool = True
    ) -> Standing | None:
        """Where the agent can stand that is nearest to a point, and on what; None when nowhere within `search_m`.

        `islands` False passes over table tops and their like, as far as `find_islands` has found them.
        """
        found = self._world(agent).nearest(point_m, search_m)
        if islands or found is None or not self._islands[agent].holds(found):
            return found
        return self._islands[agent].nearest_ground(point_m, search_m)

    def raycast(self, start_m: Point, end_m: Point, agent: str, search_m: Point = SEARCH_M) -> Ray | None:
        """Walk straight from start towards end; None when there is nowhere to stand near the start."""
        standing = self.standing(start_m, agent, search_m)
        if standing is None:
            return None
        found = self._world(agent).raycast(standing.point_m, end_m, search_m)
        if found is None:  # the tile was taken away meanwhile
            return None
        stop_m, is_blocked, sees_end, revisions = found
        return Ray(standing.point_m, stop_m, is_blocked, revisions, sees_end)

    def reach(self, start_m: Point, within_m: float, agent: str, search_m: Point = SEARCH_M) -> Reach | None:
        """Every polygon to which a walk of `within_m` metres leads; None when there is nowhere to stand near the start.

        Raises:
            UnknownAgent: no such profile.
            ValueError: a coordinate is not finite, or `within_m` not positive.
        """
        return self._world(agent).reach(start_m, within_m, search_m)

    def _world(self, agent: str) -> World:
        try:
            return self._worlds[agent]
        except KeyError:
            raise UnknownAgent(f"no agent {agent!r} on this map; there are {', '.join(self._worlds)}") from None
