"""What the network said of a window, brought to the window's frame and unit and to what can be believed of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mapping.changes import stream_of
from mapping.cross_check import PosedDepth, hear
from mapping.engines import View, ViewPrediction, WindowPrediction
from mapping.engines.vggt.cameras import shared_focal_px, window_from_camera
from mapping.engines.vggt.canvas import Placement
from mapping.engines.vggt.config import Config
from mapping.engines.vggt.landmarks import compare
from mapping.engines.vggt.passes import Said
from mapping.engines.vggt.trust import confidence
from mapping.engines.vggt.unit import window_from_network
from mapping.transforms import F64, Sim3
from streams.frame import Intrinsics

F32 = NDArray[np.float32]
_SAME_SURFACE = 3.0
"""Times the tolerance: depths that differ by more are not those of one surface."""


def answer(views: Sequence[View], places: Sequence[Placement], said: Said, config: Config) -> WindowPrediction:
    """Depth and confidence for the last view, poses and cameras for all that could be posed.

    Landmarks or the baseline tell the unit; landmarks and the views before tell how far depth is to be believed.

    Raises:
        ValueError: the last view could not be posed, or nothing tells the priors' unit.
    """
    cameras = _cameras(views, places, said.encodings, config.intrinsics)
    deep = range(len(views) - len(said.depth), len(views))
    raw = [_known(depth[places[n].rows, places[n].columns]) for n, depth in zip(deep, said.depth, strict=True)]
    certainty = said.certainty[-1, places[-1].rows, places[-1].columns]
    certainty = np.where(np.isfinite(certainty), np.maximum(certainty, 1), np.float32(1))
    last = views[-1]
    landmarks = compare(last.landmarks_window, last.prior_window_from_camera, cameras[-1], raw[-1], certainty)
    own, priors = window_from_camera(said.encodings), [view.prior_window_from_camera for view in views]
    window_from_own = window_from_network(own, priors, landmarks.scale)
    poses = _poses(own, priors, window_from_own)
    if poses[-1] is None:
        raise ValueError(f"{last.keyframe} could not be posed: the network's answer is not finite")
    *others, newest = (
        PosedDepth(pose, cameras[n], depth * np.float32(window_from_own.scale))
        for n, depth in zip(deep, raw, strict=True)
        if (pose := poses[n]) is not None
    )
    heard = hear(newest, others, _SAME_SURFACE * config.error_tolerance)
    sure = confidence(certainty, landmarks, heard, config.error_tolerance)
    sure = np.where((newest.depth > 0) & (sure >= config.min_confidence), sure, np.float32(0))
    told = [
        ViewPrediction(view.keyframe, pose, camera, own_from_camera=seen)
        for view, pose, camera, seen in zip(views, poses, cameras, own, strict=True)
        if pose is not None
    ]
    depth = np.where(sure > 0, newest.depth, np.float32(0))
    told[-1] = replace(told[-1], depth=depth, confidence=sure, descriptor=said.descriptor)
    return WindowPrediction(tuple(told))


def _cameras(views: Sequence[View], places: Sequence[Placement], encodings: F32, intrinsics: str) -> list[Intrinsics]:
    """A camera for each depth map: the given one, or what the network sees on average over the same phone."""
    height, width = places[0].canvas
    phones = [(stream_of(v.keyframe), p) for v, p in zip(views, places, strict=True)]
    cameras = []
    for phone, view, place in zip(phones, views, places, strict=True):
        if view.intrinsics is not None and intrinsics == "given":
            cameras.append(replace(view.intrinsics, k1=0.0).scaled(place.width, place.height))
        else:
            same = [n for n, other in enumerate(phones) if other == phone]
            cameras.append(place.camera(*shared_focal_px(encodings[same], height, width)))
    return cameras


def _known(depth: F32) -> F32:
    return np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(0))


def _poses(own: Sequence[F64 | None], priors: Sequence[F64 | None], window_from_own: Sim3) -> list[F64 | None]:
    return [
        prior if prior is not None else None if pose is None else window_from_own.apply_pose(pose)
        for pose, prior in zip(own, priors, strict=True)
    ]
