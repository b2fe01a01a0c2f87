"""Exporters of a whole NavMesh, for programs that load a file: one file per format, its name the config key and suffix.

Enters: the tiles of one agent. Leaves: the bytes of a file; writing it is the caller's. An exporter module holds
`class Config(BaseModel)` and `create(config) -> Exporter`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mapping import plugins
from navmesh.tiles import TILE_CELLS, NavTile

NOTHING = 0xFFFF


class ExportError(ValueError):
    """The NavMesh cannot be exported; the message says why and what to do."""


@dataclass(frozen=True, slots=True, eq=False)
class NavMesh:
    """All tiles of one agent, none empty, in the order of their keys."""

    agent: str
    tiles: tuple[NavTile, ...]

    @property
    def cell_size_m(self) -> float:
        return self.tiles[0].cell_size_m

    @property
    def cell_height_m(self) -> float:
        return self.tiles[0].cell_height_m


@dataclass(frozen=True, slots=True, eq=False)
class Polygons:
    """The polygons of all tiles over one list of vertices; those on the border of two tiles are there once."""

    vertices_m: NDArray[np.float32]  # (n, 3) world
    polys: tuple[NDArray[np.int64], ...]  # (3 to 6,) vertices each, convex, counter-clockwise from above
    areas: NDArray[np.uint8]  # (m,) of each polygon


class Exporter(Protocol):
    """Knows one format."""

    @property
    def suffix(self) -> str:
        """With the dot."""
        ...

    @property
    def media_type(self) -> str: ...

    def encode(self, mesh: NavMesh) -> bytes:
        """The content of the file.

        Raises:
            ExportError: the format cannot hold this NavMesh.
        """
        ...


def available() -> list[str]:
    """Names of the formats in this package."""
    return plugins.available(__name__)


def create(name: str, config: dict[str, Any] | None = None) -> Exporter:
    """Make the exporter of that file name; a name with ":" is an import path to somebody else's module.

    Raises:
        ExportError: no such exporter.
        pydantic.ValidationError: the config does not fit its model.
    """
    try:
        module: Any = plugins.load(__name__, name)
    except plugins.NoSuchPlugin as error:
        raise ExportError(f"a NavMesh cannot be written as {name!r}; choose {', '.join(available())}") from error
    exporter: Exporter = module.create(module.Config(**(config or {})))
    return exporter


def whole(tiles: Iterable[NavTile], agent: str) -> NavMesh:
    """Gather the tiles of one agent.

    Raises:
        ExportError: there are none, or they do not lie on one grid.
    """
    tiles = tuple(sorted((t for t in tiles if t.agent == agent and len(t.verts)), key=lambda tile: tile.key))
    if not tiles:
        raise ExportError(
            f"nothing is walkable for agent {agent!r} yet: let a camera look at the floor, or ask for another"
        )
    if len({(t.cell_size_m, t.cell_height_m, t.origin_m[1]) for t in tiles}) > 1:
        raise ExportError("the tiles lie on different grids; export again in a moment")
    return NavMesh(agent, tiles)


def joined(mesh: NavMesh) -> Polygons:
    """Lay all polygons over one list of vertices. Corners are on the grid of cells, so equal ones are equal exactly."""
    corners = [tile.verts + np.array([TILE_CELLS * tile.key.x, 0, TILE_CELLS * tile.key.z]) for tile in mesh.tiles]
    cells, number = np.unique(np.concatenate(corners), axis=0, return_inverse=True)
    starts = np.cumsum([0, *map(len, corners)])
    polys = [
        number.reshape(-1)[start + poly[poly != NOTHING].astype(np.int64)]
        for start, tile in zip(starts, mesh.tiles, strict=False)
        for poly in tile.polys
    ]
    steps_m = np.array([mesh.cell_size_m, mesh.cell_height_m, mesh.cell_size_m])
    vertices_m = cells * steps_m + [0.0, mesh.tiles[0].origin_m[1], 0.0]
    return Polygons(vertices_m.astype(np.float32), tuple(polys), np.concatenate([tile.areas for tile in mesh.tiles]))
