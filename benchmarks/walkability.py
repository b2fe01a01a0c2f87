"""A NavMesh against the floor it should be: area, doors, and whether any path goes through something solid."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.synthetic import Flat, FloorGrid
from mapping.transforms import Sim3
from navmesh.query import Query
from navmesh.tiles import NavTile, polygons_m

FLOOR_BAND_M = 0.25
"""Polygons farther than this from the floor are tops of furniture: neither right nor wrong here."""
KNEE_M, HEAD_M = 0.3, 1.6
STEP_M = 0.02
DETOUR = 1.6
"""A way through a door that is this much longer than the straight line did not go through it."""


@dataclass(frozen=True, slots=True)
class Area:
    """Walkable area against truth, in square metres of floor."""

    precision: float
    recall: float
    truth_m2: float
    found_m2: float


@dataclass(frozen=True, slots=True)
class Ways:
    """Paths between random places and through every door."""

    doors_passable: int
    doors: int
    blocked: tuple[str, ...]
    """Doors that cannot be passed."""
    paths: int
    paths_through_solid: int


def area(tiles: Iterable[NavTile], truth_from_map: Sim3, allowed: FloorGrid, promised: FloorGrid) -> Area:
    """Precision against where the agent fits (`allowed`), recall against where its NavMesh should be (`promised`)."""
    found = covered(tiles, truth_from_map, allowed)
    hit = found & allowed.free
    cell_m2 = allowed.cell_m**2
    return Area(
        precision=float(hit.sum() / max(1, found.sum())),
        recall=float((found & promised.free).sum() / max(1, promised.free.sum())),
        truth_m2=promised.area_m2,
        found_m2=float(found.sum() * cell_m2),
    )


def covered(tiles: Iterable[NavTile], truth_from_map: Sim3, grid: FloorGrid) -> NDArray[np.bool_]:
    """(nx, nz) squares of a grid whose middle a floor polygon covers; squares outside of the grid do not count."""
    margin = 200  # room for polygons beyond the flat, which precision must see
    nx, nz = grid.free.shape
    image = np.zeros((nz + 2 * margin, nx + 2 * margin), np.uint8)
    for tile in tiles:
        for polygon in polygons_m(tile):
            points = truth_from_map.apply(polygon.astype(np.float64))
            if np.abs(points[:, 1]).max() > FLOOR_BAND_M:
                continue
            pixels = (points[:, [0, 2]] - grid.origin_m) / grid.cell_m + margin
            # Pixel centres at whole numbers, in 1/16 pixel.
            cv2.fillConvexPoly(image, np.rint((pixels - 0.5) * 16).astype(np.int32), 1, shift=4)
    return np.asarray(image[margin:-margin, margin:-margin].T > 0)


def ways(query: Query, agent: str, truth_from_map: Sim3, flat: Flat, floor: FloorGrid, *, pairs: int = 200) -> Ways:
    """Walk through every door, and between random places of the floor."""
    map_from_truth = truth_from_map.inverse()

    def path(start_xz: NDArray[np.float64], goal_xz: NDArray[np.float64]) -> tuple[NDArray[np.float64], bool]:
        ends = [map_from_truth.apply(np.array([xz[0], 0.0, xz[1]])) for xz in (start_xz, goal_xz)]
        found = query.path(tuple(ends[0]), tuple(ends[1]), agent)
        return truth_from_map.apply(found.points_m.astype(np.float64)), found.is_partial or len(found.points_m) == 0

    blocked = []
    for door in flat.plan.doors:
        before, behind = np.array(door.before), np.array(door.behind)
        points, is_partial = path(before, behind)
        length = float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())
        if is_partial or length > DETOUR * np.linalg.norm(behind - before):
            blocked.append(door.name)

    rng = np.random.default_rng(17)
    places = floor.centers_m()[floor.free]
    chosen = places[rng.integers(0, len(places), (pairs, 2))]
    through = 0
    walked = 0
    for start, goal in chosen:
        points, _ = path(start, goal)
        if len(points) > 1:
            walked += 1
            through += bool(flat.solid(_body(points)).any())
    return Ways(len(flat.plan.doors) - len(blocked), len(flat.plan.doors), tuple(blocked), walked, through)


def _body(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 3) points from knee to head along a path (m, 3): what must touch nothing."""
    line = [points[:1]]
    for a, b in pairwise(points):
        count = max(1, int(np.ceil(np.linalg.norm(b - a) / STEP_M)))
        line.append(a + (b - a) * (np.arange(1, count + 1) / count)[:, None])
    path = np.concatenate(line)
    heights = np.arange(KNEE_M, HEAD_M, 0.1)
    return np.asarray((path[:, None] * [1.0, 0.0, 1.0] + heights[None, :, None] * [0.0, 1.0, 0.0]).reshape(-1, 3))
