"""The engine that sees a whole window at once: VGGT behind the house's contract."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from mapping.engines import View, ViewPrediction, Window, WindowPrediction, checked
from mapping.engines.vggt.admission import Admission, shortened
from mapping.engines.vggt.cameras import shared_focal_px, window_from_camera
from mapping.engines.vggt.canvas import Placement, arrange
from mapping.engines.vggt.checkpoints.ready import Provenance, ready
from mapping.engines.vggt.config import Config
from mapping.engines.vggt.landmarks import compare
from mapping.engines.vggt.model.architecture import PATCH_PX, SPECIAL_TOKENS
from mapping.engines.vggt.passes import Passes, Said
from mapping.engines.vggt.pixels import straightened
from mapping.engines.vggt.reprojection import DepthView, hear
from mapping.engines.vggt.token_cache import Key, TokenCache
from mapping.engines.vggt.trust import confidence
from mapping.engines.vggt.unit import window_from_network
from mapping.transforms import F64, Sim3
from streams.frame import Intrinsics

F32 = NDArray[np.float32]
_WARM_UP_PX = (42, 56)
_USUAL_PX = (480, 640)
_SAME_SURFACE = 3.0
"""Times the tolerance: depths that differ by more are not those of one surface."""


class VggtEngine:
    """Is a `mapping.engines.GeometryEngine`.

    Poses and depth come back in the frame and unit of the priors. A view that brings a prior keeps it: the tracker has
    seen more frames than the window holds, and what is fused together must have been placed by one judge.
    """

    def __init__(self, config: Config, passes: Passes, provenance: Provenance) -> None:
        self._config, self._passes = config, passes
        self.provenance: Mapping[str, str] = asdict(provenance)
        self._admission = Admission(passes.memory)
        self.tokens = TokenCache(config.cached_mib << 20)

    @classmethod
    def load(cls, config: Config) -> VggtEngine:
        """The engine with its network.

        Raises:
            CheckpointError: the weights cannot be found or do not fit.
        """
        network, provenance = ready(config)
        return cls(config, Passes(network, config), provenance)

    def warm_up(self) -> None:
        """Run two small views through every part (on a GPU: windows of full size and every usual length)."""
        if self._passes.device.type == "cuda":
            canvas = arrange([_USUAL_PX], self._config.long_side_px)[0].canvas
            self._passes.warm_up(min(self._config.warm_views, self._config.max_views), *canvas)
        else:
            self._passes.warm_up(min(2, self._config.max_views), *_WARM_UP_PX)
        flat = DepthView(np.eye(4), Intrinsics.from_fov(8, 8), np.ones((8, 8), np.float32))
        hear(flat, [flat], 1.0)

    def predict(self, window: Window) -> WindowPrediction:
        """Depth for the last view; the others come back with their poses, if they could be posed.

        Raises:
            ValueError: the window is empty or too long, a view is malformed, the last view could not be posed, or
                nothing tells the priors' unit.
        """
        views: Sequence[View] = _checked(window, self._config.max_views)
        while True:
            places = arrange([view.rgb.shape[:2] for view in views], self._config.long_side_px)
            height, width = places[0].canvas
            grid = (height // PATCH_PX, width // PATCH_PX)
            if len(admitted := self._admission.admit(views, _size(1, grid))) < len(views):
                views = admitted
                continue
            try:
                [said] = self._ask([views], places, grid)
            except torch.OutOfMemoryError:
                if len(views) == 1:
                    raise
                views = shortened(views, (len(views) + 1) // 2)
                continue
            return self._placed(views, places, said)

    @property
    def together(self) -> int:
        """Windows of one shape that are worth asking at once: a CPU is busy with one."""
        return self._config.together if self._passes.device.type == "cuda" else 1

    def predict_together(self, windows: Sequence[Window]) -> list[WindowPrediction | Exception]:
        """What `predict` gives or raises for each window; those of one shape go through the network side by side."""
        try:
            views = [_checked(window, self._config.max_views) for window in windows]
            (shape,) = {tuple(view.rgb.shape[:2] for view in some) for some in views}
        except ValueError:  # one is malformed, or they have several shapes
            return [_tried(partial(self.predict, window)) for window in windows]
        places = arrange(shape, self._config.long_side_px)
        height, width = places[0].canvas
        grid = (height // PATCH_PX, width // PATCH_PX)
        try:
            if not self._admission.has_room(len(views) * _size(len(shape), grid)):
                raise torch.OutOfMemoryError
            said = self._ask(views, places, grid)
        except torch.OutOfMemoryError:
            return [_tried(partial(self.predict, window)) for window in windows]
        return [_tried(partial(self._placed, v, places, s)) for v, s in zip(views, said, strict=True)]

    @property
    def device_bytes(self) -> int:
        """Memory of the GPU that this engine holds; 0 on the CPU."""
        return self._passes.memory.held()

    def _ask(self, windows: Sequence[Sequence[View]], places: Sequence[Placement], grid: tuple[int, int]) -> list[Said]:
        """What the network says of windows of one shape.

        Raises:
            torch.OutOfMemoryError: they did not fit; memory was given back, and the next ones will be shorter.
        """
        size = len(windows) * _size(len(places), grid)
        try:
            with torch.inference_mode(), self._admission.watched(size):
                patches = torch.stack([self._patches(views, places) for views in windows])
                return self._passes.ask(patches, grid, min(len(places), 1 + self._config.checks))
        except torch.OutOfMemoryError:
            self._passes.forget()
            self._admission.ran_out(size)
            raise

    def _patches(self, views: Sequence[View], places: Sequence[Placement]) -> torch.Tensor:
        """Patch tokens (views, patches, width); only images that no earlier window had are encoded."""

        def encode(indices: list[int]) -> torch.Tensor:
            pictures = [straightened(views[n].rgb, views[n].intrinsics) for n in indices]
            return self._passes.encode(pictures, [places[n] for n in indices])

        return self.tokens.all([Key.of(view, place) for view, place in zip(views, places, strict=True)], encode)

    def _cameras(self, views: Sequence[View], places: Sequence[Placement], encodings: F32) -> list[Intrinsics]:
        """A camera for each depth map: the given one, or what the network sees on average over the same phone."""
        height, width = places[0].canvas
        phones = [(str(v.keyframe).rpartition("/")[0], p) for v, p in zip(views, places, strict=True)]
        cameras = []
        for phone, view, place in zip(phones, views, places, strict=True):
            if view.intrinsics is not None and self._config.intrinsics == "given":
                cameras.append(replace(view.intrinsics, k1=0.0).scaled(place.width, place.height))
            else:
                same = [n for n, other in enumerate(phones) if other == phone]
                cameras.append(place.camera(*shared_focal_px(encodings[same], height, width)))
        return cameras

    def _placed(self, views: Sequence[View], places: Sequence[Placement], said: Said) -> WindowPrediction:
        """The answer in the priors' frame and unit."""
        cameras = self._cameras(views, places, said.encodings)
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
            DepthView(pose, cameras[n], depth * np.float32(window_from_own.scale))
            for n, depth in zip(deep, raw, strict=True)
            if (pose := poses[n]) is not None
        )
        heard = hear(newest, others, _SAME_SURFACE * self._config.error_tolerance)
        sure = confidence(certainty, landmarks, heard, self._config.error_tolerance)
        sure = np.where((newest.depth > 0) & (sure >= self._config.min_confidence), sure, np.float32(0))
        answers = [
            ViewPrediction(view.keyframe, pose, camera)
            for view, pose, camera in zip(views, poses, cameras, strict=True)
            if pose is not None
        ]
        depth = np.where(sure > 0, newest.depth, np.float32(0))
        answers[-1] = replace(answers[-1], depth=depth, confidence=sure, descriptor=said.descriptor)
        return WindowPrediction(tuple(answers))


def _size(views: int, grid: tuple[int, int]) -> int:
    """Tokens of a window."""
    return views * (SPECIAL_TOKENS + grid[0] * grid[1])


def _tried(predict: Callable[[], WindowPrediction]) -> WindowPrediction | Exception:
    try:
        return predict()
    except Exception as error:
        return error


def _known(depth: F32) -> F32:
    return np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(0))


def _poses(own: Sequence[F64 | None], priors: Sequence[F64 | None], window_from_own: Sim3) -> list[F64 | None]:
    return [
        prior if prior is not None else None if pose is None else window_from_own.apply_pose(pose)
        for pose, prior in zip(own, priors, strict=True)
    ]


def _checked(window: Window, max_views: int) -> tuple[View, ...]:
    if len(window.views) > max_views:
        raise ValueError(f"a window of {len(window.views)} views; max_views is {max_views}")
    return checked(window)
