"""One keyframe as place recognition remembers it: some 55 kB."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mapping.changes import KeyframeId
from mapping.kept import ComponentKey
from mapping.places.embedding import embed
from mapping.places.features import STATED_SIGMA, Features, detect, with_depth_of
from mapping.placing import keyframe_id
from mapping.tracking.tracked import Tracked
from mapping.transforms import F64
from streams.frame import Frame, Intrinsics

MIN_FEATURES = 40
"""Pictures with fewer show hardly anything to recognise."""
_CALIBRATED_SIGMA, _GUESSED_SIGMA = 0.001, 0.03
"""What a focal length is off by, relative: of a source that knows its poses; of one that knows nothing."""


@dataclass(slots=True, eq=False)
class Place:
    """Where a keyframe was taken and what can be recognised in it. Its pose may be corrected, nothing else changes."""

    keyframe: KeyframeId
    component: ComponentKey
    component_from_camera: F64  # (4, 4)
    features: Features
    embedding: NDArray[np.float32]  # (DIMENSIONS,)
    intrinsics: Intrinsics
    capture_ns: int

    @property
    def nbytes(self) -> int:
        return self.features.nbytes + self.embedding.nbytes


def place_of(tracked: Tracked, frame: Frame) -> Place | None:
    """Describe a keyframe; None where it is not tracked or there is hardly anything to recognise."""
    if tracked.state != "tracked" or tracked.component_from_camera is None:
        return None
    features = replace(detect(frame.image.gray, tracked.intrinsics), focal_sigma=_focal_sigma(frame))
    if len(features.descriptors) < MIN_FEATURES:
        return None
    if tracked.landmarks_component is not None:
        features = with_depth_of(features, tracked.component_from_camera, tracked.landmarks_component)
    return Place(
        keyframe_id(frame.stream, frame.seq), (frame.stream, tracked.component), tracked.component_from_camera,
        features, embed(features.descriptors), tracked.intrinsics, frame.capture_ns,
    )  # fmt: skip


def _focal_sigma(frame: Frame) -> float:
    if frame.pose is not None:
        return _CALIBRATED_SIGMA
    return _GUESSED_SIGMA if frame.intrinsics is None else STATED_SIGMA
