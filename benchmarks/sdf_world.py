"""A world of boxes and ramps with an exact signed distance, read as voxels: truth for tiles, without a camera.

`SdfWorld` is a `mapping.changes.VoxelSource` that computes its windows on demand, so a map of any size costs nothing
until it is looked at. Shapes are added and taken away as edits; noise and unseen space can be laid over it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mapping.changes import BLOCK_VOXELS, VoxelBlocks, VoxelWindow

F32 = NDArray[np.float32]
Point = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Box:
    """Axis-aligned and solid, corners in world metres."""

    low: Point
    high: Point

    def distance(self, x: F32, y: F32, z: F32) -> F32:
        """Signed distance at coordinates that broadcast together, negative inside."""
        beyond = [
            np.abs(axis - np.float32((a + b) / 2)) - np.float32((b - a) / 2)
            for axis, a, b in zip((x, y, z), self.low, self.high, strict=True)
        ]
        outside = np.sqrt(sum(np.maximum(axis, 0) ** 2 for axis in beyond))
        inside = np.minimum(np.maximum(np.maximum(beyond[0], beyond[1]), beyond[2]), 0)
        return np.asarray(outside + inside, dtype=np.float32)

    @property
    def bounds(self) -> tuple[Point, Point]:
        return self.low, self.high


@dataclass(frozen=True, slots=True)
class Ramp:
    """A solid wedge that rises along +x from `low.y` at `low.x` at some angle until `high`."""

    low: Point
    high: Point
    slope_deg: float

    def distance(self, x: F32, y: F32, z: F32) -> F32:
        """Signed distance: exact at the slope, a lower bound beyond the wedge's edges."""
        slope = np.radians(self.slope_deg)
        above = np.float32(np.cos(slope)) * (y - np.float32(self.low[1])) - np.float32(np.sin(slope)) * (
            x - np.float32(self.low[0])
        )
        return np.maximum(above, Box(self.low, self.high).distance(x, y, z))

    @property
    def bounds(self) -> tuple[Point, Point]:
        return self.low, self.high


Shape = Box | Ramp


class SdfWorld:
    """Solids and what of them was seen; every voxel within the truncation of a surface is known unless hidden."""

    def __init__(
        self,
        shapes: Iterable[Shape] = (),
        *,
        voxel_size_m: float = 0.05,
        truncation_m: float = 0.2,
        noise_m: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.shapes: list[Shape] = list(shapes)
        self.voxel_size_m = voxel_size_m
        self.truncation_m = truncation_m
        self.noise_m = noise_m
        self.observation = seed
        """Noise is a function of this and the place: count it up for a new, independent look at the same scene."""
        self.hidden: Callable[[F32, F32, F32], NDArray[np.bool_]] | None = None
        """x, y, z that broadcast together -> which places were never seen."""
        self.spoil: Callable[[F32, F32], None] | None = None
        """May write NaN or anything else into a window's distances and weights."""

    def add(self, shape: Shape) -> NDArray[np.int32]:
        """Put a solid into the world; returns the blocks (n, 3) that look different now."""
        self.shapes.append(shape)
        return self.blocks_around(shape)

    def remove(self, shape: Shape) -> NDArray[np.int32]:
        """Take a solid out of the world; returns the blocks (n, 3) that look different now."""
        self.shapes.remove(shape)
        return self.blocks_around(shape)

    def blocks_around(self, shape: Shape) -> NDArray[np.int32]:
        """Blocks (n, 3) whose voxels a shape can change."""
        block_m = self.voxel_size_m * BLOCK_VOXELS
        low = np.floor((np.array(shape.bounds[0]) - self.truncation_m) / block_m).astype(int)
        high = np.floor((np.array(shape.bounds[1]) + self.truncation_m) / block_m).astype(int)
        axes = [np.arange(a, b + 1, dtype=np.int32) for a, b in zip(low, high, strict=True)]
        return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)

    def block_keys(self) -> NDArray[np.int32]:
        """Every block (n, 3) near a shape."""
        if not self.shapes:
            return np.empty((0, 3), np.int32)
        return np.unique(np.concatenate([self.blocks_around(shape) for shape in self.shapes]), axis=0)

    def window(self, origin_voxel: tuple[int, int, int], shape: tuple[int, int, int]) -> VoxelWindow:
        """Evaluate a box of voxels: truncated distance, weight 1 down to `-truncation_m`, 0 deeper and where hidden."""
        axes: list[F32] = [
            ((np.arange(n) + start + 0.5) * self.voxel_size_m).astype(np.float32)
            for start, n in zip(origin_voxel, shape, strict=True)
        ]
        distance = self._distance(axes, shape)
        weight = (distance > -self.truncation_m).astype(np.float32)
        weight[distance >= 2 * self.truncation_m] = 0.0
        if self.hidden is not None:
            weight[np.broadcast_to(self.hidden(*np.ix_(*axes)), shape)] = 0.0
        if self.noise_m:
            distance += self.noise_m * _place_noise(origin_voxel, shape, self.observation)
        tsdf_m = np.clip(distance, -self.truncation_m, self.truncation_m)
        if self.spoil is not None:
            self.spoil(tsdf_m, weight)
        return VoxelWindow(origin_voxel, tsdf_m, weight, np.full((*shape, 3), 128, np.uint8))

    def lend(self, keys: NDArray[np.int32]) -> VoxelBlocks:
        """Evaluate the box around some blocks (n, 3) and cut it into blocks."""
        if len(keys) == 0:
            nothing = np.empty((0,) + (BLOCK_VOXELS,) * 3, np.float32)
            return VoxelBlocks(np.empty(0, np.int64), nothing, nothing, 0.0)
        low, high = keys.min(axis=0), keys.max(axis=0) + 1
        i, j, k = (high - low).tolist()
        x, y, z = (low * BLOCK_VOXELS).tolist()
        window = self.window((x, y, z), (i * BLOCK_VOXELS, j * BLOCK_VOXELS, k * BLOCK_VOXELS))
        rows = np.ravel_multi_index(tuple((keys - low).T), (i, j, k)).astype(np.int64)
        return VoxelBlocks(rows, _blocks_of(window.tsdf_m), _blocks_of(window.weight), 0.0)

    def _distance(self, axes: list[F32], extent: tuple[int, int, int]) -> F32:
        """Union of the shapes, each evaluated only where it can matter."""
        far_m = 2 * self.truncation_m
        distance = np.full(extent, far_m, np.float32)
        for shape in self.shapes:
            low, high = shape.bounds
            box = tuple(
                slice(*np.searchsorted(axis, [a - far_m, b + far_m]))
                for axis, a, b in zip(axes, low, high, strict=True)
            )
            part = distance[box]
            if part.size:
                near = [axis[one] for axis, one in zip(axes, box, strict=True)]
                np.minimum(part, shape.distance(*np.ix_(*near)), out=part)
        return distance


def room(side_m: float = 6.0, *, door_m: float = 1.0, wall_m: float = 0.2) -> list[Shape]:
    """A square room, its floor at y = 0, one corner at the origin, halved at x = side / 2 by a wall with one door."""
    a, b, height, middle = 0.0, side_m, 2.5, side_m / 2
    door = (middle - door_m / 2, middle + door_m / 2)
    return [
        Box((a - wall_m, -0.3, a - wall_m), (b + wall_m, 0.0, b + wall_m)),
        Box((a - wall_m, 0.0, a - wall_m), (a, height, b + wall_m)),
        Box((b, 0.0, a - wall_m), (b + wall_m, height, b + wall_m)),
        Box((a, 0.0, a - wall_m), (b, height, a)),
        Box((a, 0.0, b), (b, height, b + wall_m)),
        Box((middle - wall_m / 2, 0.0, a), (middle + wall_m / 2, height, door[0])),
        Box((middle - wall_m / 2, 0.0, door[1]), (middle + wall_m / 2, height, b)),
    ]


def _blocks_of(box: F32) -> F32:
    """A box of whole blocks as (n, 8, 8, 8), the blocks in the order of their place."""
    i, j, k = (n // BLOCK_VOXELS for n in box.shape)
    e = BLOCK_VOXELS
    return np.ascontiguousarray(box.reshape(i, e, j, e, k, e).transpose(0, 2, 4, 1, 3, 5)).reshape(-1, e, e, e)


def _place_noise(origin: tuple[int, int, int], shape: tuple[int, int, int], seed: int) -> F32:
    """Standard normal noise that belongs to each voxel, whatever window it is seen through."""
    place = np.zeros(shape, np.uint64)
    for axis, (start, n) in enumerate(zip(origin, shape, strict=True)):
        index = (np.arange(n) + start).astype(np.uint64)
        place = _mix(place ^ index.reshape([-1 if a == axis else 1 for a in range(3)]))
    uniform = [_mix(place ^ np.uint64(2 * seed + k)).astype(np.float64) / 2.0**64 for k in (0, 1)]
    return np.asarray(np.sqrt(-2 * np.log(1 - uniform[0])) * np.cos(2 * np.pi * uniform[1]), dtype=np.float32)


def _mix(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble integers (the finaliser of splitmix64, Steele et al. 2014)."""
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(value ^ (value >> np.uint64(31)))
