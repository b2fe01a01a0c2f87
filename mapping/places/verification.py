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
from mapping.places.matching import I64, match, match_near
from mapping.places.pose_graph import Poses, adjoints
from mapping.places.similarity import Refined, Sights, refine
from mapping.transforms import F64, Sim3


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

    @property
    def num_inliers(self) -> int:
        return len(self.forward) + len(self.backward)

    def swapped(self) -> Pair:
        """The same the other way round."""
        back = adjoints(Poses.of([self.b_from_a]))[0]
        return Pair(
            self.b_from_a.inverse(), back.T @ self.information @ back, self.backward, self.forward, self.num_both,
            self.median_depth_b, self.median_depth_a,
        )  # fmt: skip


def verify(a: Features, b: Features, config: Config = Config()) -> Pair | None:  # noqa: B008
    """Find where camera a is from camera b, with scale; None where they hardly show the same."""
    matched_a, matched_b = match(a.descriptors, b.descriptors, config.max_ratio, config.max_hamming)
    guess = _guess(a, matched_a, b, matched_b, config)
    if guess is None:
        return None
    fit = Refined(guess, np.zeros((7, 7)))
    for reach in (2.0, 1.0, 1.0):
        forward = _looked_for(a, b, fit.b_from_a, reach, config)
        backward = _looked_for(b, a, fit.b_from_a.inverse(), reach, config)
        if len(forward.sights) + len(backward.sights) < config.min_inliers:
            return None
        fit = refine(fit.b_from_a, forward.sights, backward.sights)
    return _checked(a, b, fit, config)


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """Known points of one keyframe that the other saw where they should be."""

    sights: Sights
    rows: I64
    by_rows: I64
    num_expected: int
    """Known points that should be in the other's image."""


def _looked_for(of: Features, by: Features, by_from_of: Sim3, reach: float, config: Config) -> _Found:
    known = np.flatnonzero(of.depth > 0)
    points = of.points_camera[known]
    local = by_from_of.apply(points)
    z = np.where(local[:, 2] > 1e-9, local[:, 2], np.nan)
    xy = np.nan_to_num(local[:, :2] / z[:, None], nan=1e6)
    expected = np.all((xy >= by.xy.min(axis=0)) & (xy <= by.xy.max(axis=0)), axis=1)
    search = reach * config.search_px / by.focal_px
    rows, by_rows = match_near(xy, of.descriptors[known], by.xy, by.descriptors, search, config.max_hamming)
    n = len(rows)
    sights = Sights(
        points[rows], np.broadcast_to(np.eye(3, 4), (n, 3, 4)), by.xy[by_rows].astype(np.float64),
        np.full(n, by.focal_px),
    )  # fmt: skip
    near = sights.error_px(by_from_of) < reach * config.inlier_px
    return _Found(sights.only(near), known[rows[near]], by_rows[near], int(np.count_nonzero(expected)))


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
        if np.count_nonzero(both) < 4:
            continue
        scale = float(np.median(other.depth[rows_other][both] / z[both]))
        other_from_one = Sim3(scale, camera_from_one[:, :3], scale * camera_from_one[:, 3])
        found = int(np.count_nonzero(inlier)), other_from_one.inverse() if is_swapped else other_from_one
        best = found if best is None or found[0] > best[0] else best
    return best[1] if best is not None else None


def _pose(of: Features, rows: I64, by: Features, by_rows: I64, config: Config) -> tuple[F64, NDArray[np.bool_]] | None:
    """camera_from_one (3, 4) by P3P in LO-RANSAC (poselib), and which matches (n,) agree with it."""
    known = np.flatnonzero(of.depth[rows] > 0)
    if len(known) < config.first_inliers:
        return None
    focal = by.focal_px
    pixels = by.xy[by_rows[known]].astype(np.float64) * focal
    camera = {"model": "SIMPLE_PINHOLE", "width": 1, "height": 1, "params": [focal, 0.0, 0.0]}
    ransac = {"max_reproj_error": config.inlier_px, "min_iterations": 100, "max_iterations": 1000, "seed": 0}
    found, info = poselib.estimate_absolute_pose(pixels, of.points_camera[rows[known]], camera, ransac, {})
    pose = np.column_stack([found.R, found.t])
    if info["num_inliers"] < config.first_inliers or not np.isfinite(pose).all():
        return None
    inlier = np.zeros(len(rows), np.bool_)
    inlier[known] = info["inliers"]
    return pose, inlier


def _checked(a: Features, b: Features, fit: Refined, config: Config) -> Pair | None:
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
    depths = float(np.median(a.depth[backward.by_rows[both]])), float(np.median(b.depth[backward.rows[both]]))
    return Pair(b_from_a, fit.information, forward.sights, backward.sights, num_both, *depths)


def _cells(of: Features, rows: I64) -> int:
    """How many cells of a raster over the image plane some features fall into."""
    lower, upper = of.xy.min(axis=0), of.xy.max(axis=0)
    cell = np.minimum((6 * (of.xy[rows] - lower) / np.maximum(upper - lower, 1e-6)).astype(int), 5)
    return len(np.unique(cell[:, 0] * 6 + cell[:, 1]))
