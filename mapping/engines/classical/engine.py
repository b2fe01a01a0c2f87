"""The engine that needs no weights and no GPU: depth by plane sweep between views whose poses are known."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mapping.changes import KeyframeId
from mapping.engines import View, ViewPrediction, Window, WindowPrediction
from mapping.engines.classical.config import Config
from mapping.engines.classical.consistency import compare
from mapping.engines.classical.stereo import Stereo
from mapping.engines.classical.views import Prepared, choose_sources, depth_range, prepare
from mapping.transforms import invert, rigid
from streams.frame import Intrinsics

_NUM_CHECKS = 3


class ClassicalEngine:
    """Is a `mapping.engines.GeometryEngine`. Trusts given poses."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._stereo = Stereo(config)
        self._depth_by_keyframe: OrderedDict[KeyframeId, NDArray[np.float32]] = OrderedDict()

    def warm_up(self) -> None:
        """Compile the kernels on two views of noise."""
        noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
        k = Intrinsics(60.0, 60.0, 32.0, 24.0, 64, 48)
        views = tuple(
            View(KeyframeId(f"warm/{n}"), noise, k, rigid(np.eye(3), [0.1 * n, 0.0, 0.0]), None) for n in range(3)
        )
        self.predict(Window(views))
        self._depth_by_keyframe.clear()

    def predict(self, window: Window) -> WindowPrediction:
        """Depth for the last view; the others come back with the poses that they brought.

        Raises:
            ValueError: the window is empty, or a view has no pose or image.
        """
        prepared = [self._prepare(view) for view in self._checked(window)]
        *others, last = prepared
        depth, confidence = self._depth(last, others)
        confidence = self._confirm(last, others, depth, confidence)
        depth = np.where(confidence > 0, depth, np.float32(0))
        self._remember(last.keyframe, depth)
        answers = [ViewPrediction(p.keyframe, p.window_from_camera, p.intrinsics) for p in others]
        answers.append(ViewPrediction(last.keyframe, last.window_from_camera, last.intrinsics, depth, confidence))
        return WindowPrediction(tuple(answers))

    def _checked(self, window: Window) -> tuple[View, ...]:
        if not window.views:
            raise ValueError("a window needs at least one view")
        for view in window.views:
            if view.rgb.ndim != 3 or view.rgb.shape[2] != 3 or view.rgb.dtype != np.uint8 or not view.rgb.size:
                raise ValueError(f"{view.keyframe}: rgb must be (h, w, 3) uint8, got {view.rgb.shape} {view.rgb.dtype}")
            k = view.intrinsics
            if k is not None and (k.height, k.width) != view.rgb.shape[:2]:
                raise ValueError(f"{view.keyframe}: intrinsics of {(k.height, k.width)} for rgb {view.rgb.shape[:2]}")
            pose = view.prior_window_from_camera
            if pose is None or pose.shape != (4, 4) or not np.isfinite(pose).all():
                raise ValueError(f"{view.keyframe}: the classical engine needs a finite (4, 4) pose for every view")
        return window.views

    def _prepare(self, view: View) -> Prepared:
        intrinsics = view.intrinsics or Intrinsics.from_fov(view.rgb.shape[1], view.rgb.shape[0])
        assert view.prior_window_from_camera is not None
        return prepare(view, intrinsics, view.prior_window_from_camera, self._config.long_side_px)

    def _depth(
        self, reference: Prepared, others: Sequence[Prepared]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        limits = depth_range(reference, (self._config.near, self._config.far))
        typical = 2.0 / (1.0 / limits[0] + 1.0 / limits[1])
        return self._stereo.depth(
            reference, choose_sources(reference, others, typical, self._config.max_sources), limits
        )

    def _confirm(
        self,
        last: Prepared,
        others: Sequence[Prepared],
        depth: NDArray[np.float32],
        confidence: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """Confidence after hearing the neighbours: 0 where more of them look through a surface than see it."""
        agree, contradict = np.zeros(depth.shape, np.int16), np.zeros(depth.shape, np.int16)
        known = depth[depth > 0]
        typical = float(np.median(known)) if len(known) else 1.0
        for other in choose_sources(last, others, typical, _NUM_CHECKS):
            other_depth = self._depth_by_keyframe.get(other.keyframe)
            if other_depth is None or other_depth.shape != other.gray.shape:
                rest = [view for view in [*others, last] if view is not other]
                other_depth, _ = self._depth(other, rest)
                self._remember(other.keyframe, other_depth)
            other_from_last = invert(other.window_from_camera) @ last.window_from_camera
            compare(
                depth, last.pinhole, other_from_last, other_depth, other.pinhole,
                self._config.tolerance, agree, contradict,
            )  # fmt: skip
        heard = np.where(agree > 0, 1.0, self._config.unconfirmed) * (contradict <= agree)
        return np.asarray(confidence * heard, np.float32)

    def _remember(self, keyframe: KeyframeId, depth: NDArray[np.float32]) -> None:
        self._depth_by_keyframe[keyframe] = depth
        self._depth_by_keyframe.move_to_end(keyframe)
        while len(self._depth_by_keyframe) > max(self._config.remembered, _NUM_CHECKS + 1):
            self._depth_by_keyframe.popitem(last=False)
