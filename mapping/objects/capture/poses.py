"""Poses of a few depth views made to agree: every view's points against every other view's surface, all at once.

Point-to-plane distances (Chen & Medioni 1991), paired by projection (Blais & Levine 1995), Huber-weighted, minimised
over all poses together by Gauss-Newton. The poses that came in count as measurements with their own sigma, which also
holds the whole still: the map's frame does not drift away from under the object.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from mapping.kernels import kernel
from mapping.objects.mesh import F64
from mapping.objects.view import View
from mapping.transforms import exp_so3, unproject
from mapping.volume.depth import local_planes


class Config(BaseModel):
    """How far poses may be off, and how depth is trusted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rounds: int = Field(default=20, ge=0)
    sigma_m: float = Field(default=0.01, gt=0)
    """Of a pose's position as it comes in."""
    sigma_rad: float = Field(default=0.0175, gt=0)
    depth_sigma_m: float = Field(default=0.006, gt=0)
    gate_m: float = Field(default=0.06, gt=0)
    """Points farther from the other view's surface are not paired; halves while the poses settle, to `last_gate_m`."""
    last_gate_m: float = Field(default=0.02, gt=0)
    max_depth_m: float = Field(default=3.0, gt=0)
    points_per_view: int = Field(default=3000, gt=0)


_SETTLED = 2e-4
"""Radians and metres: a fifth of a millimetre."""


@dataclass(frozen=True, slots=True, eq=False)
class _Cloud:
    """One view's depth as a surface, and a sparse choice of its points; camera axes."""

    points: F64  # (n, 3)
    normals: F64  # (n, 3)
    depth_m: NDArray[np.float32]  # (h, w)
    normal_map: NDArray[np.float32]  # (h, w, 3)
    pinhole: F64


def agreed(views: Sequence[View], config: Config = Config()) -> tuple[View, ...]:  # noqa: B008
    """The views with poses that fit each other; each needs depth."""
    if len(views) < 2 or config.rounds == 0:
        return tuple(views)
    clouds = [_cloud(view, config) for view in views]
    given = [view.world_from_camera for view in views]
    poses = [pose.copy() for pose in given]
    gate_m = config.gate_m
    for _ in range(config.rounds):
        step = _step(clouds, poses, given, gate_m, config)
        for i, pose in enumerate(poses):
            pose[:3, :3] = exp_so3(step[i, :3]) @ pose[:3, :3]
            pose[:3, 3] += step[i, 3:]
        gate_m = max(0.8 * gate_m, config.last_gate_m)
        if np.abs(step).max() < _SETTLED and gate_m <= config.last_gate_m:
            break
    return tuple(replace(view, world_from_camera=pose) for view, pose in zip(views, poses, strict=True))


def _step(clouds: list[_Cloud], poses: list[F64], given: list[F64], gate_m: float, config: Config) -> F64:
    """(n, 6) turn (world axes, about each camera) and shift of every pose."""
    n = len(poses)
    normal, gradient = np.zeros((6 * n, 6 * n)), np.zeros(6 * n)
    for i, source in enumerate(clouds):
        for j, target in enumerate(clouds):
            if i == j:
                continue
            block, right = np.zeros((12, 12)), np.zeros(12)
            _pair(
                source.points, source.normals, target.depth_m, target.normal_map, target.pinhole,
                poses[i], poses[j], gate_m, 2 * config.depth_sigma_m, block, right,
            )  # fmt: skip
            at = np.r_[6 * i : 6 * i + 6, 6 * j : 6 * j + 6]
            normal[np.ix_(at, at)] += block / config.depth_sigma_m**2
            gradient[at] += right / config.depth_sigma_m**2
    # Neighbouring pixels err together: a point counts as a tenth of a measurement.
    normal, gradient = 0.1 * normal, 0.1 * gradient
    for i, (pose, first) in enumerate(zip(poses, given, strict=True)):
        turned = pose[:3, :3] @ first[:3, :3].T
        off_rad = 0.5 * np.array(
            [turned[2, 1] - turned[1, 2], turned[0, 2] - turned[2, 0], turned[1, 0] - turned[0, 1]]
        )
        trust = np.r_[np.full(3, config.sigma_rad**-2), np.full(3, config.sigma_m**-2)]
        at = slice(6 * i, 6 * i + 6)
        normal[at, at] += np.diag(trust)
        gradient[at] += trust * np.r_[off_rad, pose[:3, 3] - first[:3, 3]]
    return np.asarray(-np.linalg.solve(normal, gradient).reshape(n, 6))


def _cloud(view: View, config: Config) -> _Cloud:
    assert view.depth_m is not None
    k = view.intrinsics
    depth_m = np.where(view.depth_m <= config.max_depth_m, view.depth_m, 0).astype(np.float32)
    planes = local_planes(depth_m, k)
    usable = (depth_m > 0) & ~planes.is_edge & np.any(planes.normals_camera != 0, axis=-1)
    rows, columns = np.nonzero(usable)
    chosen = slice(None, None, max(1, len(rows) // config.points_per_view))
    at = rows[chosen], columns[chosen]
    return _Cloud(
        unproject(depth_m, k)[at].astype(np.float64), planes.normals_camera[at].astype(np.float64),
        np.where(usable, depth_m, 0).astype(np.float32), planes.normals_camera, np.array([k.fx, k.fy, k.cx, k.cy]),
    )  # fmt: skip


@kernel
def _pair(
    points: NDArray[np.float64],
    normals: NDArray[np.float64],
    depth_m: NDArray[np.float32],
    normal_map: NDArray[np.float32],
    pinhole: NDArray[np.float64],
    world_from_source: NDArray[np.float64],
    world_from_target: NDArray[np.float64],
    gate_m: float,
    huber_m: float,
    block: NDArray[np.float64],
    right: NDArray[np.float64],
) -> None:
    """Add the normal equations of one view's points against another's surface."""
    h, w = depth_m.shape
    s, t = world_from_source, world_from_target
    j = np.empty(12)
    p, n, q, m = np.empty(3), np.empty(3), np.empty(3), np.empty(3)
    for i in range(len(points)):
        for a in range(3):
            p[a] = s[a, 0] * points[i, 0] + s[a, 1] * points[i, 1] + s[a, 2] * points[i, 2]  # about the source camera
            n[a] = s[a, 0] * normals[i, 0] + s[a, 1] * normals[i, 1] + s[a, 2] * normals[i, 2]
        wx, wy, wz = p[0] + s[0, 3] - t[0, 3], p[1] + s[1, 3] - t[1, 3], p[2] + s[2, 3] - t[2, 3]
        z = t[0, 2] * wx + t[1, 2] * wy + t[2, 2] * wz
        if z < 0.05:
            continue
        u = int(np.floor(pinhole[0] * (t[0, 0] * wx + t[1, 0] * wy + t[2, 0] * wz) / z + pinhole[2]))
        v = int(np.floor(pinhole[1] * (t[0, 1] * wx + t[1, 1] * wy + t[2, 1] * wz) / z + pinhole[3]))
        if u < 0 or v < 0 or u >= w or v >= h or not depth_m[v, u] > 0.0:
            continue
        d = float(depth_m[v, u])
        cx, cy = d * (u + 0.5 - pinhole[2]) / pinhole[0], d * (v + 0.5 - pinhole[3]) / pinhole[1]
        agree = 0.0
        for a in range(3):
            q[a] = t[a, 0] * cx + t[a, 1] * cy + t[a, 2] * d  # about the target camera
            m[a] = t[a, 0] * normal_map[v, u, 0] + t[a, 1] * normal_map[v, u, 1] + t[a, 2] * normal_map[v, u, 2]
            agree += m[a] * n[a]
        off = m[0] * (wx - q[0]) + m[1] * (wy - q[1]) + m[2] * (wz - q[2])
        apart = np.sqrt((wx - q[0]) ** 2 + (wy - q[1]) ** 2 + (wz - q[2]) ** 2)
        if agree < 0.8 or apart > gate_m:
            continue
        weight = 1.0 if abs(off) < huber_m else huber_m / abs(off)
        j[0], j[1], j[2] = p[1] * m[2] - p[2] * m[1], p[2] * m[0] - p[0] * m[2], p[0] * m[1] - p[1] * m[0]
        j[6], j[7], j[8] = q[2] * m[1] - q[1] * m[2], q[0] * m[2] - q[2] * m[0], q[1] * m[0] - q[0] * m[1]
        for a in range(3):
            j[3 + a] = m[a]
            j[9 + a] = -m[a]
        for a in range(12):
            right[a] += weight * j[a] * off
            for b in range(12):
                block[a, b] += weight * j[a] * j[b]
