"""A furnished floor of nine tiles on a real server's map socket, for engines to follow."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.sdf_world import Box, SdfWorld
from mapping.transforms import Sim3
from navmesh.incremental import Config as TilesConfig
from navmesh.incremental import Incremental
from navmesh.query import Path as Way
from navmesh.query import Query
from navmesh.recast import Agent, Point
from navmesh.tiles import NavTile, polygons_m
from server.bus import encode
from server.bus.channel import Channel
from tests.server.fakes import served

HUMAN = Agent()


@dataclass
class Floor:
    """The floor as it was published last, and the server's own way of asking it."""

    url: str
    channel: Channel
    tiles: tuple[NavTile, ...]
    query: Query

    def publish(self, tiles: tuple[NavTile, ...]) -> None:
        """Put the tiles that differ; one without polygons is taken out."""
        keys = {tile.key: tile for tile in self.tiles}
        for tile in tiles:
            if tile.key not in keys or keys[tile.key].blob != tile.blob:
                self.channel.publish(encode.nav(tile), capture_ns=1, infer_ns=2, now_ns=3)
                self.query.set([tile])
        self.tiles = tuple((keys | {tile.key: tile for tile in tiles}).values())

    def correct(self) -> None:
        """Find that the whole map belongs a metre farther along x."""
        shift = Sim3(1.0, np.eye(3), np.array([1.0, 0.0, 0.0]))
        self.channel.move(shift, self.channel.epoch + 1, "marker")

    def publish_again(self) -> None:
        """Send every tile anew, as after a correction."""
        for tile in self.tiles:
            self.channel.publish(encode.nav(tile), capture_ns=1, infer_ns=2, now_ns=3)

    def path(self, start: Point, goal: Point) -> Way:
        return self.query.path(start, goal, HUMAN.name)

    @property
    def area_m2(self) -> float:
        return sum(map(_area_m2, self.polygons))

    @property
    def polygons(self) -> list[NDArray[np.float32]]:
        return [polygon for tile in self.tiles for polygon in polygons_m(tile)]


def tiles_of(door_z_m: float = 4.0) -> tuple[NavTile, ...]:
    """Two rooms with one door of 1.2 m between them; boxes, stairs that lead to a landing, a table to walk around."""
    rng = np.random.default_rng(7)
    shell = [
        Box((-0.5, -0.5, -0.5), (10.1, 0.0, 10.1)),
        Box((0.0, 0.0, 0.0), (0.2, 2.5, 9.6)),
        Box((9.4, 0.0, 0.0), (9.6, 2.5, 9.6)),
        Box((0.0, 0.0, 0.0), (9.6, 2.5, 0.2)),
        Box((0.0, 0.0, 9.4), (9.6, 2.5, 9.6)),
        Box((4.6, 0.0, 0.0), (4.8, 2.5, door_z_m)),
        Box((4.6, 0.0, door_z_m + 1.2), (4.8, 2.5, 9.6)),
    ]
    boxes = [
        Box((x + 5.4 * (i % 2), 0.0, z), (x + 5.4 * (i % 2) + w, h, z + d))
        for i, (x, z, w, h, d) in enumerate(rng.uniform([0, 0, 0.1, 0.3, 0.1], [3, 9, 0.7, 1.2, 0.7], (10, 5)).tolist())
    ]
    steps = [Box((7.0, 0.0, 2.0 + 0.3 * i), (8.0, 0.17 * (i + 1), 5.0)) for i in range(5)]
    world = SdfWorld([*shell, *boxes, *steps, Box((1.0, 0.7, 7.0), (2.4, 0.75, 7.8))])
    return Incremental(world, [HUMAN], TilesConfig(surfaces=False)).step().nav


def pairs_on(query: Query, count: int, seed: int = 0) -> list[tuple[Point, Point]]:
    """Pairs of places where one can stand, one reachable from the other."""
    rng = np.random.default_rng(seed)
    places: list[Point] = []
    while len(places) < 2 * count:
        x, z = rng.uniform(0.3, 9.3, 2).tolist()
        place = query.nearest((x, 0.0, z), HUMAN.name, (0.05, 0.3, 0.05))
        if place is None or np.hypot(place[0] - x, place[2] - z) > 1e-5:
            continue  # beside the floor, not on it
        if not places or query.reachable(places[0], place, HUMAN.name):
            places.append(place)
    return list(zip(places[::2], places[1::2], strict=True))


@contextlib.asynccontextmanager
async def live_floor(folder: Path, tiles: tuple[NavTile, ...] | None = None) -> AsyncIterator[Floor]:
    async with served(folder) as server:
        channel = server.scenes.bus.find("main")
        assert channel is not None
        floor = Floor(f"http://127.0.0.1:{server.port}", channel, (), Query([HUMAN], 0.05))
        floor.publish(tiles_of() if tiles is None else tiles)
        yield floor


def _area_m2(polygon: NDArray[np.float32]) -> float:
    x, z = polygon[:, 0].astype(float), polygon[:, 2].astype(float)
    return abs(float(x @ np.roll(z, -1) - z @ np.roll(x, -1))) / 2
