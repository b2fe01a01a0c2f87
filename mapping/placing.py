"""A keyframe's depth, the engine's or its own, brought to its component's unit and packed for keeping."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from mapping.alignment import fit_cameras
from mapping.changes import KeyframeId, seq_of, stream_of
from mapping.component import Component
from mapping.engines import WindowPrediction
from mapping.kept import Kept, packed
from mapping.tracking.tracked import Tracked
from mapping.transforms import F64, angle_between
from streams.frame import DepthMap, Frame, StreamId

_SAME_FRAME_RAD = float(np.radians(3.0))
_SAME_FRAME_SHARE = 0.2
"""Local bundle adjustment turns a window's poses by less than this, and moves them by less than this share of its
extent; another engine's frame would be the same only by chance."""


def keyframe_id(stream: StreamId, seq: int) -> KeyframeId:
    """`<stream>/<seq>`."""
    return KeyframeId(f"{stream}/{seq}")


def own_depth(frame: Frame) -> DepthMap:
    """The depth a posed source brings, in metres.

    Raises:
        ValueError: it brings none, or no pose to go with it.
    """
    if frame.depth is None or frame.pose is None:
        raise ValueError(f"frame {frame.stream}/{frame.seq} brings no depth of its own, or no pose to go with it")
    return frame.depth


def predicted_depths(component: Component, prediction: WindowPrediction) -> dict[KeyframeId, DepthMap]:
    """The depth of every view that has some, in component units.

    Raises:
        ValueError: the engine gave the last view no depth, or its unit cannot be told.
    """
    last = prediction.views[-1]
    if last.depth is None:
        raise ValueError(f"the engine gave no depth for {last.keyframe}")
    found = {
        view.keyframe: DepthMap(view.depth, view.intrinsics, view.confidence)
        for view in prediction.views
        if view.depth is not None
    }
    if not any(np.any(depth.z_m > 0) for depth in found.values()):
        return found
    unit = np.float32(_component_units_per_window_unit(component, prediction))
    return {keyframe: replace(depth, z_m=depth.z_m * unit) for keyframe, depth in found.items()}


def keep(component: Component, component_from_camera: F64, tracked: Tracked, frame: Frame, depth: DepthMap) -> Kept:
    """Pack one keyframe, its colours resampled to the depth map's camera."""
    k, camera = depth.intrinsics, tracked.intrinsics
    rgb = cv2.resize(frame.image.rgb, (k.width, k.height), interpolation=cv2.INTER_AREA)
    if camera.k1 and not k.k1:  # OpenCV counts pixel centres as whole numbers
        lens, straight = camera.scaled(k.width, k.height).matrix(), k.matrix()
        lens[:2, 2] -= 0.5
        straight[:2, 2] -= 0.5
        rgb = cv2.undistort(rgb, lens, np.array([camera.k1, 0.0, 0.0, 0.0]), None, straight)
    return Kept(
        keyframe_id(frame.stream, frame.seq), component.key, component_from_camera, k,
        *packed(depth), np.asarray(rgb, np.uint8),
    )  # fmt: skip


def _component_units_per_window_unit(component: Component, prediction: WindowPrediction) -> float:
    """1 where the engine kept the tracker's frame; otherwise by the baseline that both know."""
    pairs = [
        (view.window_from_camera, pose)
        for view in prediction.views
        if stream_of(view.keyframe) == component.key[0] and (pose := component.pose(seq_of(view.keyframe))) is not None
    ]
    engines, trackers = np.array([a for a, _ in pairs]), np.array([b for _, b in pairs])
    if pairs and _is_same_frame(engines, trackers):
        return 1.0
    fit = fit_cameras(engines, trackers)
    if fit is None:
        raise ValueError("the engine's window shares no baseline with the tracker: its depth has no known unit")
    return fit.b_from_a.scale


def _is_same_frame(a: F64, b: F64) -> bool:
    """Whether two sets of poses (n, 4, 4) are the same but for corrections that came while the engine worked."""
    turned = max(angle_between(x[:3, :3], y[:3, :3]) for x, y in zip(a, b, strict=True))
    moved = float(np.linalg.norm(a[:, :3, 3] - b[:, :3, 3], axis=1).max())
    reach = float(np.linalg.norm(b[:, :3, 3] - b[-1, :3, 3], axis=1).max())
    return turned < _SAME_FRAME_RAD and moved <= _SAME_FRAME_SHARE * reach
