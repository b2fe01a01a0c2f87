"""Marks for depth: each keyframe's first depth map, made from frames up to it, against the depth sensor.

The unit of a component is free, so one factor per component (the median ratio over all its pixels and keyframes) is
taken out; nothing is fitted per frame. The sensor's points are seen from the keyframe's camera by the true poses, from
the nearest recorded depth within a tenth of a second.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.clips import Clip
from benchmarks.evaluation.phone import Phone
from benchmarks.evaluation.session import Played, Session, causal_depth
from mapping.transforms import invert, project, unproject
from streams.frame import Intrinsics

NEAR_ENOUGH_S = 0.1
WITHIN = 0.1
SURE = 0.5
"""Confidence from which the map shows a pixel to clients."""
WANTED_DENSITY = 0.8
_ONE_SURFACE = 0.05


@dataclass(frozen=True, slots=True)
class DepthMarks:
    """Over all pixels that the sensor knows, of all keyframes that have truth."""

    keyframes: int
    absrel: float
    """Mean |d - d*| / d* of the surest pixels that make up 80 % of those the sensor knows (all, if there are fewer)."""
    within_10pct: float
    density: float
    """Share of the sensor's pixels that have any depth."""
    all_absrel: float
    all_within_10pct: float
    scale: float | None
    """True metres per metre of the map by its depth; where it differs from the path's, depth or truth are bent."""
    sure_absrel: float
    sure_within_10pct: float
    sure_density: float
    """Of those the map calls sure (confidence of one half and more)."""


def mark_depth(session: Session, played: Played) -> DepthMarks | None:
    """Compare the depth a phone's keyframes got; None where there is none to compare."""
    ratios: dict[int, list[NDArray[np.float32]]] = {}
    sures: dict[int, list[NDArray[np.float32]]] = {}
    num_known = num_keyframes = 0
    for mapped in played.mapped:
        found, view = causal_depth(mapped), mapped.view
        if found is None or view is None:
            continue
        true = true_depth(played.phone, mapped.tracked.seq, view.intrinsics.width, view.intrinsics.height)
        if true is None:
            continue
        depth, sure = found
        both = (true > 0) & (depth > 0) & np.isfinite(depth)
        num_keyframes += 1
        num_known += int(np.count_nonzero(true > 0))
        ratios.setdefault(mapped.tracked.component, []).append(depth[both] / true[both])
        sures.setdefault(mapped.tracked.component, []).append(sure[both])
    if not num_known or not any(len(r) for parts in ratios.values() for r in parts):
        return None
    joined = {c: np.concatenate(parts) for c, parts in ratios.items()}
    unit = {c: max(float(np.median(r)), 1e-9) for c, r in joined.items() if len(r)}
    ratio = np.concatenate([joined[c] / unit[c] for c in unit])
    sure = np.concatenate([np.concatenate(sures[c]) for c in unit])
    largest = max(unit, key=lambda c: len(joined[c]))
    world = session.world_from(played, largest)
    surest = np.argsort(-sure, kind="stable")[: round(WANTED_DENSITY * num_known)]
    error = np.abs(ratio - 1.0)
    shown = sure >= SURE
    return DepthMarks(
        num_keyframes,
        *_pair(error[surest]),
        round(len(error) / num_known, 4),
        *_pair(error),
        None if world is None else round(1.0 / (unit[largest] * world.scale), 4),
        *_pair(error[shown]),
        round(int(np.count_nonzero(shown)) / num_known, 4),
    )


def true_depth(phone: Phone, seq: int, width: int, height: int) -> NDArray[np.float32] | None:
    """The sensor's depth (height, width) as the phone's camera saw it at a frame, lens straightened; 0 = unknown."""
    clip = phone.clip
    near = nearest_depth(clip, seq)
    if near is None or (there := clip.truth.get(near)) is None or (here := clip.truth.get(seq)) is None:
        return None
    depth = clip.depth(near)
    assert depth is not None
    points = unproject(depth.z_m, depth.intrinsics)[depth.z_m > 0].astype(np.float64)
    here_from_there = invert(here) @ there
    points = points @ here_from_there[:3, :3].T + here_from_there[:3, 3]
    camera = phone.camera.scaled(width, height)
    return splat(points, Intrinsics(camera.fx, camera.fy, camera.cx, camera.cy, width, height))


def nearest_depth(clip: Clip, seq: int) -> int | None:
    """The nearest frame with recorded depth, within a tenth of a second."""
    reach = int(NEAR_ENOUGH_S * clip.fps)
    for step in sorted(range(-reach, reach + 1), key=abs):
        if clip.has_depth(seq + step):
            return seq + step
    return None


def splat(points_camera: NDArray[np.float64], camera: Intrinsics) -> NDArray[np.float32]:
    """Depth map (h, w) of points (n, 3): the mean of the nearest surface in each pixel, 0 where there is none."""
    z = points_camera[:, 2]
    ahead = z > 1e-3
    uv = np.floor(project(points_camera[ahead], camera)).astype(np.int64)
    z = z[ahead]
    inside = (uv[:, 0] >= 0) & (uv[:, 0] < camera.width) & (uv[:, 1] >= 0) & (uv[:, 1] < camera.height)
    flat, z = uv[inside, 1] * camera.width + uv[inside, 0], z[inside]
    nearest = np.full(camera.width * camera.height, np.inf)
    np.minimum.at(nearest, flat, z)
    front = z < nearest[flat] * (1 + _ONE_SURFACE)
    count = np.bincount(flat[front], minlength=len(nearest))
    total = np.bincount(flat[front], z[front], minlength=len(nearest))
    mean = total / np.maximum(count, 1)
    return mean.reshape(camera.height, camera.width).astype(np.float32)


def _pair(error: NDArray[np.floating]) -> tuple[float, float]:
    if not len(error):
        return float("nan"), float("nan")
    return round(float(error.mean()), 4), round(float(np.mean(error < WITHIN)), 4)
