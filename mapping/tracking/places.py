"""Finding a lost camera again: descriptors of the nodes it once made, matched and verified one candidate at a time."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import poselib
from numpy.typing import NDArray

from mapping.kernels import kernel
from mapping.tracking.flow import F32
from mapping.tracking.lens import Lens
from mapping.tracking.local_map import LocalMap
from mapping.tracking.pose import PoseFit, fit_pose
from mapping.tracking.turn import Thumbnail, difference
from mapping.transforms import F64

_PATCH_PX = 31.0  # ORB's patch, which its descriptor reads
_SCALE = 1.44
_OCTAVES = (0, 1)  # each corner is described as seen from here and from 1.44 times further away
_RADIUS = 15


@dataclass(frozen=True, slots=True, eq=False)
class Described:
    """Corners of one image with their descriptors."""

    descriptors: NDArray[np.uint8]  # (m, 32)
    corner: NDArray[np.int64]  # (m,) which corner each descriptor describes


def describe(gray: NDArray[np.uint8], corners: F32) -> Described:
    """Oriented BRIEF descriptors (Rublee et al. 2011) of given corners (n, 2), at two scales each."""
    if not len(corners):
        return Described(np.empty((0, 32), np.uint8), np.empty(0, np.int64))
    angles = _orientations(gray, corners.astype(np.float64))
    keypoints = [
        cv2.KeyPoint(float(u), float(v), _PATCH_PX * _SCALE**octave, float(angles[i]), 1.0, octave, i)
        for octave in _OCTAVES
        for i, (u, v) in enumerate(corners.tolist())
    ]
    kept, descriptors = cv2.ORB.create(nlevels=len(_OCTAVES), scaleFactor=_SCALE).compute(gray, keypoints)
    if descriptors is None:
        return Described(np.empty((0, 32), np.uint8), np.empty(0, np.int64))
    return Described(np.asarray(descriptors, np.uint8), np.array([k.class_id for k in kept], np.int64))


@kernel
def _orientations(gray: NDArray[np.uint8], corners: F64) -> F64:
    """Degrees (n,) of the intensity centroid around each corner."""
    height, width = gray.shape
    out = np.zeros(len(corners))
    for i in range(len(corners)):
        u, v = int(corners[i, 0]), int(corners[i, 1])
        mu, mv = 0.0, 0.0
        for dv in range(-_RADIUS, _RADIUS + 1):
            for du in range(-_RADIUS, _RADIUS + 1):
                x, y = u + du, v + dv
                if du * du + dv * dv <= _RADIUS * _RADIUS and 0 <= x < width and 0 <= y < height:
                    mu += du * float(gray[y, x])
                    mv += dv * float(gray[y, x])
        out[i] = np.degrees(np.arctan2(mv, mu)) % 360.0
    return out


def rank(local_map: LocalMap, thumbnail: Thumbnail) -> list[int]:
    """Nodes that are still remembered, by how much their miniature looks like this one, best first."""
    alive = [(k, node.thumbnail) for k, node in enumerate(local_map.nodes) if node.thumbnail is not None]
    unlike = [difference(seen, thumbnail) for _, seen in alive]
    return [alive[i][0] for i in np.argsort(unlike, kind="stable").tolist()]


def recognise(
    local_map: LocalMap, node: int, query: Described, corners: F32, lens: Lens, *, min_inliers: int
) -> PoseFit | None:
    """Pose the camera by what one node (with its neighbours' landmarks) has described, or None."""
    known = local_map.nodes[node]
    usable = local_map.placed[known.described]
    descriptors, ids = known.descriptors[usable], known.described[usable]
    if len(descriptors) < min_inliers or len(query.descriptors) < min_inliers:
        return None
    matches = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(query.descriptors, descriptors)
    pairs = sorted(
        (m.distance, int(query.corner[m.queryIdx]), int(ids[m.trainIdx])) for m in matches if m.distance < 64
    )
    corner_of: dict[int, int] = {}
    for _, corner, landmark in pairs:  # nearest first: a landmark and a corner pair up once
        if landmark not in corner_of:
            corner_of[landmark] = corner
    if len(corner_of) < min_inliers:
        return None
    landmarks = np.array(list(corner_of), np.int64)
    pixels = lens.ideal(corners[np.array(list(corner_of.values()))])
    return solve(local_map.points[landmarks], pixels, local_map.focal_px, min_inliers=min_inliers)


def solve(points: F64, pixels: F64, focal_px: float, *, min_inliers: int) -> PoseFit | None:
    """Pose from points (n, 3) at ideal pixels (n, 2) of which many may be wrong (P3P in LO-RANSAC, by poselib)."""
    size = 2 * int(np.abs(pixels).max(initial=1.0)) + 2
    camera = {"model": "SIMPLE_PINHOLE", "width": size, "height": size, "params": [focal_px, 0.0, 0.0]}
    ransac = {"max_reproj_error": 4.0, "min_iterations": 50, "max_iterations": 500, "seed": 0}
    found, info = poselib.estimate_absolute_pose(pixels, points, camera, ransac, {})
    guess = np.column_stack([found.R, found.t])
    if info["num_inliers"] < min_inliers or not np.isfinite(guess).all():
        return None
    fit = fit_pose(guess, points, pixels, focal_px, inlier_px=4.0)
    return fit if fit.inliers >= min_inliers else None


def warm_up() -> None:
    """Compile the kernels."""
    describe(np.zeros((64, 64), np.uint8), np.full((1, 2), 32.0, np.float32))
