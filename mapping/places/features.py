"""Local features of a keyframe: what is matched between two sights of one place, whoever saw them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from mapping.tracking.lens import Lens
from mapping.transforms import F64, invert
from streams.frame import Intrinsics

_MAX_SIDE_PX = 640
_MIN_SIDE_PX = 64
_NUM_FEATURES = 1200
_CORNER_CONTRAST = 7  # FAST's threshold: low, so that dim rooms have features, too; the strongest are kept
_SAME_CORNER_PX = 3.0  # a feature this near to a landmark's image is the landmark's own
STATED_SIGMA = 0.01
"""What a focal length is off by, relative, that a phone states."""


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Oriented BRIEF descriptors (Rublee et al. 2011) with where they point, and how far it is where that is known."""

    descriptors: NDArray[np.uint8]  # (n, 32)
    xy: NDArray[np.float32]  # (n, 2) undistorted image plane at z = 1
    depth: NDArray[np.float32]  # (n,) along the optical axis, in the component's unit; 0 = unknown
    focal_px: float
    """Pixels of the image they were found in per unit of `xy`."""
    focal_sigma: float = STATED_SIGMA
    """What it may be off by, relative, before anybody else was met."""

    @property
    def points_camera(self) -> F64:
        """(n, 3) in camera axes and component units; the origin where the depth is unknown."""
        rays = np.column_stack([self.xy, np.ones(len(self.xy))])
        return np.asarray(rays * self.depth[:, None], np.float64)

    @property
    def nbytes(self) -> int:
        return self.descriptors.nbytes + self.xy.nbytes + self.depth.nbytes


def detect(gray: NDArray[np.uint8], intrinsics: Intrinsics) -> Features:
    """Describe an image (h, w); no depth is known yet."""
    width, height = gray.shape[1], gray.shape[0]
    scale = min(1.0, _MAX_SIDE_PX / max(width, height))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = gray if scale == 1.0 else np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), np.uint8)
    camera = intrinsics.scaled(*size)
    none = Features(np.empty((0, 32), np.uint8), np.empty((0, 2), np.float32), np.empty(0, np.float32), camera.fx)
    if min(size) < _MIN_SIDE_PX:
        return none
    orb = cv2.ORB.create(_NUM_FEATURES, fastThreshold=_CORNER_CONTRAST)
    keypoints, descriptors = orb.detectAndCompute(np.ascontiguousarray(small), None)
    if descriptors is None:
        return none
    xy = Lens(camera, 1.0).ideal(np.array([keypoint.pt for keypoint in keypoints]))
    descriptors = np.asarray(descriptors, np.uint8)
    return Features(descriptors, xy.astype(np.float32), np.zeros(len(xy), np.float32), camera.fx)


def with_depth_of(features: Features, component_from_camera: F64, landmarks_component: NDArray[np.float32]) -> Features:
    """Give features that lie on the image of a landmark of the tracker (m, 3) its depth; the others keep theirs."""
    camera_from_component = invert(component_from_camera)
    local = landmarks_component @ camera_from_component[:3, :3].T + camera_from_component[:3, 3]
    local = local[np.isfinite(local).all(axis=1) & (local[:, 2] > 0)]
    if not len(local) or not len(features.xy):
        return features
    reach = _SAME_CORNER_PX / features.focal_px
    distance, nearest = cKDTree(local[:, :2] / local[:, 2:]).query(features.xy, distance_upper_bound=reach)
    known = np.isfinite(distance)
    depth = np.where(known, local[np.where(known, nearest, 0), 2], features.depth).astype(np.float32)
    return replace(features, depth=depth)
