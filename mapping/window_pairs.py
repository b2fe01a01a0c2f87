"""What an engine saw in a window that no tracker knows: how its newest keyframe lies to old ones and to other phones'.

An engine that sees pictures together says where their cameras are to each other. Of those the phone has just walked
past, its tracker knows better: they tell the window's unit, and by how much the engine is off today. Of the others - a
place the walk came back to, a keyframe of another phone - it may know what nobody else does. Its word becomes a pair
like those of place recognition and is believed as they are: several have to agree, nothing may contradict. The unit is
never the network's: either side's depth, in its own unit, has to show one surface, and that surface has to look alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from mapping.alignment import fit_cameras
from mapping.changes import KeyframeId
from mapping.engines import WindowPrediction
from mapping.kept import Kept
from mapping.places import contradiction
from mapping.places.agreement import Seen
from mapping.places.pose_graph import Poses, adjoints
from mapping.places.similarity import Sights
from mapping.places.verification import Pair
from mapping.sampling import evenly
from mapping.transforms import F64, Sim3, angle_between, invert

NOISE_PX = 2.0
"""What `places.links` takes pairs to be off by: their information is for one pixel."""
_PICTURE_PX = 640.0
"""Long side of the pictures in which pairs of recognition are measured."""


class Config(BaseModel):
    """When an engine's word is worth a pair."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    walked_on: int = Field(default=12, ge=1)
    """Keyframes in between up to which the tracker knows better."""
    min_near: int = Field(default=4, ge=3)
    """Of those it needs so many: the engine is judged by them."""
    max_turn_deg: float = Field(default=3.0, gt=0)
    """RMS by which the engine may be off."""
    max_shift: float = Field(default=0.05, gt=0)
    """The same, in median depths; for each pair with what an uncertain unit adds to it on the way between the two."""
    max_pairs: int = Field(default=3, ge=1)
    """A window tells: each costs some 20 ms."""
    points: int = Field(default=400, ge=40)
    """Of either side's surface that are looked for on the other's."""
    depth_error: float = Field(default=0.1, gt=0)
    """Depths are those of one surface within this share of them."""
    min_share: float = Field(default=0.5, gt=0, le=1)
    """Of the points in the other's picture that lie on its surface."""
    min_points: int = Field(default=40, ge=6)
    looks: contradiction.Config = contradiction.Config(shift_px=2)
    """When surfaces look alike; an engine's pose is off by a pixel or two of the kept pictures."""


@dataclass(frozen=True, slots=True, eq=False)
class _Eye:
    """A keyframe, and where the engine saw its camera."""

    kept: Kept
    own_from_camera: F64


@dataclass(frozen=True, slots=True, eq=False)
class _Judged:
    """The engine's frame in the newest keyframe's component, and what its poses are off by there."""

    component_from_own: Sim3
    turn_rad: float
    shift: float  # component units
    scale: float  # relative


def pairs_of(
    prediction: WindowPrediction,
    kept_of: Callable[[KeyframeId], Kept | None],
    order: Mapping[int, object],
    config: Config = Config(),  # noqa: B008
) -> list[Seen]:
    """Pairs (a: an older or another phone's keyframe, b: the newest) that a window has shown; none is believed yet.

    Args:
        kept_of: what a keyframe shows, with its depth; None = it is not kept.
        order: the frame numbers of the newest keyframe's component, in the order of their coming.
    """
    eyes = [
        _Eye(kept, view.own_from_camera)
        for view in prediction.views
        if view.own_from_camera is not None and (kept := kept_of(view.keyframe)) is not None
    ]
    if len(eyes) <= config.min_near or eyes[-1].kept.id != prediction.views[-1].keyframe:
        return []
    newest, count = eyes[-1].kept, {seq: n for n, seq in enumerate(order)}
    oldest_known = count.get(newest.seq, 0) - config.walked_on
    near = [e for e in eyes if e.kept.component == newest.component and count.get(e.kept.seq, -1) >= oldest_known]
    far = [e for e in eyes if e not in near]
    judged = _judge(near, newest, config) if far else None
    if judged is None:
        return []
    told = [
        seen for eye in far[evenly(len(far), config.max_pairs)] if (seen := _pair(eye, far, newest, judged, config))
    ]
    shared = 1.0 / max(1, len(told))  # they rest on one pose of the newest
    return [replace(s, pair=replace(s.pair, information=shared * s.pair.information)) for s in told]


def _judge(near: Sequence[_Eye], newest: Kept, config: Config) -> _Judged | None:
    """The engine measured by the tracker; None where it is not worth hearing, or nothing tells."""
    own = np.array([eye.own_from_camera for eye in near])
    tracked = np.array([eye.kept.component_from_camera for eye in near])
    fit = fit_cameras(own, tracked) if len(near) >= config.min_near else None
    if fit is None:
        return None
    there = np.array([fit.b_from_a.apply_pose(pose) for pose in own])
    turned = [angle_between(a[:3, :3], b[:3, :3]) for a, b in zip(there, tracked, strict=True)]
    off = np.linalg.norm(there[:, :3, 3] - tracked[:, :3, 3], axis=1)
    unfitted = np.sqrt(len(near) / (len(near) - 2))
    turn, shift = unfitted * float(np.sqrt(np.mean(np.square(turned)))), unfitted * float(np.sqrt(np.mean(off**2)))
    scale = max(fit.scale_sigma, shift / (max(fit.spread, 1e-9) * np.sqrt(len(near))))
    is_good = turn <= np.radians(config.max_turn_deg) and shift <= config.max_shift * _median_depth(newest)
    return _Judged(fit.b_from_a, turn, shift, scale) if is_good else None


def _pair(eye: _Eye, far: Iterable[_Eye], newest: Kept, judged: _Judged, config: Config) -> Seen | None:
    """The engine's word on one keyframe, if both sides' depth and looks bear it out."""
    a, b, depth = eye.kept, newest, _median_depth(newest)
    turn = max([judged.turn_rad, *_turned_among(eye, far)])
    b_from_a_camera = invert(b.component_from_camera) @ judged.component_from_own.apply_pose(eye.own_from_camera)
    on_the_way = float(np.linalg.norm(b_from_a_camera[:3, 3])) * float(np.hypot(judged.scale, turn))
    if turn > np.radians(config.max_turn_deg) or np.hypot(judged.shift, on_the_way) > config.max_shift * depth:
        return None
    scaled = _unit(a, b, b_from_a_camera, config)
    if scaled is None:
        return None
    b_from_a, scale = scaled
    forward, backward = _sights(a, b, b_from_a, config), _sights(b, a, b_from_a.inverse(), config)
    if forward is None or backward is None or not _looks_alike(a, b, b_from_a, config):
        return None
    information = _information(b_from_a, turn, judged.shift, on_the_way, scale)
    pair = Pair(b_from_a, information, forward, backward, min(len(forward), len(backward)), _median_depth(a), depth)
    return Seen(a.id, a.component, b.id, b.component, pair)


def _turned_among(eye: _Eye, far: Iterable[_Eye]) -> list[float]:
    """How far the engine is from the tracker about turns between a far keyframe and others of its walk."""
    return [
        angle_between(
            eye.own_from_camera[:3, :3].T @ other.own_from_camera[:3, :3],
            eye.kept.component_from_camera[:3, :3].T @ other.kept.component_from_camera[:3, :3],
        )
        for other in far
        if other is not eye and other.kept.component == eye.kept.component
    ]


def _unit(a: Kept, b: Kept, b_from_a: F64, config: Config) -> tuple[Sim3, float] | None:
    """With the scale under which a's surface comes to lie on b's, and its relative error; None where none does."""
    about = 1.0 if a.component == b.component else _median_depth(b) / _median_depth(a)
    reach = np.log(1.4 if a.component == b.component else 5.0)
    steps = np.arange(-reach, reach, 0.5 * config.depth_error)
    points = a.points_camera(config.looks.min_confidence, config.points)[0].astype(np.float64)

    def misfit(scale: float) -> F64:
        """Log ratio (n,) of where points lie to where b has its surface; NaN where b shows none."""
        return _off_surface(points, b, Sim3(scale, b_from_a[:3, :3], b_from_a[:3, 3]))[0]

    scales = about * np.exp(steps)
    scale = float(scales[int(np.argmax([np.count_nonzero(np.abs(misfit(s)) < config.depth_error) for s in scales]))])
    for _ in range(3):
        off = misfit(scale)
        near = off[np.abs(off) < config.depth_error]
        if len(near) < config.min_points:
            return None
        scale *= float(np.exp(-np.median(near)))
    spread = 1.48 * float(np.median(np.abs(near - np.median(near))))
    return Sim3(scale, b_from_a[:3, :3], b_from_a[:3, 3]), spread


def _sights(one: Kept, other: Kept, other_from_one: Sim3, config: Config) -> Sights | None:
    """Points of one side's surface where the other shows them; None where too few of them lie on its surface."""
    points = one.points_camera(config.looks.min_confidence, config.points)[0].astype(np.float64)
    off, xy = _off_surface(points, other, other_from_one)
    here, known = np.abs(off) < config.depth_error, np.count_nonzero(np.isfinite(off))
    if np.count_nonzero(here) < max(config.min_points, config.min_share * known):
        return None
    k, n = other.intrinsics, int(np.count_nonzero(here))
    focal = np.full(n, k.fx * _PICTURE_PX / max(k.width, k.height))
    return Sights(points[here], np.broadcast_to(np.eye(3, 4), (n, 3, 4)), xy[here], focal)


def _off_surface(points: F64, other: Kept, other_from_one: Sim3) -> tuple[F64, F64]:
    """Log ratio (n,) of points' depth to that of the surface another camera sees there, NaN = none; (n, 2) at z = 1."""
    local, k = other_from_one.apply(points), other.intrinsics
    z = np.where(local[:, 2] > 1e-9, local[:, 2], np.nan)
    xy = local[:, :2] / z[:, None]
    u, v = k.fx * xy[:, 0] + k.cx, k.fy * xy[:, 1] + k.cy
    inside = (u >= 0) & (u < k.width) & (v >= 0) & (v < k.height)
    column, row = (np.where(inside, at, 0).astype(np.intp) for at in (u, v))
    surface = np.where(inside, other.depth[row, column].astype(np.float64), 0.0)
    return np.log(z / np.where(surface > 0, surface, np.nan)), xy


def _looks_alike(a: Kept, b: Kept, b_from_a: Sim3, config: Config) -> bool:
    """Whether enough of the common surface has looks to compare, and they are alike."""
    between = (
        Sim3.from_rigid(b.component_from_camera) @ b_from_a @ Sim3.from_rigid(invert(a.component_from_camera))
    )  # fmt: skip
    return contradiction.difference(between, [(a, b)], config.looks).is_agreement(config.looks)


def _information(b_from_a: Sim3, turn_rad: float, shift: float, on_the_way: float, scale: float) -> F64:
    """(7, 7) as of `Pair`, of what camera a, the way to it and the unit are off by; shifts in the unit of b."""
    at_a = np.repeat([turn_rad, shift / b_from_a.scale, 0.0], [3, 3, 1]) ** 2
    moves = adjoints(Poses.of([b_from_a]))[0]
    at_b = np.repeat([0.0, on_the_way, scale], [3, 3, 1]) ** 2
    return np.asarray(NOISE_PX**2 * np.linalg.inv(moves @ np.diag(at_a) @ moves.T + np.diag(at_b) + 1e-12 * np.eye(7)))


def _median_depth(kept: Kept) -> float:
    known: NDArray[np.float16] = kept.depth[kept.depth > 0]
    return float(np.median(known)) if len(known) else 1.0
