"""A world of boxes and ramps with an exact signed distance, read as voxels: truth for tiles, without a camera.

`SdfWorld` is a `mapping.changes.VoxelSource` that computes its windows on demand, so a map of any size costs nothing
until it is looked at. Shapes are added and taken away as edits; noise and unseen space can be laid over it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mapping.changes import BLOCK_VOXELS, VoxelWindow

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Point = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Box:
    """Axis-aligned and solid, corners in world metres."""

    low: Point
    high: Point

    def distance(self, points: F64) -> F64:
        """Signed distance (...) of points (..., 3), negative inside."""
        centre = (np.array(self.low) + self.high) / 2
        half = (np.array(self.high) - self.low) / 2
        beyond = np.abs(points - centre) - half
        outside = np.linalg.norm(np.maximum(beyond, 0.0), axis=-1)
        return np.asarray(outside + np.minimum(beyond.max(axis=-1), 0.0))

    @property
    def bounds(self) -> tuple[Point, Point]:
        return self.low, self.high


@dataclass(frozen=True, slots=True)
class Ramp:
    """A solid wedge that rises along +x from `low.y` at `low.x` at some angle until `high`."""

    low: Point
    high: Point
    slope_deg: float

    def distance(self, points: F64) -> F64:
        """Signed distance (...) of points (..., 3): exact at the slope, a lower bound beyond the wedge's edges."""
        slope = np.radians(self.slope_deg)
        normal = np.array([-np.sin(slope), np.cos(slope), 0.0])
        above = (points - np.array(self.low)) @ normal
        return np.asarray(np.maximum(above, Box(self.low, self.high).distance(points)))

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
        self.hidden: Callable[[F64], NDArray[np.bool_]] | None = None
        """Points (..., 3) -> which were never seen."""
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
        axes: list[F64] = [
            (np.arange(n, dtype=np.float64) + start + 0.5) * self.voxel_size_m
            for start, n in zip(origin_voxel, shape, strict=True)
        ]
        distance = self._distance(axes, shape)
        weight = (distance > -self.truncation_m).astype(np.float32)
        weight[distance >= 2 * self.truncation_m] = 0.0
        if self.hidden is not None:
            points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
            weight[self.hidden(points)] = 0.0
        if self.noise_m:
            distance += self.noise_m * _place_noise(origin_voxel, shape, self.observation)
        tsdf_m = np.clip(distance, -self.truncation_m, self.truncation_m)
        if self.spoil is not None:
            self.spoil(tsdf_m, weight)
        return VoxelWindow(origin_voxel, tsdf_m, weight, np.full((*shape, 3), 128, np.uint8))

    def _distance(self, axes: list[F64], extent: tuple[int, int, int]) -> F32:
        """Union of the shapes, each evaluated only where it can matter."""
        far_m = 2 * self.truncation_m
        distance = np.full(extent, far_m, np.float32)
        for shape in self.shapes:
            low, high = shape.bounds
            near = [
                slice(*np.searchsorted(axis, [a - far_m, b + far_m]))
                for axis, a, b in zip(axes, low, high, strict=True)
            ]
            box = tuple(near)
            part = distance[box]
            if part.size:
                grid = np.stack(np.meshgrid(*[axis[s] for axis, s in zip(axes, near, strict=True)], indexing="ij"), -1)
                np.minimum(part, shape.distance(grid), out=part, casting="same_kind")
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
