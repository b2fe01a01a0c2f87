"""The engine that needs no weights and no GPU: depth by plane sweep between views whose poses are known."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mapping.changes import KeyframeId
from mapping.cross_check import Heard, PosedDepth, hear
from mapping.engines import View, ViewPrediction, Window, WindowPrediction, checked
from mapping.engines.classical.confidence import confidence
from mapping.engines.classical.config import Config
from mapping.engines.classical.poses import pose_views
from mapping.engines.classical.stereo import Stereo
from mapping.engines.classical.views import Prepared, choose_sources, depth_range, prepare, share_seen_twice
from mapping.transforms import rigid
from streams.frame import Intrinsics

DepthByKeyframe = OrderedDict[KeyframeId, NDArray[np.float32]]

_NUM_CHECKS = 3


class ClassicalEngine:
    """Is a `mapping.engines.GeometryEngine`. Trusts poses when every view has one, finds them all itself otherwise."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._stereo = Stereo(config)
        self._remembered: DepthByKeyframe = OrderedDict()
        """Depth of earlier keyframes in their tracker's unit, the newest last."""

    def warm_up(self) -> None:
        """Compile the kernels on two views of noise."""
        noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
        k = Intrinsics(60.0, 60.0, 32.0, 24.0, 64, 48)
        views = tuple(
            View(KeyframeId(f"warm/{n}"), noise, k, rigid(np.eye(3), [0.1 * n, 0.0, 0.0]), None) for n in range(3)
        )
        self.predict(Window(views))
        self._remembered.clear()

    def predict(self, window: Window) -> WindowPrediction:
        """Depth for the last view; the others come back with their poses, if they could be posed.

        Raises:
            ValueError: the window is empty, a view is malformed, or poses are missing and cannot be found.
        """
        is_tracked = all(view.prior_window_from_camera is not None for view in checked(window))
        views = window.views if is_tracked else _posed(window.views)
        prepared = [self._prepare(view) for view in views]
        known: DepthByKeyframe = self._remembered if is_tracked else OrderedDict()  # windows posed here share no unit
        wanted, again = [len(prepared) - 1], len(prepared) - 1 - self._config.revisit_after
        if is_tracked and 0 <= again < wanted[0] and self._is_worth_another_look(prepared[again], prepared[:again]):
            wanted.append(again)
        maps = {n: self._sure_depth(prepared, n, known) for n in wanted}
        return WindowPrediction(
            tuple(
                ViewPrediction(p.keyframe, p.window_from_camera, p.intrinsics, *maps.get(n, (None, None)))
                for n, p in enumerate(prepared)
            )
        )

    def _sure_depth(
        self, views: Sequence[Prepared], index: int, known: DepthByKeyframe
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Depth and confidence of one view, after hearing its neighbours; what is as likely wrong as right goes."""
        view, others = views[index], [*views[:index], *views[index + 1 :]]
        depth, margin = self._depth(view, others)
        heard = self._heard(view, others, depth, known)
        sure = confidence(margin, heard.agree, heard.through)
        depth = np.where(sure > 0, depth, np.float32(0))
        self._remember(known, view.keyframe, depth)
        return depth, sure

    def _prepare(self, view: View) -> Prepared:
        assert view.prior_window_from_camera is not None
        return prepare(view, _intrinsics(view), view.prior_window_from_camera, self._config.long_side_px)

    def _depth(
        self, reference: Prepared, others: Sequence[Prepared]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        limits, typical = self._distances(reference)
        sources = choose_sources(reference, others, typical, self._config.max_sources)
        return self._stereo.depth(reference, sources, limits)

    def _is_worth_another_look(self, view: Prepared, before: Sequence[Prepared]) -> bool:
        """Whether the views before it saw too little of what it sees: it turned, or came round a corner."""
        _, typical = self._distances(view)
        return share_seen_twice(view, before, typical) < self._config.enough_seen

    def _distances(self, view: Prepared) -> tuple[tuple[float, float], float]:
        """Nearest and farthest depth to look at, and a typical one."""
        near, far = depth_range(view, (self._config.near, self._config.far))
        return (near, far), 2.0 / (1.0 / near + 1.0 / far)

    def _heard(
        self, view: Prepared, others: Sequence[Prepared], depth: NDArray[np.float32], known: DepthByKeyframe
    ) -> Heard:
        """What the best neighbours say of each pixel."""
        neighbours = []
        seen = depth[depth > 0]
        typical = float(np.median(seen)) if len(seen) else 1.0
        for other in choose_sources(view, others, typical, _NUM_CHECKS):
            other_depth = known.get(other.keyframe)
            if other_depth is None or other_depth.shape != other.gray.shape:
                other_depth, _ = self._depth(other, [rest for rest in [*others, view] if rest is not other])
                self._remember(known, other.keyframe, other_depth)
            neighbours.append(PosedDepth(other.window_from_camera, other.intrinsics, other_depth))
        return hear(PosedDepth(view.window_from_camera, view.intrinsics, depth), neighbours, self._config.tolerance)

    def _remember(self, known: DepthByKeyframe, keyframe: KeyframeId, depth: NDArray[np.float32]) -> None:
        known[keyframe] = depth
        known.move_to_end(keyframe)
        while len(known) > max(self._config.remembered, _NUM_CHECKS + 1):
            known.popitem(last=False)


def _posed(views: tuple[View, ...]) -> tuple[View, ...]:
    """The views with a pose each; those that cannot be tied to the others are left out, but never the last."""
    found = pose_views(views, [_intrinsics(view) for view in views])
    if found.window_from_camera[-1] is None:
        raise ValueError(f"{views[-1].keyframe} cannot be posed against the rest of its window")
    return tuple(
        replace(view, prior_window_from_camera=pose, landmarks_window=found.points_window[seen].astype(np.float32))
        for view, pose, seen in zip(views, found.window_from_camera, found.is_seen, strict=True)
        if pose is not None
    )


def _intrinsics(view: View) -> Intrinsics:
    return view.intrinsics or Intrinsics.from_fov(view.rgb.shape[1], view.rgb.shape[0])
