"""Whether a point of the map can be seen: from a place, or by a camera that is here now."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mapping.scene_map import SceneMap
from mapping.transforms import F64, rotation_from_quat
from navmesh.recast import Point
from navmesh.tiles import TileKey
from server.answers import Found, tile_of
from server.api.queries_contract import Reason, VisibleAnswer, VisibleQuestion
from server.bus.channel import Channel
from server.protocol import Delta, unpack_server

TILE_STEP = 0.25
"""Of a tile: how finely a line is sampled for the tiles it passes over."""


@dataclass(frozen=True, slots=True)
class Look:
    """A question with the place to look from, or the reason why there is none."""

    target_m: Point
    eye_m: Point | None
    reason: Reason | None = None


def prepare(question: VisibleQuestion, channel: Channel) -> Look:
    """Find out where a question looks from; cameras are where they were last published."""
    if question.camera is None:
        return Look(question.point, question.eye)
    entry = channel.get(("pose", (question.camera,)))
    message = unpack_server(entry.frame)[0] if entry is not None and entry.epoch == channel.epoch else None
    if not isinstance(message, Delta) or message.body["t"] is None:
        return Look(question.point, None, "no_camera")
    body = message.body
    eye = np.array(body["t"])
    in_camera = rotation_from_quat(body["q_wxyz"]).T @ (np.array(question.point) - eye)
    if not _is_in_picture(in_camera, body["K"]):
        return Look(question.point, None, "outside_view")
    return Look(question.point, (float(eye[0]), float(eye[1]), float(eye[2])))


def look(at: Look, world: SceneMap, tile_size_m: float) -> Found:
    """Follow the line of sight through the voxels. Called by the writer thread, which owns them."""
    if at.eye_m is None:
        return Found(VisibleAnswer(found=False, reason=at.reason))
    eye, target = np.array(at.eye_m), np.array(at.target_m)
    try:
        sight = world.line_of_sight(eye, target)
    except ValueError:  # the coordinates were checked: what is left is the distance
        return Found(VisibleAnswer(found=False, reason="too_far"))
    reasons: dict[str, Reason | None] = {"visible": None, "occluded": "occluded", "unknown": "unseen"}
    hit = None
    if sight.blocker_m is not None:
        hit = _point(eye + (target - eye) * (sight.blocker_m / sight.distance_m))
    found = VisibleAnswer(
        found=sight.verdict != "unknown", reason=reasons[sight.verdict], state=sight.verdict, hit_m=hit
    )
    return Found(found, tuple(("mesh", (tile.x, tile.z)) for tile in _tiles_below(eye, target, tile_size_m)))


def unanswered() -> Found:
    """What is said when the map has no time for it."""
    return Found(VisibleAnswer(found=False, reason="out_of_time"))


def _is_in_picture(in_camera: F64, k: list[float] | None) -> bool:
    x, y, z = in_camera
    if z <= 0:
        return False
    if k is None:
        return True
    fx, fy, cx, cy, width, height = k
    return bool(0 <= fx * x / z + cx <= width and 0 <= fy * y / z + cy <= height)


def _tiles_below(eye: F64, target: F64, tile_size_m: float) -> list[TileKey]:
    steps = max(2, int(np.linalg.norm(target - eye) / (TILE_STEP * tile_size_m)) + 2)
    points = eye + np.linspace(0.0, 1.0, steps)[:, None] * (target - eye)
    return list(dict.fromkeys(tile_of(_point(point), tile_size_m) for point in points))


def _point(values: F64) -> Point:
    return (float(values[0]), float(values[1]), float(values[2]))
