"""A furnished floor fused into a real TSDF once, and that TSDF repeated over any area: large maps in little memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.sdf_world import Box, SdfWorld, Shape
from mapping.changes import BLOCK_VOXELS, VoxelBlocks, VoxelWindow
from mapping.volume.tsdf import Blocks, Config, Tsdf
from navmesh.tiles import TILE_BLOCKS, TILE_CELLS

PERIOD_TILES = 6
PERIOD_M = PERIOD_TILES * TILE_CELLS * 0.05  # 19.2 m
_MARGIN_BLOCKS = TILE_BLOCKS


def furnished(seed: int = 0) -> list[Shape]:
    """A floor of 19.2 x 19.2 m: walls with 1 m doors on two sides and in the middle, boxes, tables, stairs."""
    rng = np.random.default_rng(seed)
    p, wall, height, doors = PERIOD_M, 0.15, 2.5, (3.0, 9.0, 15.0)
    shapes: list[Shape] = [Box((0.0, -0.3, 0.0), (p, 0.0, p))]
    for at in (0.0, p / 2):
        begin = 0.0
        for door in (*doors, None):
            end = p if door is None else door
            shapes.append(Box((at, 0.0, begin), (at + wall, height, end)))
            shapes.append(Box((begin, 0.0, at), (end, height, at + wall)))
            begin = end + 1.0
    for x, z, w, h, d in rng.uniform([0.5, 0.5, 0.2, 0.2, 0.2], [18, 18, 0.9, 1.4, 0.9], (40, 5)).tolist():
        shapes.append(Box((x, 0.0, z), (x + w, h, z + d)))
    for x, z in rng.uniform(1.0, 17.0, (8, 2)).tolist():
        shapes.append(Box((x, 0.7, z), (x + 1.4, 0.75, z + 0.8)))
    shapes.extend(Box((5.0, 0.0, 12.0 + 0.3 * i), (6.2, 0.17 * (i + 1), 14.5)) for i in range(6))
    return shapes


def fused(world: SdfWorld, keys: NDArray[np.int32]) -> Tsdf:
    """The given blocks (n, 3) of a world as a TSDF whose windows cost what they cost in a live map."""
    tsdf = Tsdf(Config(truncation_m=world.truncation_m, max_blocks=max(len(keys), 1) + 4096))
    load(tsdf, world, keys)
    return tsdf


def load(tsdf: Tsdf, world: SdfWorld, keys: NDArray[np.int32]) -> None:
    """Write the world's present look into blocks (n, 3)."""
    tiles = keys[:, [0, 2]] // TILE_BLOCKS
    for tile in np.unique(tiles, axis=0):
        here = keys[(tiles == tile).all(axis=1)]
        lent = world.lend(here)
        grey = np.full((len(here), *(BLOCK_VOXELS,) * 3, 3), 128, np.uint8)
        tsdf.load(Blocks(here, lent.tsdf_m[lent.rows], lent.weight[lent.rows], grey))


class Copies:
    """The furnished floor, repeated along x and z over a square. Is a `mapping.changes.VoxelSource`."""

    voxel_size_m = 0.05
    truncation_m = 0.2

    def __init__(self, copies: int, noise_m: float = 0.006, side_tiles: int | None = None) -> None:
        """Repeat it `copies` times on a side, or as often as `side_tiles` need, the last ones cut off."""
        side_tiles = copies * PERIOD_TILES if side_tiles is None else side_tiles
        copies = -(-side_tiles // PERIOD_TILES)
        period = PERIOD_TILES * TILE_BLOCKS
        shapes = [
            shifted(s, dx * PERIOD_M, dz * PERIOD_M) for s in furnished() for dx in (-1, 0, 1) for dz in (-1, 0, 1)
        ]
        self.world = world = SdfWorld(shapes, noise_m=noise_m, truncation_m=self.truncation_m)
        keys = world.block_keys()
        near = np.all((keys[:, [0, 2]] >= -_MARGIN_BLOCKS) & (keys[:, [0, 2]] < period + _MARGIN_BLOCKS), axis=1)
        self.tsdf = fused(world, keys[near])
        inner = keys[np.all((keys[:, [0, 2]] >= 0) & (keys[:, [0, 2]] < period), axis=1)]
        steps = np.array([[x * period, 0, z * period] for x in range(copies) for z in range(copies)], np.int32)
        keys = (inner[None] + steps[:, None]).reshape(-1, 3)
        self._keys = keys[np.all(keys[:, [0, 2]] < side_tiles * TILE_BLOCKS, axis=1)]

    def block_keys(self) -> NDArray[np.int32]:
        return self._keys

    def lend(self, keys: NDArray[np.int32]) -> VoxelBlocks:
        """Show the blocks of the one floor there is."""
        period = PERIOD_TILES * TILE_BLOCKS
        here = keys.copy()
        here[:, [0, 2]] %= period
        return self.tsdf.lend(here)

    def window(self, origin_voxel: tuple[int, int, int], shape: tuple[int, int, int]) -> VoxelWindow:
        """Read through to the one floor there is; windows may be a tile wider than a period."""
        period = PERIOD_TILES * TILE_CELLS
        margin = _MARGIN_BLOCKS * BLOCK_VOXELS
        x, y, z = origin_voxel
        here = ((x + margin) % period - margin, y, (z + margin) % period - margin)
        window = self.tsdf.window(here, shape)
        return VoxelWindow(origin_voxel, window.tsdf_m, window.weight, window.rgb)


def shifted(shape: Shape, x: float, z: float) -> Box:
    """A box moved on the ground."""
    (ax, ay, az), (bx, by, bz) = shape.bounds
    return Box((ax + x, ay, az + z), (bx + x, by, bz + z))
