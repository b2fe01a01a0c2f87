"""Whether two keyframes show one place: features matched, one camera posed in the other's points, then looked closer.

A few matches that are clear by themselves give a first pose; with it every known point of either side is looked for
where it should be in the other's image, which finds many more in a true pair and hardly any in a wrong one.

Nothing follows from one pair alone (see `agreement`): two prints of one poster pass this test.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import poselib
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from mapping.places.features import Features
from mapping.places.lens_errors import LensShift, lens_shift
from mapping.places.matching import I64, match, match_near
from mapping.places.pose_graph import Poses, adjoints
from mapping.places.similarity import Refined, Sights, refine
from mapping.transforms import F64, Sim3

_CLEAR = 3
"""Times `first_inliers`: a first pose that so many matches agree on needs no second opinion."""
_MIN_FOR_SCALE = 4
_DEPTH_SIGMA = 0.03
"""What a landmark's distance is off by, relative."""
_REACHES = (2.0, 1.0)
"""In how many inlier distances points are looked for, one time after the other."""


class Config(BaseModel):
    """When to believe that two keyframes show the same."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_ratio: float = Field(default=0.93, gt=0, le=1)
    """A match is worth looking at when the second best is so much worse (Lowe 2004)."""
    max_hamming: int = 72
    """Bits of 256 in which descriptors of one point may differ."""
    first_inliers: int = Field(default=8, ge=4)
    """Such matches that must agree on a first pose."""
    search_px: float = Field(default=10.0, gt=0)
    """How far from where it should be a point is looked for."""
    inlier_px: float = Field(default=4.0, gt=0)
    min_inliers: int = Field(default=24, ge=6)
    """Points of either keyframe that the other saw where they should be."""
    min_both: int = Field(default=6, ge=4)
    """Matches whose depth both sides know and that agree on one scale: without them a unit would be guessed."""
    min_share: float = Field(default=0.12, ge=0, le=1)
    """Of the known points that should be in the other's image."""
    min_cells: int = Field(default=6, ge=1)
    """Cells of a 6 x 6 raster over each image that inliers fall into: one object in two rooms fills few of them."""


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """Two keyframes that may show one place."""

    b_from_a: Sim3
    """Between the CAMERAS a and b, each in its own component's unit."""
    information: F64
    """(7, 7) of (turn, shift, log scale) in the axes and unit of camera b, for one pixel of noise."""
    forward: Sights
    """Inliers: points of camera a as camera b saw them (`camera_from_other` is the identity)."""
    backward: Sights
    """Inliers: points of camera b as camera a saw them."""
    num_both: int
    """Inliers whose depth both sides know."""
    median_depth_a: float
    median_depth_b: float
    lenses: LensShift | None = None
    """What it says about their focal lengths; None = nothing."""

    @property
    def num_inliers(self) -> int:
        return len(self.forward) + len(self.backward)

    def swapped(self) -> Pair:
        """The same the other way round."""
        a_from_b = self.b_from_a.inverse()
        there, back = adjoints(Poses.of([self.b_from_a, a_from_b]))
        return Pair(
            a_from_b, there.T @ self.information @ there, self.backward, self.forward, self.num_both,
            self.median_depth_b, self.median_depth_a, self.lenses.swapped(back) if self.lenses is not None else None,
        )  # fmt: skip


def verify(a: Features, b: Features, config: Config = Config()) -> Pair | None:  # noqa: B008
    """Find where camera a is from camera b, with scale; None where they hardly show the same."""
    one, other = _Shown.of(a), _Shown.of(b)
    guess = _guess(one, other, config)
    return None if guess is None else _closer(one, other, guess, config)


def verify_again(a: Features, b: Features, b_from_a: Sim3, config: Config = Config()) -> Pair | None:  # noqa: B008
    """The same of a pair that was verified before, at a small part of the cost: depths are known better by now."""
    return _closer(_Shown.of(a), _Shown.of(b), b_from_a, config)


def _closer(a: _Shown, b: _Shown, guess: Sim3, config: Config) -> Pair | None:
    """Look for every known point where it should be, ever closer."""
    fit = Refined(guess, np.zeros((7, 7)))
    for reach in _REACHES:
        forward = _looked_for(a, b, fit.b_from_a, reach, config)
        backward = _looked_for(b, a, fit.b_from_a.inverse(), reach, config)
        if len(forward.sights) + len(backward.sights) < config.min_inliers:
            return None
        fit = refine(fit.b_from_a, forward.sights, backward.sights, _DEPTH_SIGMA)
    return _checked(a, b, fit, config)


@dataclass(frozen=True, slots=True, eq=False)
class _Shown:
    """What a keyframe shows, made ready to be looked for and looked at."""

    features: Features
    xy: F64  # (n, 2)
    lower: F64  # (2,)
    upper: F64
    known: I64  # (k,) rows whose depth is known
    points: F64  # (k, 3) of those, in camera axes and component units
    descriptors: NDArray[np.uint8]  # (k, 32) of those

    @classmethod
    def of(cls, features: Features) -> _Shown:
        known, xy = np.flatnonzero(features.depth > 0), features.xy.astype(np.float64)
        points = features.points_camera[known]
        return cls(features, xy, xy.min(axis=0), xy.max(axis=0), known, points, features.descriptors[known])


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """Known points of one keyframe that the other saw where they should be."""

    sights: Sights
    rows: I64
    by_rows: I64
    num_expected: int
    """Known points that should be in the other's image."""


def _looked_for(of: _Shown, by: _Shown, by_from_of: Sim3, reach: float, config: Config) -> _Found:
    focal_px, local = by.features.focal_px, by_from_of.apply(of.points)
    ahead = local[:, 2] > 1e-9
    xy = np.where(ahead[:, None], local[:, :2] / np.where(ahead, local[:, 2], 1.0)[:, None], 1e6)
    num_expected = int(np.count_nonzero(np.all((xy >= by.lower) & (xy <= by.upper), axis=1)))
    search = reach * config.search_px / focal_px
    rows, by_rows = match_near(xy, of.descriptors, by.xy, by.features.descriptors, search, config.max_hamming)
    off_px = np.linalg.norm(xy[rows] - by.xy[by_rows], axis=1) * focal_px
    near = off_px < reach * config.inlier_px
    rows, by_rows = rows[near], by_rows[near]
    n = len(rows)
    sights = Sights(of.points[rows], np.broadcast_to(np.eye(3, 4), (n, 3, 4)), by.xy[by_rows], np.full(n, focal_px))
    return _Found(sights, of.known[rows], by_rows, num_expected)


def _guess(a: _Shown, b: _Shown, config: Config) -> Sim3 | None:
    """One camera posed in the other's points, the better of both ways unless the first is clear by itself."""
    best, b_from_a = 0, None
    for one, other, is_swapped in sorted(((a, b, False), (b, a, True)), key=lambda way: -len(way[0].known)):
        found = _pose(one, other.features, config)
        if found is not None and found[0] > best:
            best, b_from_a = found[0], found[1].inverse() if is_swapped else found[1]
        if best >= _CLEAR * config.first_inliers:
            break
    return b_from_a


def _pose(one: _Shown, other: Features, config: Config) -> tuple[int, Sim3] | None:
    """How many clear matches agree, and on which other_from_one: P3P in LO-RANSAC (poselib), scale by both depths."""
    rows, other_rows = match(one.descriptors, other.descriptors, config.max_ratio, config.max_hamming)
    if len(rows) < config.first_inliers:
        return None
    points, pixels = one.points[rows], other.xy[other_rows].astype(np.float64) * other.focal_px
    camera = {"model": "SIMPLE_PINHOLE", "width": 1, "height": 1, "params": [other.focal_px, 0.0, 0.0]}
    ransac = {"max_reproj_error": config.inlier_px, "min_iterations": 100, "max_iterations": 1000, "seed": 0}
    found, info = poselib.estimate_absolute_pose(pixels, points, camera, ransac, {})
    turn, shift = np.asarray(found.R), np.asarray(found.t)
    if info["num_inliers"] < config.first_inliers or not np.isfinite([*turn.ravel(), *shift]).all():
        return None
    z = points @ turn[2] + shift[2]
    both = np.array(info["inliers"], np.bool_) & (other.depth[other_rows] > 0)
    if np.count_nonzero(both) < _MIN_FOR_SCALE:
        return None
    scale = float(np.median(other.depth[other_rows][both] / z[both]))
    return int(info["num_inliers"]), Sim3(scale, turn, scale * shift)


def _checked(a: _Shown, b: _Shown, fit: Refined, config: Config) -> Pair | None:
    """The pair, if its inliers are many, a fair share, spread over both images, and agree on the scale."""
    b_from_a = fit.b_from_a
    forward, backward = _looked_for(a, b, b_from_a, 1.0, config), _looked_for(b, a, b_from_a.inverse(), 1.0, config)
    num = len(forward.sights) + len(backward.sights)
    ways = set(zip(forward.rows.tolist(), forward.by_rows.tolist(), strict=True))
    both = np.array(
        [(j, i) in ways for i, j in zip(backward.rows.tolist(), backward.by_rows.tolist(), strict=True)], bool
    )
    num_both = int(np.count_nonzero(both))
    if num < max(config.min_inliers, config.min_share * (forward.num_expected + backward.num_expected)):
        return None
    if num_both < config.min_both:
        return None
    in_a, in_b = np.union1d(forward.rows, backward.by_rows), np.union1d(backward.rows, forward.by_rows)
    if min(_cells(a, in_a), _cells(b, in_b)) < config.min_cells:
        return None
    of_a, of_b = a.features.depth[backward.by_rows[both]], b.features.depth[backward.rows[both]]
    priors = a.features.focal_sigma, b.features.focal_sigma
    lenses = lens_shift(b_from_a, forward.sights, backward.sights, _DEPTH_SIGMA, priors)
    return Pair(
        b_from_a, fit.information, forward.sights, backward.sights, num_both,
        float(np.median(of_a)), float(np.median(of_b)), lenses,
    )  # fmt: skip


def _cells(of: _Shown, rows: I64) -> int:
    """How many cells of a raster over the image plane some features fall into."""
    cell = np.minimum((6 * (of.xy[rows] - of.lower) / np.maximum(of.upper - of.lower, 1e-6)).astype(int), 5)
    return len(np.unique(cell[:, 0] * 6 + cell[:, 1]))
