"""Is a point visible from a place? A ray through the volume, with three answers: visible, occluded, unknown.

A surface on the way blocks, from whichever side it is met. Where none is met, the way must be vouched for: by voxels
known to be free, or by a keyframe whose depth lies beyond (free space far from surfaces has no voxels, see `tsdf`).
What nobody vouches for is unknown, never free.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from mapping.changes import VoxelSource
from mapping.kernels import kernel
from mapping.transforms import F64, invert
from mapping.volume.surface import MAX_STEP_VOXELS
from streams.frame import Intrinsics

Verdict = Literal["visible", "occluded", "unknown"]

_STEP_VOXELS = 0.5
_PIECE_STEPS = 32
"""Steps per window: pieces of 16 voxels keep the box around a slanting ray small."""


class Config(BaseModel):
    """How exactly a line of sight is judged."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    slack_voxels: Annotated[float, Field(ge=0)] = 1.5
    """A surface this near to either end does not block: it is what the eye rests on, or the target itself."""
    view_slack: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """A keyframe vouches for points up to this share before the depth it measured."""
    max_distance_m: Annotated[float, Field(gt=0)] = 100.0
    """Longer lines are refused."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What lies between two points."""

    verdict: Verdict
    """`occluded`: a known surface is between. `visible`: the whole way is known to be free. Else `unknown`."""
    distance_m: float
    """From the eye to the target."""
    blocker_m: float | None
    """From the eye to the first surface on the way; None unless occluded."""
    unknown_m: float
    """Length of the way that nothing vouches for; 0 when occluded, where it would change nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class DepthView:
    """What one camera measured from one place: the space before it is free."""

    world_from_camera: F64  # (4, 4) rigid, OpenCV axes
    intrinsics: Intrinsics  # of the depth map's size
    depth: NDArray[np.floating]  # (h, w) along the optical axis, 0 = unknown
    metres_per_unit: float = 1.0


def line_of_sight(
    voxels: VoxelSource,
    eye_m: F64,
    target_m: F64,
    views: Iterable[DepthView] = (),
    config: Config = Config(),  # noqa: B008
) -> Sight:
    """Judge the straight line between two world points (3,), in metres.

    Args:
        views: asked in their order, and only while part of the way is still unknown; give the likeliest first.

    Raises:
        ValueError: a point is not three finite numbers, or they are more than `max_distance_m` apart.
    """
    eye, target = _point("eye", eye_m), _point("target", target_m)
    distance_m = float(np.linalg.norm(target - eye))
    if distance_m > config.max_distance_m:
        raise ValueError(f"eye and target are {distance_m:.1f} m apart; at most {config.max_distance_m:g} m are judged")
    step_m = _STEP_VOXELS * voxels.voxel_size_m
    count = max(2, math.ceil(distance_m / step_m) + 1)
    along_m = np.linspace(0.0, distance_m, count)
    points = eye + np.linspace(0.0, 1.0, count)[:, None] * (target - eye)
    distances = _distances(voxels, points)
    blocker_m = _first_crossing(along_m, distances, config.slack_voxels * voxels.voxel_size_m, voxels.voxel_size_m)
    if blocker_m is not None:
        return Sight("occluded", distance_m, blocker_m, 0.0)
    doubtful = np.flatnonzero(~(distances > 0.0) & _inner(along_m, config, voxels.voxel_size_m))
    for view in views:
        if len(doubtful) == 0:
            break
        doubtful = doubtful[~_is_seen_free(view, points[doubtful], config.view_slack)]
    unknown_m = len(doubtful) * distance_m / (count - 1)
    return Sight("unknown" if len(doubtful) else "visible", distance_m, None, unknown_m)


def warm_up() -> None:
    """Compile the kernel."""
    ones, origin = np.ones((2, 2, 2), np.float32), np.zeros(3, np.int64)
    _sample(ones, ones, origin, 0.05, np.full((1, 3), 0.05), np.empty(1, np.float32))


def _point(name: str, point_m: F64) -> F64:
    point = np.asarray(point_m, np.float64)
    if point.shape != (3,) or not np.isfinite(point).all():
        raise ValueError(f"{name} must be three finite numbers, got {point_m!r}")
    return point


def _inner(along_m: F64, config: Config, voxel_size_m: float) -> NDArray[np.bool_]:
    slack_m = config.slack_voxels * voxel_size_m
    return np.asarray((along_m >= slack_m) & (along_m <= along_m[-1] - slack_m))


def _distances(voxels: VoxelSource, points: F64) -> NDArray[np.float32]:
    """Signed distance (n,) at points (n, 3) of a line, NaN where unknown."""
    out = np.empty(len(points), np.float32)
    for piece in _pieces(len(points)):
        cells = np.floor(points[piece] / voxels.voxel_size_m - 0.5).astype(np.int64)
        low, high = cells.min(axis=0), cells.max(axis=0) + 2
        window = voxels.window(tuple(low.tolist()), tuple((high - low).tolist()))
        _sample(window.tsdf_m, window.weight, low, voxels.voxel_size_m, points[piece], out[piece])
    return out


def _pieces(count: int) -> Iterator[slice]:
    for start in range(0, count, _PIECE_STEPS):
        yield slice(start, min(start + _PIECE_STEPS, count))


def _first_crossing(along_m: F64, distances: NDArray[np.float32], slack_m: float, voxel_size_m: float) -> float | None:
    """Where the line first meets a surface farther than `slack_m` from both ends."""
    before, after = distances[:-1].astype(np.float64), distances[1:].astype(np.float64)
    with np.errstate(invalid="ignore"):
        is_crossing = ((before < 0.0) != (after < 0.0)) & (np.abs(after - before) <= MAX_STEP_VOXELS * voxel_size_m)
    at = np.flatnonzero(is_crossing)
    met_m = along_m[at] + before[at] / (before[at] - after[at]) * (along_m[at + 1] - along_m[at])
    met_m = met_m[(met_m > slack_m) & (met_m < along_m[-1] - slack_m)]
    return float(met_m[0]) if len(met_m) else None


def _is_seen_free(view: DepthView, points: F64, slack: float) -> NDArray[np.bool_]:
    """Which of the points (n, 3) lie before what the camera measured."""
    camera_from_world = invert(view.world_from_camera)
    x, y, z = (points @ camera_from_world[:3, :3].T + camera_from_world[:3, 3]).T
    k = view.intrinsics
    ahead = z > 1e-3
    safe_z = np.where(ahead, z, 1.0)
    u = np.floor(np.clip(k.fx * x / safe_z + k.cx, -1, k.width)).astype(np.int64)
    v = np.floor(np.clip(k.fy * y / safe_z + k.cy, -1, k.height)).astype(np.int64)
    inside = ahead & (u >= 0) & (u < k.width) & (v >= 0) & (v < k.height)
    out = np.zeros(len(points), np.bool_)
    measured_m = view.depth[v[inside], u[inside]].astype(np.float64) * view.metres_per_unit
    out[inside] = z[inside] < measured_m * (1.0 - slack)
    return out


@kernel
def _sample(
    tsdf_m: NDArray[np.float32],
    weight: NDArray[np.float32],
    origin: NDArray[np.int64],
    voxel_size_m: float,
    points: F64,
    out: NDArray[np.float32],
) -> None:
    """Trilinear between eight known voxel centres; the nearest voxel's value at the rim of what is known; else NaN."""
    for n in range(len(points)):
        x = points[n, 0] / voxel_size_m - 0.5 - origin[0]
        y = points[n, 1] / voxel_size_m - 0.5 - origin[1]
        z = points[n, 2] / voxel_size_m - 0.5 - origin[2]
        i, j, k = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
        fx, fy, fz = x - i, y - j, z - k
        total = 0.0
        low, high = np.inf, -np.inf
        is_known = True
        for corner in range(8):
            a, b, c = corner >> 2, (corner >> 1) & 1, corner & 1
            d = tsdf_m[i + a, j + b, k + c]
            is_known = is_known and weight[i + a, j + b, k + c] > 0.0 and np.isfinite(d)
            low, high = min(low, d), max(high, d)
            total += (fx if a else 1.0 - fx) * (fy if b else 1.0 - fy) * (fz if c else 1.0 - fz) * d
        if is_known:
            is_seam = low < 0.0 <= high and high - low > MAX_STEP_VOXELS * voxel_size_m  # as in `surface`
            out[n] = np.nan if is_seam else total
        else:
            i, j, k = i + int(fx >= 0.5), j + int(fy >= 0.5), k + int(fz >= 0.5)
            out[n] = tsdf_m[i, j, k] if weight[i, j, k] > 0.0 else np.nan
