"""Which part of space a pick means: what stands on the surface below it, as a grid of small cells.

The map is upright, so what a thing stands on is a level surface: a height at which the points of all views cover much
ground. Above it, the points fall apart into connected bodies, of which the pick takes one (a click) or those that lie
within what was drawn (a box, a mask).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from mapping.objects.mesh import F64
from mapping.objects.view import View
from mapping.transforms import invert, project, unproject

_LIFT_M, _MAX_LIFT_M = 0.008, 0.03
_CELLS = 160
_MIN_CELL_M = 0.01
_MIN_POINTS = 3
_GROUND_CELL_M, _GROUND_M2 = 0.02, 0.01
_STEP_M = 0.01
_OUTSTANDING, _AROUND_STEPS = 2.0, 15
_BELOW_CLICK_M = 0.02
_SNAP_M = 0.04
_CLICK_REACHES_M = (0.8, 1.6, 2.4)
"""One after the other, until the thing is not cut off."""
_MAX_REACH_M = 2.4
_SHARE_INSIDE = 0.7
_MIN_GROUND_POINTS = 200
_MAX_SLOPE = 0.05


class NothingThere(ValueError):
    """The pick meets nothing that could be captured; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Click:
    """One pixel of one view: the thing there, that stands on the nearest level surface below it."""

    view: int
    u_px: float
    v_px: float


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in one view that holds the whole thing, down to where it stands."""

    view: int
    left_px: float
    top_px: float
    right_px: float
    bottom_px: float


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """The thing's mask in one view."""

    view: int
    mask: NDArray[np.bool_]  # (h, w)


Pick = Click | Box | Outline


@dataclass(frozen=True, slots=True)
class Floor:
    """What it stands on: the plane `y = slope_x x + slope_z z + at_zero_m`, level but for the map's own error."""

    slope_x: float
    slope_z: float
    at_zero_m: float

    def height_m(self, points_m: ArrayLike) -> F64:
        """(...) its height below or above points (..., 3)."""
        points = np.asarray(points_m, np.float64)
        return np.asarray(self.slope_x * points[..., 0] + self.slope_z * points[..., 2] + self.at_zero_m)

    def above_m(self, points_m: ArrayLike) -> F64:
        """(...) how far points (..., 3) are above it."""
        return np.asarray(np.asarray(points_m, np.float64)[..., 1] - self.height_m(points_m))


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """The cells that the thing's visible surface passes through; cell (i, j, k) begins at `low_m + (i, j, k) cells`."""

    low_m: F64  # (3,) world
    cell_m: float
    cells: NDArray[np.bool_]  # (nx, ny, nz)
    floor: Floor
    lift_m: float
    """Points closer to the floor than this may be its noise."""

    def bounds_m(self) -> tuple[F64, F64]:
        """(3,), (3,) the lowest and highest corner of its cells, down to the floor."""
        used = np.argwhere(self.cells)
        low, high = self.low_m + used.min(0) * self.cell_m, self.low_m + (used.max(0) + 1) * self.cell_m
        low[1] = min(
            float(self.floor.height_m(corner)) for corner in (low, high, [low[0], 0, high[2]], [high[0], 0, low[2]])
        )
        return low, high

    def holds(self, points_m: F64, reach_cells: int = 1) -> NDArray[np.bool_]:
        """(...,) whether points (..., 3) lie in its cells, or so many cells beside them."""
        near = ndimage.binary_dilation(self.cells, np.ones((3, 3, 3)), reach_cells) if reach_cells else self.cells
        at = np.floor((points_m - self.low_m) / self.cell_m).astype(np.int64)
        inside = np.all((at >= 0) & (at < self.cells.shape), axis=-1)
        safe = np.where(inside[..., None], at, 0)
        return np.asarray(inside & near[safe[..., 0], safe[..., 1], safe[..., 2]])


def find(views: Sequence[View], pick: Pick) -> Region:
    """What the pick means; every view needs depth.

    Raises:
        NothingThere: no depth at the pick, nothing level below it, or no body of its own.
    """
    if not 0 <= pick.view < len(views):
        raise NothingThere(f"there is no view {pick.view} among {len(views)}")
    picked = _picked(views[pick.view], pick)
    seeds = world_points(views[pick.view])[picked & _known(views[pick.view])]
    if len(seeds) < 5:
        raise NothingThere("no depth is known where the pick is: pick another place or another picture")
    centre = np.median(seeds, axis=0)
    wide_m = float(np.clip(np.ptp(seeds, axis=0).max(), 0.3, _MAX_REACH_M))
    for reach_m in _CLICK_REACHES_M if isinstance(pick, Click) else (wide_m,):
        region = _within(views, pick, picked, seeds, centre, reach_m)
        low, high = region.bounds_m()
        if max(np.abs(low - centre).max(), np.abs(high - centre).max()) < reach_m - 2 * region.cell_m:
            break  # the whole of it, not cut off
    return region


def _within(
    views: Sequence[View], pick: Pick, picked: NDArray[np.bool_], seeds: F64, centre: F64, reach_m: float
) -> Region:
    """What the pick means among the points so far from its centre."""
    points = _points_around(views, centre, reach_m)
    floor = _floor(points, seeds, views[pick.view], pick, centre)
    lift_m = _lift_m(floor, points)
    above = points[floor.above_m(points) > lift_m]
    if not len(above):
        raise NothingThere("nothing stands there")
    low_m = above.min(0)
    cell_m = max(_MIN_CELL_M, float(np.ptp(above, axis=0).max()) / _CELLS)
    at = np.floor((above - low_m) / cell_m).astype(np.int64)
    counts = np.zeros(at.max(0) + 1, np.int32)
    np.add.at(counts, tuple(at.T), 1)
    bodies, number = ndimage.label(counts >= _MIN_POINTS, np.ones((3, 3, 3)))
    body = bodies[tuple(at.T)]
    chosen = _chosen(body, number, above, seeds[floor.above_m(seeds) > lift_m], views[pick.view], pick, picked)
    return Region(low_m, cell_m, np.isin(bodies, chosen), floor, lift_m)


def world_points(view: View) -> F64:
    """(h, w, 3) the world point of each pixel; where depth is unknown, the camera's centre."""
    assert view.depth_m is not None
    pose = view.world_from_camera
    return np.asarray(unproject(view.depth_m, view.intrinsics).astype(np.float64) @ pose[:3, :3].T + pose[:3, 3])


def _known(view: View) -> NDArray[np.bool_]:
    assert view.depth_m is not None
    return np.asarray(view.depth_m > 0)


def _picked(view: View, pick: Pick) -> NDArray[np.bool_]:
    h, w = view.intrinsics.height, view.intrinsics.width
    if isinstance(pick, Outline):
        if pick.mask.shape != (h, w):
            raise NothingThere(f"the mask is {pick.mask.shape}, its picture {(h, w)}")
        return pick.mask
    u, v = np.meshgrid(np.arange(w) + 0.5, np.arange(h) + 0.5)
    if isinstance(pick, Click):
        return np.asarray(np.hypot(u - pick.u_px, v - pick.v_px) <= 4)
    return np.asarray((u >= pick.left_px) & (u <= pick.right_px) & (v >= pick.top_px) & (v <= pick.bottom_px))


def _points_around(views: Sequence[View], centre: F64, reach_m: float) -> F64:
    """(n, 3) every second pixel's point in a box around the centre."""
    parts = []
    for view in views:
        points = world_points(view)[::2, ::2][_known(view)[::2, ::2]]
        parts.append(points[np.all(np.abs(points - centre) <= reach_m, axis=1)])
    return np.concatenate(parts)


def _floor(points: F64, seeds: F64, view: View, pick: Pick, centre: F64) -> Floor:
    """The level surface that the picked thing stands on."""
    levels, areas = _levels(points)
    is_level = areas >= _GROUND_M2
    if isinstance(pick, Click):
        below = levels[is_level & (levels < centre[1] - _BELOW_CLICK_M)]
        if not len(below):
            raise NothingThere("nothing level is seen below it: film more of what it stands on")
        return _refined(points, float(below.max()))
    if isinstance(pick, Box):
        pixels = world_points(view)
        h = view.intrinsics.height
        last = int(np.clip(pick.bottom_px, 1, h))
        first = max(0, last - max(3, int(0.04 * (pick.bottom_px - pick.top_px))))
        middle = slice(*np.clip([pick.left_px, pick.right_px], 0, view.intrinsics.width).astype(int))
        strip = pixels[first:last, middle][_known(view)[first:last, middle]]
        guess_m = float(np.median(strip[:, 1])) if len(strip) else float(np.percentile(seeds[:, 1], 2))
    else:
        guess_m = float(np.percentile(seeds[:, 1], 1))
    near = levels[is_level & (np.abs(levels - guess_m) <= _SNAP_M)]
    return _refined(points, float(near[np.argmin(np.abs(near - guess_m))]) if len(near) else guess_m)


def _levels(points: F64) -> tuple[F64, F64]:
    """Heights (n,), and the ground (n,) in m2 that points at each of them cover, where that is a local maximum."""
    low = points.min(0)
    level = np.floor((points[:, 1] - low[1]) / _STEP_M).astype(np.int64)
    row, column = np.floor((points[:, [0, 2]] - low[[0, 2]]) / _GROUND_CELL_M).astype(np.int64).T
    covered = np.zeros((level.max() + 1, row.max() + 1, column.max() + 1), np.bool_)
    covered[level, row, column] = True
    areas = covered.sum(axis=(1, 2)) * _GROUND_CELL_M**2
    padded = np.pad(areas, 1)
    peak = (areas >= padded[:-2]) & (areas >= padded[2:])
    # What stands upright covers a little ground at every height; a level surface far more at its own.
    peak &= areas >= _OUTSTANDING * ndimage.median_filter(areas, _AROUND_STEPS, mode="constant")
    heights = low[1] + (np.arange(len(areas)) + 0.5) * _STEP_M
    return heights, np.where(peak, areas, 0.0)


def _refined(points: F64, level_m: float) -> Floor:
    """The plane through the points at about that height; without enough of them, the height itself."""
    floor = Floor(0.0, 0.0, level_m)
    for reach_m in (2.5 * _STEP_M, 1.5 * _STEP_M, _STEP_M):
        near = points[np.abs(floor.above_m(points)) <= reach_m]
        if len(near) < _MIN_GROUND_POINTS:
            return floor
        slopes = np.linalg.lstsq(np.column_stack([near[:, 0], near[:, 2], np.ones(len(near))]), near[:, 1])[0]
        if np.hypot(slopes[0], slopes[1]) > _MAX_SLOPE:
            return floor
        floor = Floor(*slopes.tolist())
    return floor


def _lift_m(floor: Floor, points: F64) -> float:
    """Three sigma of the ground's own noise, within bounds."""
    off_m = np.abs(floor.above_m(points))
    near = off_m[off_m <= 2.5 * _STEP_M]
    sigma_m = 1.4826 * float(np.median(near)) if len(near) else 0.0
    return float(np.clip(3 * sigma_m, _LIFT_M, _MAX_LIFT_M))


def _chosen(
    body: NDArray[np.int32],
    number: int,
    points: F64,
    seeds: F64,
    view: View,
    pick: Pick,
    picked: NDArray[np.bool_],
) -> NDArray[np.int64]:
    """Labels of the bodies that the pick means."""
    sizes = np.bincount(body, minlength=number + 1)
    sizes[0] = 0
    if isinstance(pick, Click):
        if not len(seeds):
            raise NothingThere("the pick is on the ground: pick something that stands on it")
        away = np.min(np.linalg.norm(points[:, None] - np.median(seeds, axis=0), axis=2), axis=1)
        away[body == 0] = np.inf
        return np.array([body[np.argmin(away)]])
    camera = invert(view.world_from_camera)
    pixels = project(points @ camera[:3, :3].T + camera[:3, 3], view.intrinsics)
    h, w = picked.shape
    near = ndimage.binary_dilation(picked, iterations=4)
    column, row = (np.nan_to_num(pixels[:, c], nan=-1).astype(np.int64) for c in (0, 1))
    in_image = (column >= 0) & (row >= 0) & (column < w) & (row < h)
    inside = in_image & near[np.where(in_image, row, 0), np.where(in_image, column, 0)]
    share = np.bincount(body, inside, number + 1) / np.maximum(sizes, 1)
    own = (share >= _SHARE_INSIDE) & (sizes > 0)
    own &= sizes >= 0.05 * sizes[own].max(initial=0)
    if not own.any():
        raise NothingThere("what was drawn around is part of something larger: move it free, or draw around all of it")
    return np.flatnonzero(own)
