"""Whether two keyframes show one place: features matched, both cameras posed in each other's points, both ways refined.

Nothing follows from one pair alone (see `agreement`): two prints of one poster pass this test.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import poselib
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from mapping.places.features import Features
from mapping.places.matching import I64, match
from mapping.places.similarity import Sights, refine
from mapping.transforms import F64, Sim3


class Config(BaseModel):
    """When to believe that two keyframes show the same."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_ratio: float = Field(default=0.85, gt=0, le=1)
    """A match is worth looking at when the second best is so much worse (Lowe 2004)."""
    max_hamming: int = 72
    inlier_px: float = Field(default=4.0, gt=0)
    min_inliers: int = Field(default=18, ge=6)
    """Points of either keyframe that the other saw where they should be."""
    min_both: int = Field(default=8, ge=4)
    """Matches whose depth both sides know and that agree on one scale: without them a unit would be guessed."""
    min_cells: int = Field(default=6, ge=1)
    """Cells of a 6 x 6 raster over each image that inliers fall into: one object in two rooms fills few of them."""


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """Two keyframes that may show one place."""

    b_from_a: Sim3
    """Between the CAMERAS a and b, each in its own component's unit."""
    forward: Sights
    """Inliers: points of camera a as camera b saw them (`camera_from_other` is the identity)."""
    backward: Sights
    """Inliers: points of camera b as camera a saw them."""
    num_both: int
    """Inliers whose depth both sides know."""
    median_depth_a: float
    median_depth_b: float

    @property
    def num_inliers(self) -> int:
        return len(self.forward) + len(self.backward)

    def swapped(self) -> Pair:
        """The same the other way round."""
        return Pair(
            self.b_from_a.inverse(), self.backward, self.forward, self.num_both, self.median_depth_b,
            self.median_depth_a,
        )  # fmt: skip


def verify(a: Features, b: Features, config: Config = Config()) -> Pair | None:  # noqa: B008
    """Find where camera a is from camera b, with scale; None where they hardly show the same."""
    matched_a, matched_b = match(a.descriptors, b.descriptors, config.max_ratio, config.max_hamming)
    if len(matched_a) < config.min_inliers:
        return None
    forward, backward = _sights(a, matched_a, b, matched_b), _sights(b, matched_b, a, matched_a)
    b_from_a = _guess(a, matched_a, b, matched_b, config)
    for reach in (2.0, 1.0):
        if b_from_a is None:
            return None
        near_f = forward.error_px(b_from_a) < reach * config.inlier_px
        near_b = backward.error_px(b_from_a.inverse()) < reach * config.inlier_px
        is_enough = np.count_nonzero(near_f) + np.count_nonzero(near_b) >= config.min_inliers
        b_from_a = refine(b_from_a, forward.only(near_f), backward.only(near_b)).b_from_a if is_enough else None
    return _checked(a, matched_a, b, matched_b, b_from_a, config) if b_from_a is not None else None


def _sights(of: Features, rows: I64, by: Features, by_rows: I64) -> Sights:
    """What camera `by` saw of the points that `of` knows; rows without depth are left in, at the origin."""
    n = len(rows)
    identity = np.broadcast_to(np.eye(3, 4), (n, 3, 4))
    points = np.where(of.depth[rows][:, None] > 0, of.points_camera[rows], np.nan)
    return Sights(points, identity, by.xy[by_rows].astype(np.float64), np.full(n, by.focal_px))


def _guess(a: Features, rows_a: I64, b: Features, rows_b: I64, config: Config) -> Sim3 | None:
    """The better one of both ways to pose one camera in the other's points; the scale from depths both know."""
    best: tuple[int, Sim3] | None = None
    for one, rows_one, other, rows_other, is_swapped in ((a, rows_a, b, rows_b, False), (b, rows_b, a, rows_a, True)):
        posed = _pose(one, rows_one, other, rows_other, config)
        if posed is None:
            continue
        camera_from_one, inlier = posed
        z = one.points_camera[rows_one] @ camera_from_one[2, :3] + camera_from_one[2, 3]
        both = inlier & (other.depth[rows_other] > 0)
        if np.count_nonzero(both) < config.min_both:
            continue
        scale = float(np.median(other.depth[rows_other][both] / z[both]))
        other_from_one = Sim3(scale, camera_from_one[:, :3], scale * camera_from_one[:, 3])
        found = int(np.count_nonzero(inlier)), other_from_one.inverse() if is_swapped else other_from_one
        best = found if best is None or found[0] > best[0] else best
    return best[1] if best is not None else None


def _pose(of: Features, rows: I64, by: Features, by_rows: I64, config: Config) -> tuple[F64, NDArray[np.bool_]] | None:
    """camera_from_one (3, 4) by P3P in LO-RANSAC (poselib), and which matches (n,) agree with it."""
    known = np.flatnonzero(of.depth[rows] > 0)
    if len(known) < config.min_both:
        return None
    focal = by.focal_px
    pixels = by.xy[by_rows[known]].astype(np.float64) * focal
    camera = {"model": "SIMPLE_PINHOLE", "width": 1, "height": 1, "params": [focal, 0.0, 0.0]}
    ransac = {"max_reproj_error": config.inlier_px, "min_iterations": 100, "max_iterations": 2000, "seed": 0}
    found, info = poselib.estimate_absolute_pose(pixels, of.points_camera[rows[known]], camera, ransac, {})
    pose = np.column_stack([found.R, found.t])
    if info["num_inliers"] < config.min_both or not np.isfinite(pose).all():
        return None
    inlier = np.zeros(len(rows), np.bool_)
    inlier[known] = info["inliers"]
    return pose, inlier


def _checked(a: Features, rows_a: I64, b: Features, rows_b: I64, b_from_a: Sim3, config: Config) -> Pair | None:
    """The pair, if its inliers are many, spread over both images, and agree on the scale."""
    forward, backward = _sights(a, rows_a, b, rows_b), _sights(b, rows_b, a, rows_a)
    in_f = forward.error_px(b_from_a) < config.inlier_px
    in_b = backward.error_px(b_from_a.inverse()) < config.inlier_px
    # where both depths are known, both ways must agree
    conflicting = (in_f ^ in_b) & (a.depth[rows_a] > 0) & (b.depth[rows_b] > 0)
    in_f &= ~conflicting
    in_b &= ~conflicting
    seen = in_f | in_b
    num_both = int(np.count_nonzero(in_f & in_b))
    if np.count_nonzero(seen) < config.min_inliers or num_both < config.min_both:
        return None
    if min(_cells(a, rows_a[seen]), _cells(b, rows_b[seen])) < config.min_cells:
        return None
    both = in_f & in_b
    depths = float(np.median(a.depth[rows_a[both]])), float(np.median(b.depth[rows_b[both]]))
    return Pair(b_from_a, forward.only(in_f), backward.only(in_b), num_both, *depths)


def _cells(of: Features, rows: I64) -> int:
    """How many cells of a raster over the image plane some features fall into."""
    lower, upper = of.xy.min(axis=0), of.xy.max(axis=0)
    cell = np.minimum((6 * (of.xy[rows] - lower) / np.maximum(upper - lower, 1e-6)).astype(int), 5)
    return len(np.unique(cell[:, 0] * 6 + cell[:, 1]))
