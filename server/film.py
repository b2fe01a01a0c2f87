"""Which keyframes of a live map show one place best, and those keyframes as a generator takes them.

Somebody points at a thing: at a pixel of a keyframe, or at a point of the world. The keyframes that see that point,
by their depth, are ranked by how much a new side of it they show.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mapping.objects.view import View
from mapping.transforms import invert, project
from mapping.volume.visibility import DepthView
from server.api.contract import NotFound, Unprocessable
from server.generation.keyframes import Keyframes

F64 = NDArray[np.float64]
PICKS = frozenset({"click", "box", "point_m"})
"""Params that point at something."""
MAX_VIEWS = 12
LONG_SIDE_PX = 640
SAME_DEPTH = 0.1
"""Relative: so much may the depth at a point differ from its distance where it is seen."""
_REACH_PX = 6


@dataclass(frozen=True, slots=True)
class _Target:
    keyframe: str
    u: float
    """0..1 of the width, as `v` of the height."""
    v: float
    point: F64


def film(
    scene: str,
    epoch: int,
    looks: Mapping[str, DepthView],
    picture: Callable[[str], NDArray[np.uint8] | None],
    params: Mapping[str, Any],
) -> tuple[Keyframes, dict[str, Any]]:
    """What was chosen, and the params with the pick as a pixel of one of these keyframes.

    Args:
        looks: depth of the keyframes whose pictures are kept, newest last.
        picture: RGB (h, w, 3) of a keyframe, of any size.
        params: `point_m` [x, y, z], or `keyframe` (the newest if left out) with `click` [u, v] or `box` [left, top,
            right, bottom] in pixels of `width_px` x `height_px` (the picture's own if left out).

    Raises:
        NotFound: there is no such keyframe, or no picture is kept.
        Unprocessable: the pick is none, or nothing is known to be there.
    """
    if not looks:
        raise NotFound("no keyframe of this scene has both its picture and depth any more; film the thing again")
    target = _at_point(params["point_m"], looks) if "point_m" in params else _at_pixel(params, looks, picture)
    views = {}
    for name in _choose(looks, target):
        rgb = picture(name)
        if rgb is not None:
            views[name] = _view(looks[name], rgb)
    if target.keyframe not in views:
        raise NotFound(f"the picture of keyframe {target.keyframe} is not kept any more")
    in_time = {name: views[name] for name in looks if name in views}
    picked = {key: value for key, value in params.items() if key != "point_m"} | {"keyframe": target.keyframe}
    k = views[target.keyframe].intrinsics
    if "box" not in params:
        picked |= {"click": [target.u * k.width, target.v * k.height], "width_px": k.width, "height_px": k.height}
    return Keyframes(scene, epoch, in_time), picked


def pick_within(outline: bytes) -> dict[str, Any]:
    """Params that point into what a mask (PNG, JPEG, WebP; bright = the thing) shows, as near to its middle as can be.

    Decodes it: only for what `jobs.inputs.checked` let pass.

    Raises:
        Unprocessable: it cannot be decoded, or shows nothing.
    """
    gray = cv2.imdecode(np.frombuffer(outline, np.uint8), cv2.IMREAD_GRAYSCALE)
    if gray is None:
        raise Unprocessable("the mask cannot be decoded")
    height, width = gray.shape
    step = -(-max(height, width) // LONG_SIDE_PX)  # blocks: a list of every bright pixel may be gigabytes
    blocks = np.maximum.reduceat(np.maximum.reduceat(gray, range(0, height, step), 0), range(0, width, step), 1)
    inside = np.argwhere(blocks > 127)
    if not len(inside):
        raise Unprocessable("the mask is empty")
    top, left = step * inside[np.argmin(((inside - inside.mean(0)) ** 2).sum(1))]
    row, column = np.argwhere(gray[top : top + step, left : left + step] > 127)[0] + (top, left)
    return {"click": [float(column) + 0.5, float(row) + 0.5], "width_px": width, "height_px": height}


def _at_pixel(
    params: Mapping[str, Any], looks: Mapping[str, DepthView], picture: Callable[[str], NDArray[np.uint8] | None]
) -> _Target:
    name = str(params.get("keyframe") or list(looks)[-1])
    if name not in looks:
        raise NotFound(f"keyframe {name[:64]!r} is not kept any more")
    rgb = picture(name)
    size = rgb.shape[1::-1] if rgb is not None else (0, 0)
    try:
        width, height = float(params.get("width_px", size[0])), float(params.get("height_px", size[1]))
        if "box" in params:
            left, top, right, bottom = map(float, params["box"])
            u, v = (left + right) / 2 / width, (top + bottom) / 2 / height
        else:
            u, v = float(params["click"][0]) / width, float(params["click"][1]) / height
    except (KeyError, TypeError, ValueError, IndexError, ZeroDivisionError):
        raise Unprocessable("pick with `click` [u, v], `box` [left, top, right, bottom], `point_m` or a mask") from None
    if not (0 <= u <= 1 and 0 <= v <= 1):
        raise Unprocessable("the pick lies outside of the picture")
    look = looks[name]
    z = _depth_near(look.depth, u * look.depth.shape[1], v * look.depth.shape[0])
    if z <= 0:
        raise Unprocessable("no depth is known at that pixel; pick another, or film it from nearer")
    k = look.intrinsics
    ray = np.array([(u * k.width - k.cx) / k.fx, (v * k.height - k.cy) / k.fy, 1.0])
    point = look.world_from_camera[:3, :3] @ (ray * z * look.metres_per_unit) + look.world_from_camera[:3, 3]
    return _Target(name, u, v, point)


def _at_point(point_m: Any, looks: Mapping[str, DepthView]) -> _Target:
    try:
        point = np.array([float(value) for value in point_m]).reshape(3)
    except (TypeError, ValueError):
        raise Unprocessable("point_m is three numbers") from None
    seen = [(name, pixel) for name, look in looks.items() if (pixel := _seen_at(look, point)) is not None]
    if not seen:
        raise Unprocessable("no keyframe sees that point; film it first")
    name, (u, v) = min(seen, key=lambda one: float(np.linalg.norm(looks[one[0]].world_from_camera[:3, 3] - point)))
    return _Target(name, u, v, point)


def _choose(looks: Mapping[str, DepthView], target: _Target) -> Sequence[str]:
    """The picked keyframe, then those that see the target from the directions that are missing most."""
    seeing = [name for name, look in looks.items() if name == target.keyframe or _seen_at(look, target.point)]
    towards = {name: _direction(looks[name].world_from_camera[:3, 3] - target.point) for name in seeing}
    chosen = [target.keyframe]
    while len(chosen) < min(MAX_VIEWS, len(seeing)):
        rest = [name for name in seeing if name not in chosen]
        chosen.append(max(rest, key=lambda name: -max(float(towards[name] @ towards[other]) for other in chosen)))
    return chosen


def _seen_at(look: DepthView, point: F64) -> tuple[float, float] | None:
    """Where a keyframe sees a point, in 0..1 of width and height; None where it does not."""
    camera = (invert(look.world_from_camera) @ np.append(point, 1.0))[:3]
    if camera[2] <= 0.05:
        return None
    k = look.intrinsics
    u, v = project(camera[None], k)[0] / (k.width, k.height)
    if not (0 <= u < 1 and 0 <= v < 1):
        return None
    z = _depth_near(look.depth, u * look.depth.shape[1], v * look.depth.shape[0]) * look.metres_per_unit
    return (float(u), float(v)) if abs(z - camera[2]) <= SAME_DEPTH * camera[2] else None


def _depth_near(depth: NDArray[np.floating], u_px: float, v_px: float) -> float:
    """The median of what is known around a pixel; 0 where nothing is."""
    u, v = int(u_px), int(v_px)
    patch = depth[max(0, v - _REACH_PX) : v + _REACH_PX + 1, max(0, u - _REACH_PX) : u + _REACH_PX + 1]
    known = patch[patch > 0]
    return float(np.median(known)) if known.size else 0.0


def _view(look: DepthView, rgb: NDArray[np.uint8]) -> View:
    """Picture and depth of one size."""
    shrink = min(1.0, LONG_SIDE_PX / max(rgb.shape[:2]))
    size = round(rgb.shape[1] * shrink), round(rgb.shape[0] * shrink)
    depth_m = np.asarray(look.depth, np.float32) * np.float32(look.metres_per_unit)
    return View(
        rgb=np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8),
        world_from_camera=look.world_from_camera,
        intrinsics=look.intrinsics.scaled(*size),
        depth_m=np.asarray(cv2.resize(depth_m, size, interpolation=cv2.INTER_NEAREST), np.float32),
    )


def _direction(v: F64) -> F64:
    return v / max(float(np.linalg.norm(v)), 1e-9)
