"""The fused volume: a truncated signed distance field in sparse blocks of 8^3 voxels (Curless & Levoy 1996).

Blocks are found by a hash of their key and live in pools that grow (Niessner et al. 2013). Blocks are made only near a
measured surface; space seen to be free clears what other views had put there, but makes no blocks. A pixel without
depth says nothing at all: what lies behind it stays unknown.

One writer at a time; nothing here waits or locks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from mapping.changes import BLOCK_VOXELS, VoxelBlocks, VoxelWindow
from mapping.transforms import F64, Sim3
from mapping.volume import kernels
from mapping.volume.depth import incidence, local_planes, trust
from streams.frame import DepthMap, Intrinsics


class Config(BaseModel):
    """How depth becomes voxels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    voxel_size_m: float = Field(default=0.05, gt=0)
    truncation_m: float = Field(default=0.15, gt=0)
    """Distances are kept within +- this; walls thinner than it are blurred from both sides."""
    max_depth_m: float = Field(default=6.0, gt=0)
    """Farther pixels are left out: they neither make surface nor clear space."""
    half_trust_m: float = Field(default=4.0, gt=0)
    """Depth at which a pixel counts half."""
    free_weight: float = Field(default=1.0, ge=0, le=1)
    """Weight of seeing through a voxel, as a share of seeing a surface in it."""
    max_weight: float = Field(default=12.0, gt=0)
    """A voxel's memory in full-trust views; less forgets moved things sooner, more averages noise better."""
    known_weight: float = Field(default=0.2, gt=0)
    """Voxels with less weight than this are shown as unknown."""
    dirty_m: float = Field(default=0.002, ge=0)
    """A block is reported once a voxel of it has moved this far since its last report; 0 = at any change."""
    max_blocks: int = Field(default=60_000, gt=0)
    """5.6 KB each. When they are used up no new ones are made, `is_full` tells, and known ones are still updated."""


@dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """Voxels of some blocks as plain arrays: what a store keeps and a restart loads."""

    keys: NDArray[np.int32]  # (n, 3)
    tsdf_m: NDArray[np.float32]  # (n, 8, 8, 8) axes (x, y, z)
    weight: NDArray[np.float32]  # (n, 8, 8, 8)
    rgb: NDArray[np.uint8]  # (n, 8, 8, 8, 3)

    def only(self, rows: NDArray[np.int64]) -> Blocks:
        """Some of them."""
        return Blocks(self.keys[rows], self.tsdf_m[rows], self.weight[rows], self.rgb[rows])


def joined(parts: Sequence[Blocks]) -> Blocks:
    """All blocks of several parts, at least one."""
    return Blocks(
        np.concatenate([part.keys for part in parts]),
        np.concatenate([part.tsdf_m for part in parts]),
        np.concatenate([part.weight for part in parts]),
        np.concatenate([part.rgb for part in parts]),
    )


class Tsdf:
    """All voxels of one world. Is a `mapping.changes.VoxelSource`."""

    def __init__(self, config: Config = Config()) -> None:  # noqa: B008
        self._config = config
        self._count = 0
        self._reserve(1024)

    @property
    def voxel_size_m(self) -> float:
        return self._config.voxel_size_m

    @property
    def truncation_m(self) -> float:
        return self._config.truncation_m

    @property
    def num_blocks(self) -> int:
        return self._count

    @property
    def max_blocks(self) -> int:
        return self._config.max_blocks

    @property
    def is_full(self) -> bool:
        """No new block can be made; the map has stopped growing."""
        return self._count >= self._config.max_blocks

    def clear(self) -> NDArray[np.int32]:
        """Forget everything; returns the keys (n, 3) of the blocks that were there."""
        keys = self.block_keys()
        self._count = 0
        self._reserve(1024)
        return keys

    def integrate(self, depth: DepthMap, world_from_camera: F64, rgb: NDArray[np.uint8] | None) -> NDArray[np.int32]:
        """Fuse one depth map in metres, seen from a pose, coloured by rgb (h, w, 3) of the same size.

        Returns:
            (n, 3) keys of the blocks that changed noticeably (see `Config.dirty_m`).

        Raises:
            ValueError: the arrays do not fit together or the pose is not finite.
        """
        view = self._view(depth, world_from_camera, rgb)
        self._make_blocks(view)
        return self._update(view, sign=1.0)

    def withdraw(self, depth: DepthMap, world_from_camera: F64) -> NDArray[np.int32]:
        """Take back what `integrate` did with the same depth and pose; colours stay.

        Exact as long as no voxel had reached `max_weight`; beyond, the rest keeps a bias of about the share withdrawn.
        """
        return self._update(self._view(depth, world_from_camera, None), sign=-1.0)

    def window(self, origin_voxel: tuple[int, int, int], shape: tuple[int, int, int]) -> VoxelWindow:
        """Copy a box of voxels; those of blocks that do not exist have weight 0."""
        tsdf_m, weight = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        rgb = np.zeros((*shape, 3), np.uint8)
        kernels.copy_window(
            self._table, self._slots, self._tsdf_m, self._weight, self._rgb,
            np.array(origin_voxel, np.int64), self._config.known_weight, tsdf_m, weight, rgb,
        )  # fmt: skip
        return VoxelWindow(origin_voxel, tsdf_m, weight, rgb)

    def block_keys(self) -> NDArray[np.int32]:
        """(n, 3) keys of every block that exists, in the order they were made."""
        return self._keys[: self._count].copy()

    def lend(self, keys: NDArray[np.int32]) -> VoxelBlocks:
        """Show the voxels of blocks (n, 3) in place; the arrays change with the map."""
        rows = kernels.find_slots(self._table, self._slots, np.ascontiguousarray(keys, np.int32))
        return VoxelBlocks(rows, self._tsdf_m, self._weight, self._config.known_weight)

    def blocks(self, keys: NDArray[np.int32]) -> Blocks:
        """Copy the blocks of these keys (n, 3); keys without a block are left out."""
        slots = kernels.find_slots(self._table, self._slots, np.ascontiguousarray(keys, np.int32))
        slots = slots[slots >= 0]
        return Blocks(self._keys[slots], self._tsdf_m[slots], self._weight[slots], self._rgb[slots])

    def resampled(self, keys: NDArray[np.int32], old_from_new: Sim3) -> Blocks:
        """Blocks (n, 3) of a world that lies elsewhere, as they would look; voxels that were unknown have weight 0."""
        n, e = len(keys), BLOCK_VOXELS
        distances, weights = np.zeros((n, e, e, e), np.float32), np.zeros((n, e, e, e), np.float32)
        made = Blocks(np.ascontiguousarray(keys, np.int32), distances, weights, np.zeros((n, e, e, e, 3), np.uint8))
        in_voxels = old_from_new.matrix()[:3]
        in_voxels[:, 3] /= self._config.voxel_size_m
        kernels.resample(
            self._table, self._slots, self._tsdf_m, self._weight, self._rgb, self._config.known_weight,
            in_voxels, 1.0 / old_from_new.scale, self._config.truncation_m,
            made.keys, made.tsdf_m, made.weight, made.rgb,
        )  # fmt: skip
        return made

    def load(self, blocks: Blocks) -> None:
        """Put blocks in place, over what stood there.

        Raises:
            ValueError: the arrays do not fit together, or there are more blocks than `max_blocks`.
        """
        n, edge = len(blocks.keys), BLOCK_VOXELS
        if blocks.keys.shape != (n, 3) or blocks.rgb.shape != (n, edge, edge, edge, 3):
            raise ValueError(f"keys {blocks.keys.shape} and rgb {blocks.rgb.shape} are no blocks of {edge}^3 voxels")
        if blocks.tsdf_m.shape != (n, edge, edge, edge) or blocks.weight.shape != blocks.tsdf_m.shape:
            raise ValueError(f"tsdf {blocks.tsdf_m.shape} and weight {blocks.weight.shape} do not fit {n} keys")
        if self._count + n > self._config.max_blocks:
            raise ValueError(f"{n} more blocks exceed the limit of {self._config.max_blocks}; raise max_blocks")
        self._reserve(self._count + n)
        keys = np.ascontiguousarray(blocks.keys, np.int32)
        self._count, slots = kernels.insert_all(self._table, self._slots, self._keys, self._count, keys)
        self._tsdf_m[slots], self._weight[slots], self._rgb[slots] = blocks.tsdf_m, blocks.weight, blocks.rgb

    def _view(self, depth: DepthMap, world_from_camera: F64, rgb: NDArray[np.uint8] | None) -> _View:
        k = depth.intrinsics
        if depth.z_m.shape != (k.height, k.width):
            raise ValueError(f"depth is {depth.z_m.shape}, its intrinsics are for {(k.height, k.width)}")
        if rgb is not None and rgb.shape != (k.height, k.width, 3):
            raise ValueError(f"rgb is {rgb.shape}, depth is {(k.height, k.width)}")
        if not np.isfinite(world_from_camera).all():
            raise ValueError("world_from_camera is not finite")
        planes = local_planes(depth.z_m, k)
        slant = incidence(planes, k)
        weight = trust(depth, planes, slant, self._config.half_trust_m)
        weight[depth.z_m > self._config.max_depth_m] = 0.0
        color = np.zeros((0, 0, 3), np.uint8) if rgb is None else np.ascontiguousarray(rgb)
        z_m = np.ascontiguousarray(depth.z_m, np.float32)
        return _View(z_m, slant, weight, color, k, np.ascontiguousarray(world_from_camera, np.float64))

    def _make_blocks(self, view: _View) -> None:
        """Make the blocks that the truncation band around this depth passes through, growing the pools as needed."""
        config, row = self._config, 0
        while row < len(view.z_m) and not self.is_full:
            self._reserve(self._count + 1024)
            row, self._count = kernels.make_blocks(
                self._table, self._slots, self._keys, self._count, min(len(self._keys), config.max_blocks), row,
                view.z_m, view.weight, view.pinhole, view.world_from_camera,
                config.truncation_m, config.voxel_size_m * BLOCK_VOXELS,
            )  # fmt: skip

    def _update(self, view: _View, sign: float) -> NDArray[np.int32]:
        config = self._config
        kernels.update_blocks(
            self._keys[: self._count], self._tsdf_m, self._weight, self._rgb, self._moved_m,
            view.z_m, view.slant, view.weight, view.rgb, view.pinhole, view.world_from_camera,
            config.voxel_size_m, config.truncation_m, config.max_depth_m, config.free_weight, config.max_weight,
            config.known_weight, sign,
        )  # fmt: skip
        moved_m = self._moved_m[: self._count]
        dirty = np.flatnonzero((moved_m > 0.0) & (moved_m >= config.dirty_m))
        moved_m[dirty] = 0.0
        return self._keys[dirty]

    def _reserve(self, count: int) -> None:
        """Make room for so many blocks; pools double, so growing costs each block a constant."""
        if self._count == 0:
            capacity = count
            self._keys = np.zeros((0, 3), np.int32)
            self._tsdf_m = np.zeros((0, BLOCK_VOXELS, BLOCK_VOXELS, BLOCK_VOXELS), np.float32)
            self._weight = np.zeros_like(self._tsdf_m)
            self._rgb = np.zeros((*self._tsdf_m.shape, 3), np.uint8)
            self._moved_m = np.zeros(0, np.float32)
        elif count > len(self._keys):
            capacity = max(count, 2 * len(self._keys))
        else:
            return
        self._keys, self._tsdf_m, self._weight, self._rgb, self._moved_m = (
            np.concatenate([pool[: self._count], np.zeros((capacity - self._count, *pool.shape[1:]), pool.dtype)])
            for pool in (self._keys, self._tsdf_m, self._weight, self._rgb, self._moved_m)
        )
        self._table, self._slots = kernels.make_table(self._keys[: self._count], 4 * capacity)


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """One depth map, ready for the kernels."""

    z_m: NDArray[np.float32]  # (h, w)
    slant: NDArray[np.float32]  # (h, w) distance to the surface per metre of z
    weight: NDArray[np.float32]  # (h, w)
    rgb: NDArray[np.uint8]  # (h, w, 3), or (0, 0, 3) for none
    intrinsics: Intrinsics
    world_from_camera: F64

    @property
    def pinhole(self) -> F64:
        """(4,) fx, fy, cx, cy."""
        k = self.intrinsics
        return np.array([k.fx, k.fy, k.cx, k.cy])


def warm_up() -> None:
    """Compile every kernel on a flat wall half a metre away."""
    k = Intrinsics(8.0, 8.0, 4.0, 4.0, 8, 8)
    wall = DepthMap(np.full((8, 8), 0.5, np.float32), k)
    tsdf = Tsdf()
    tsdf.integrate(wall, np.eye(4), np.zeros((8, 8, 3), np.uint8))
    tsdf.withdraw(wall, np.eye(4))
    tsdf.window((0, 0, 0), (8, 8, 8))
    tsdf.load(tsdf.resampled(tsdf.block_keys(), Sim3.identity()))
