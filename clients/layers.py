"""What each layer's update holds, as plain arrays in the world of the newest epoch.

`world_now` is `subscription.now_from(put.epoch)`; leave it out and the coordinates stay those of the put's own epoch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clients.mirror import Put, rotation_from_quat

NO_NEIGHBOUR = 0xFFFF

FLOOR, STAIRS, RAMP = 63, 62, 61
"""Kinds of ground in `Walkable.areas`; take any other for ground of a kind yet to be named."""


@dataclass(frozen=True, slots=True, eq=False)
class Surface:
    """Triangles of a `mesh`, `occluder` or `culling` tile, counter-clockwise from the free side."""

    vertices_m: NDArray[np.float64]  # (n, 3) world
    indices: NDArray[np.int64]  # (m, 3)
    rgb: NDArray[np.uint8] | None  # (n, 3)


@dataclass(frozen=True, slots=True, eq=False)
class Walkable:
    """Convex polygons of a `nav` tile."""

    agent: str
    polygons_m: list[NDArray[np.float64]]  # each (k, 3) world, in Recast's order
    areas: NDArray[np.uint8]  # (m,) of each polygon: FLOOR, STAIRS or RAMP
    detail_m: NDArray[np.float64] | None
    """(t, 3, 3) world: triangles that follow the floor's heights; None where the part `detail` was not asked for."""
    blob: bytes
    """The tile for Detour's `addTile`, in the coordinates of the put's own epoch; empty without the part `blob`."""


@dataclass(frozen=True, slots=True, eq=False)
class Cloud:
    """Points one keyframe saw."""

    points_m: NDArray[np.float64]  # (n, 3) world
    rgb: NDArray[np.uint8]  # (n, 3)


@dataclass(frozen=True, slots=True, eq=False)
class DepthMap:
    """How far a camera saw in its newest keyframe."""

    stream: str
    z_m: NDArray[np.float32]  # (h, w) along the optical axis, 0 = unknown
    world_from_camera: NDArray[np.float64]  # (4, 4) rigid, OpenCV axes
    K: tuple[float, float, float, float]  # fx, fy, cx, cy in pixels of z_m, pixel centres at +0.5


@dataclass(frozen=True, slots=True, eq=False)
class CameraPose:
    """Where a stream's camera is; `world_from_camera` is None while it is not placed."""

    stream: str
    state: str
    world_from_camera: NDArray[np.float64] | None  # (4, 4) rigid, OpenCV axes
    scale_source: str


def surface(put: Put, world_now: NDArray[np.float64] | None = None) -> Surface:
    """Read a `mesh`, `occluder` or `culling` tile.

    Raises:
        KeyError: the update is of another layer.
    """
    vertices = np.asarray(put.body["origin_m"]) + put.arrays["vertices"].astype(np.float64) * put.body["step_m"]
    return Surface(_carried(vertices, world_now), put.arrays["indices"].astype(np.int64), put.arrays.get("rgb"))


def walkable(put: Put, world_now: NDArray[np.float64] | None = None) -> Walkable:
    """Read a `nav` tile.

    Raises:
        KeyError: the update is of another layer.
    """
    cells = np.array([put.body["cell_size_m"], put.body["cell_height_m"], put.body["cell_size_m"]])
    verts = np.asarray(put.body["origin_m"]) + put.arrays["verts"].astype(np.float64) * cells
    detail_m = None
    if "detail_tris" in put.arrays:
        corners = np.concatenate([verts, put.arrays["detail_verts"].astype(np.float64)])
        detail_m = _carried(corners, world_now)[put.arrays["detail_tris"][:, 1:].astype(np.int64)]
    verts = _carried(verts, world_now)
    polygons = [verts[row[row != NO_NEIGHBOUR].astype(np.int64)] for row in put.arrays["polys"]]
    blob = put.arrays["blob"].tobytes() if "blob" in put.arrays else b""
    return Walkable(put.body["agent"], polygons, put.arrays["areas"], detail_m, blob)


def islands(put: Put) -> frozenset[int]:
    """Read the rows of `Walkable.polygons_m`, of the `nav` tile of the same key, that no way leads to: table tops.

    Raises:
        KeyError: the update is of another layer.
    """
    return frozenset(put.arrays["polygons"].tolist())


def cloud(put: Put, world_now: NDArray[np.float64] | None = None) -> Cloud:
    """Read the `points` of a keyframe.

    Raises:
        KeyError: the update is of another layer.
    """
    placed = put.body["world_from_camera"]
    camera = put.arrays["xyz"].astype(np.float64) * put.body["step_m"]
    world = camera @ rotation_from_quat(placed["q_wxyz"]).T + np.asarray(placed["t"])
    return Cloud(_carried(world, world_now), put.arrays["rgb"])


def depth(put: Put, world_now: NDArray[np.float64] | None = None) -> DepthMap:
    """Read a stream's `depth`.

    Raises:
        KeyError: the update is of another layer.
    """
    world_from_camera, scale = _placed(put.body["world_from_camera"], world_now)
    z_m = put.arrays["z"].astype(np.float32) * np.float32(put.body["step_m"] * scale)
    fx, fy, cx, cy = put.body["K"][:4]
    return DepthMap(put.body["stream"], z_m, world_from_camera, (fx, fy, cx, cy))


def pose(put: Put, world_now: NDArray[np.float64] | None = None) -> CameraPose:
    """Read a stream's `pose`.

    Raises:
        KeyError: the update is of another layer.
    """
    body = put.body
    world_from_camera = None if body["t"] is None else _placed(body, world_now)[0]
    return CameraPose(body["stream"], body["state"], world_from_camera, body["scale_source"])


def _placed(body: dict[str, Any], world_now: NDArray[np.float64] | None) -> tuple[NDArray[np.float64], float]:
    """A rigid placement carried into the world of now, and how much that scaled lengths."""
    now = np.eye(4) if world_now is None else world_now
    scale = float(np.cbrt(np.linalg.det(now[:3, :3])))
    world_from_camera = np.eye(4)
    world_from_camera[:3, :3] = now[:3, :3] / scale @ rotation_from_quat(body["q_wxyz"])
    world_from_camera[:3, 3] = now[:3, :3] @ np.asarray(body["t"]) + now[:3, 3]
    return world_from_camera, scale


def _carried(points: NDArray[np.float64], world_now: NDArray[np.float64] | None) -> NDArray[np.float64]:
    if world_now is None:
        return points
    return np.asarray(points @ world_now[:3, :3].T + world_now[:3, 3])
