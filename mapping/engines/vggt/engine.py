"""The engine that sees a whole window at once: VGGT behind the house's contract."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mapping.engines import View, ViewPrediction, Window, WindowPrediction, checked
from mapping.engines.vggt.architecture import PATCH_PX
from mapping.engines.vggt.cameras import shared_focal_px, window_from_camera
from mapping.engines.vggt.canvas import Placement, arrange
from mapping.engines.vggt.config import Config
from mapping.engines.vggt.landmarks import Comparison, compare, confidence
from mapping.engines.vggt.network import Vggt
from mapping.engines.vggt.pixels import on_canvas, straightened
from mapping.engines.vggt.token_cache import Key, TokenCache
from mapping.engines.vggt.unit import window_from_network
from mapping.engines.vggt.weights import Provenance, ready
from mapping.transforms import F64, Sim3
from streams.frame import Intrinsics

F32 = NDArray[np.float32]
_WARM_UP_PX = (42, 56)


@dataclass(frozen=True, slots=True, eq=False)
class _Said:
    """The network's answer to one window, on the host."""

    encodings: F32  # (views, 9)
    depth: F32  # (canvas) of the last view
    certainty: F32  # (canvas) 1 or more


class VggtEngine:
    """Is a `mapping.engines.GeometryEngine`.

    Poses and depth come back in the frame and unit of the priors. A view that brings a prior keeps it: the tracker has
    seen more frames than the window holds, and what is fused together must have been placed by one judge.
    """

    def __init__(self, config: Config) -> None:
        """Load the network.

        Raises:
            CheckpointError: the weights cannot be found or do not fit.
        """
        self._config = config
        self._network: Vggt
        self.provenance: Provenance
        self._network, self.provenance = ready(config)
        self._device = next(self._network.parameters()).device
        self.tokens = TokenCache(config.cached_mib << 20)

    def warm_up(self) -> None:
        """Run two small views through every part (on a GPU: two of full size)."""
        height, width = _WARM_UP_PX
        if self._device.type == "cuda":
            height, width = arrange([_WARM_UP_PX], self._config.long_side_px)[0].canvas
        images = torch.zeros(2, 3, height, width, device=self._device)
        with torch.inference_mode():
            self._say(self._network.encode(images), (height, width))

    def predict(self, window: Window) -> WindowPrediction:
        """Depth for the last view; the others come back with their poses, if they could be posed.

        Raises:
            ValueError: the window is empty or too long, a view is malformed, the last view could not be posed, or
                nothing tells the priors' unit.
        """
        views = _checked(window, self._config.max_views)
        images, lenses = zip(*(straightened(view.rgb, view.intrinsics) for view in views), strict=True)
        places = arrange([image.shape[:2] for image in images], self._config.long_side_px)
        with torch.inference_mode():
            said = self._say(self._patches(views, images, places), places[0].canvas)
        cameras = self._cameras(views, lenses, places, said.encodings)
        return self._placed(views, cameras, places[-1], said)

    def _patches(
        self, views: Sequence[View], images: Sequence[NDArray[np.uint8]], places: Sequence[Placement]
    ) -> torch.Tensor:
        """Patch tokens (views, patches, width); only images that no earlier window had are encoded."""
        keys = [Key.of(v.keyframe, image, p) for v, image, p in zip(views, images, places, strict=True)]

        def encode(indices: list[int]) -> torch.Tensor:
            canvases = torch.stack([on_canvas(images[n], places[n], self._device) for n in indices])
            return torch.cat([self._network.encode(some) for some in torch.split(canvases, self._config.views_at_once)])

        return self.tokens.all(keys, encode)

    def _say(self, patches: torch.Tensor, canvas: tuple[int, int]) -> _Said:
        grid = (canvas[0] // PATCH_PX, canvas[1] // PATCH_PX)
        features = self._network.aggregate(patches[None], grid)
        encodings = self._network.cameras(features)[-1, 0]
        depth = self._network.depth(features, grid, last=1)
        return _Said(encodings.cpu().numpy(), depth.z[0, 0].cpu().numpy(), depth.confidence[0, 0].cpu().numpy())

    def _cameras(
        self,
        views: Sequence[View],
        lenses: Sequence[Intrinsics | None],
        places: Sequence[Placement],
        encodings: F32,
    ) -> list[Intrinsics]:
        """A camera for each depth map: the given one, or what the network sees on average over the same phone."""
        height, width = places[0].canvas
        phones = [(str(v.keyframe).rpartition("/")[0], p) for v, p in zip(views, places, strict=True)]
        cameras = []
        for phone, lens, place in zip(phones, lenses, places, strict=True):
            if lens is not None and self._config.intrinsics == "given":
                cameras.append(lens.scaled(place.width, place.height))
            else:
                same = [n for n, other in enumerate(phones) if other == phone]
                cameras.append(place.camera(*shared_focal_px(encodings[same], height, width)))
        return cameras

    def _placed(
        self, views: Sequence[View], cameras: Sequence[Intrinsics], place: Placement, said: _Said
    ) -> WindowPrediction:
        """The answer in the priors' frame and unit."""
        certainty = said.certainty[place.rows, place.columns]
        raw = said.depth[place.rows, place.columns]
        usable = np.isfinite(raw) & np.isfinite(certainty) & (raw > 0)
        raw, certainty = np.where(usable, raw, np.float32(0)), np.where(usable, certainty, np.float32(1))
        last = views[-1]
        seen = compare(last.landmarks_window, last.prior_window_from_camera, cameras[-1], raw, certainty)
        own, priors = window_from_camera(said.encodings), [view.prior_window_from_camera for view in views]
        window_from_own = window_from_network(own, priors, seen.scale)
        poses = _poses(own, priors, window_from_own)
        if poses[-1] is None:
            raise ValueError(f"{last.keyframe} could not be posed: the network's answer is not finite")
        sure = self._sure(raw, certainty, seen, window_from_own.scale)
        depth = np.where(sure > 0, raw * np.float32(window_from_own.scale), np.float32(0))
        found: list[tuple[F32 | None, F32 | None]] = [(None, None)] * (len(views) - 1) + [(depth, sure)]
        return WindowPrediction(
            tuple(
                ViewPrediction(view.keyframe, pose, camera, *maps)
                for view, pose, camera, maps in zip(views, poses, cameras, found, strict=True)
                if pose is not None
            )
        )

    def _sure(self, raw: F32, certainty: F32, seen: Comparison, scale: float) -> F32:
        """Confidence, 0 where depth is unknown or not sure enough."""
        sure = confidence(certainty, seen, scale, self._config.error_tolerance)
        return np.where((raw > 0) & (sure >= self._config.min_confidence), sure, np.float32(0))


def _poses(own: Sequence[F64 | None], priors: Sequence[F64 | None], window_from_own: Sim3) -> list[F64 | None]:
    return [
        prior if prior is not None else None if pose is None else window_from_own.apply_pose(pose)
        for pose, prior in zip(own, priors, strict=True)
    ]


def _checked(window: Window, max_views: int) -> tuple[View, ...]:
    if len(window.views) > max_views:
        raise ValueError(f"a window of {len(window.views)} views; max_views is {max_views}")
    return checked(window)
