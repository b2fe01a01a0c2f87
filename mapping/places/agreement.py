"""Where one component lies in another, once SEVERAL pairs of their keyframes say the same.

A single pair proves little: two prints of one poster, two chairs of one make. So pairs are collected, and a tie is made
when enough of them, of different keyframes, explain each other's sights; one similarity is then fitted to all sights at
once, and has to be well determined. What lies in one plane (a poster, a screen that shows another place) may be a
picture of the place instead of the place, and ties nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from mapping.changes import KeyframeId
from mapping.kept import ComponentKey
from mapping.places.similarity import Sights, joined, refine
from mapping.places.verification import Pair
from mapping.transforms import F64, Sim3, invert

PoseOf = Callable[[KeyframeId, ComponentKey], F64 | None]
"""component_from_camera (4, 4) of a keyframe of that component, as it is known by now; None = forgotten."""


_NUM_POINTS = 40


class Config(BaseModel):
    """What it takes to believe that two components show one place."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_pairs: int = Field(default=3, ge=2)
    """Pairs that agree, of two different keyframes of either side at least."""
    min_inliers: int = Field(default=90, ge=10)
    """Of all of them together."""
    agree_px: float = Field(default=10.0, gt=0)
    agree_share: float = Field(default=0.6, gt=0, le=1)
    """Two pairs agree when each puts this share of the other's sights this near to where they were seen."""
    max_scale_sigma: float = Field(default=0.05, gt=0)
    """Relative: of the joint fit for two pixels of noise, with how the pairs differ: young maps bend."""
    max_position_sigma: float = Field(default=0.03, gt=0)
    """Of the joint fit, in median depths."""
    plane_share: float = Field(default=0.9, gt=0, le=1)
    """One side's points of which more than this share lie within `plane_thickness` of one plane may be a picture."""
    plane_thickness: float = Field(default=0.02, gt=0)
    """In median depths."""
    kept_pairs: int = Field(default=16, ge=3)
    """Of two components; the oldest goes."""


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """A verified pair with the keyframes it is of."""

    a: KeyframeId
    a_component: ComponentKey
    b: KeyframeId
    b_component: ComponentKey
    pair: Pair

    def swapped(self) -> Seen:
        """The same the other way round."""
        return Seen(self.b, self.b_component, self.a, self.a_component, self.pair.swapped())


@dataclass(frozen=True, slots=True, eq=False)
class Agreed:
    """One similarity for several pairs."""

    b_from_a: Sim3  # between components
    pairs: tuple[Seen, ...]
    points_a: F64  # (n, 3) some of the points it rests on, in component a
    num_inliers: int
    scale_sigma: float
    position_sigma: float
    """In median depths."""


def agree(pairs: list[Seen], pose_of: PoseOf, config: Config = Config()) -> Agreed | None:  # noqa: B008
    """The similarity that most of some pairs (a of one component, b of another) agree on; None = not proven."""
    known = [
        (s, s.pair, pose_a, pose_b)
        for s in pairs
        if (pose_a := pose_of(s.a, s.a_component)) is not None and (pose_b := pose_of(s.b, s.b_component)) is not None
    ]
    if len(known) < config.min_pairs:
        return None
    guesses = [_between_components(pair, pa, pb) for _, pair, pa, pb in known]
    sights = [_in_components(pair, pa, pb) for _, pair, pa, pb in known]
    explains = np.array([[_explains(guess, *s, config) for s in sights] for guess in guesses])
    mutual = explains & explains.T
    chosen = np.flatnonzero(mutual[int(np.argmax(mutual.sum(axis=1)))])
    members = tuple(known[k][0] for k in chosen)
    if not _is_varied(members, config):
        return None
    forward, backward = joined([sights[k][0] for k in chosen]), joined([sights[k][1] for k in chosen])
    start = max((guesses[k] for k in chosen), key=lambda guess: _num_near(guess, forward, backward, config))
    spread = float(np.std(np.log([guesses[k].scale for k in chosen])) / np.sqrt(len(chosen)))
    return _fitted(start, forward, backward, members, spread, config)


def _fitted(
    start: Sim3, forward: Sights, backward: Sights, members: tuple[Seen, ...], spread: float, config: Config
) -> Agreed | None:
    fit = refine(start, forward, backward)
    b_from_a = fit.b_from_a
    near_f, near_b = _near(b_from_a, forward, backward, config)
    num = int(np.count_nonzero(near_f) + np.count_nonzero(near_b))
    if num < max(config.min_inliers, config.agree_share * (len(forward) + len(backward))):
        return None
    of_a, of_b = b_from_a.apply(forward.points[near_f]), backward.points[near_b]
    points = np.concatenate([of_a, of_b])
    depth = float(np.median([s.pair.median_depth_b for s in members]))
    if any(_is_flat(side, config.plane_thickness * depth, config.plane_share) for side in (of_a, of_b)):
        return None
    sigma = 2.0 * np.sqrt(np.diag(np.linalg.inv(_about(fit.information, points.mean(axis=0)))))
    scale_sigma, position_sigma = float(np.hypot(sigma[6], spread)), float(np.linalg.norm(sigma[3:6])) / depth
    if scale_sigma > config.max_scale_sigma or position_sigma > config.max_position_sigma:
        return None
    some = points[:: max(1, len(points) // _NUM_POINTS)]
    return Agreed(b_from_a, members, b_from_a.inverse().apply(some), num, scale_sigma, position_sigma)


def _between_components(pair: Pair, a_from_camera: F64, b_from_camera: F64) -> Sim3:
    return Sim3.from_rigid(b_from_camera) @ pair.b_from_a @ Sim3.from_rigid(invert(a_from_camera))


def _in_components(pair: Pair, a_from_camera: F64, b_from_camera: F64) -> tuple[Sights, Sights]:
    """A pair's sights, their points in the components' frames."""
    return (
        _moved(pair.forward, a_from_camera, invert(b_from_camera)),
        _moved(pair.backward, b_from_camera, invert(a_from_camera)),
    )


def _moved(sights: Sights, one_from_camera: F64, camera_from_other: F64) -> Sights:
    points = sights.points @ one_from_camera[:3, :3].T + one_from_camera[:3, 3]
    return Sights(points, np.broadcast_to(camera_from_other[:3], (len(points), 3, 4)), sights.xy, sights.focal_px)


def _near(b_from_a: Sim3, forward: Sights, backward: Sights, config: Config) -> tuple[NDArray[np.bool_], ...]:
    return (
        forward.error_px(b_from_a) < config.agree_px,
        backward.error_px(b_from_a.inverse()) < config.agree_px,
    )


def _num_near(b_from_a: Sim3, forward: Sights, backward: Sights, config: Config) -> int:
    return int(sum(np.count_nonzero(near) for near in _near(b_from_a, forward, backward, config)))


def _explains(b_from_a: Sim3, forward: Sights, backward: Sights, config: Config) -> bool:
    return _num_near(b_from_a, forward, backward, config) >= config.agree_share * (len(forward) + len(backward))


def _is_varied(members: tuple[Seen, ...], config: Config) -> bool:
    """Enough pairs, and of different keyframes: a phone that rests says the same thing again and again."""
    pairs, num_a, num_b = {(s.a, s.b) for s in members}, len({s.a for s in members}), len({s.b for s in members})
    return len(pairs) >= config.min_pairs and min(num_a, num_b) >= 2


def _about(information: F64, centre: F64) -> F64:
    """Information (7, 7) of the same motion written about another point than the origin."""
    # a turn or growth about `centre` moves the origin's frame along
    jacobian = np.eye(7)
    x, y, z = centre
    jacobian[3:6, :3] = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    jacobian[3:6, 6] = -centre
    return np.asarray(jacobian.T @ information @ jacobian)


def _is_flat(points: F64, thickness: float, share: float) -> bool:
    """Whether some plane holds more than a share of points (n, 3) (RANSAC over triples, seeded)."""
    if len(points) < 10:
        return True
    random = np.random.default_rng(0)
    for _ in range(40):
        p, q, r = points[random.choice(len(points), 3, replace=False)]
        normal = np.cross(q - p, r - p)
        length = float(np.linalg.norm(normal))
        if length > 1e-12 and np.mean(np.abs((points - p) @ normal) < thickness * length) > share:
            return True
    return False
