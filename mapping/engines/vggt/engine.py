"""The engine that sees a whole window at once: VGGT behind the house's contract."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial

import numpy as np
import torch

from mapping.cross_check import PosedDepth, hear
from mapping.engines import View, Window, WindowPrediction, checked
from mapping.engines.vggt.admission import Admission, shortened
from mapping.engines.vggt.answers import answer
from mapping.engines.vggt.canvas import Placement, alike, arrange
from mapping.engines.vggt.checkpoints.ready import Provenance, ready
from mapping.engines.vggt.config import Config
from mapping.engines.vggt.model.architecture import PATCH_PX
from mapping.engines.vggt.passes import Passes, Said, Shape
from mapping.engines.vggt.pixels import straightened
from mapping.engines.vggt.token_cache import Key, TokenCache
from streams.frame import Intrinsics

_SMALL_PX = (42, 56)


class VggtEngine:
    """Is a `mapping.engines.GeometryEngine`.

    Poses and depth come back in the frame and unit of the priors. A view that brings a prior keeps it: the tracker has
    seen more frames than the window holds, and what is fused together must have been placed by one judge.
    """

    def __init__(self, config: Config, passes: Passes, provenance: Provenance) -> None:
        self._config, self._passes = config, passes
        self.provenance: Mapping[str, str] = asdict(provenance)
        self._admission = Admission(passes.memory)
        self.tokens = TokenCache(_cached_bytes(config, passes.memory.total()))

    @classmethod
    def load(cls, config: Config) -> VggtEngine:
        """The engine with its network.

        Raises:
            CheckpointError: the weights cannot be found or do not fit.
        """
        network, provenance = ready(config)
        return cls(config, Passes(network, config), provenance)

    def warm_up(self) -> None:
        """Run two small views through every part; on a GPU windows of full size, every usual length and orientation."""
        flat = PosedDepth(np.eye(4), Intrinsics.from_fov(8, 8), np.ones((8, 8), np.float32))
        hear(flat, [flat], 1.0)
        for shape in self._usual():
            try:
                with torch.inference_mode(), self._admission.watched(shape.tokens):
                    self._passes.warm_up(shape)
            except torch.OutOfMemoryError:
                self._admission.ran_out(shape.tokens)

    def predict(self, window: Window) -> WindowPrediction:
        """Depth for the last view; the others come back with their poses, if they could be posed.

        Raises:
            ValueError: the window is empty or too long, a view is malformed, the last view could not be posed, or
                nothing tells the priors' unit.
        """
        views: Sequence[View] = self._checked(window)
        while True:
            places, shape = self._laid_out([views])
            if not self._passes.needs_no_memory(shape):
                admitted = self._admission.admit(views, shape.tokens // shape.views)
                if len(admitted) < len(views):
                    views = admitted
                    continue
            try:
                [said] = self._ask([views], places, shape)
            except torch.OutOfMemoryError:
                if len(views) == 1:
                    raise
                views = shortened(views, (len(views) + 1) // 2)
                continue
            return answer(views, places, said, self._config)

    @property
    def together(self) -> int:
        """Windows of one shape that are worth asking at once: a CPU is busy with one."""
        return self._config.together if self._passes.device.type == "cuda" else 1

    def predict_together(self, windows: Sequence[Window]) -> list[WindowPrediction | Exception]:
        """What `predict` gives or raises for each window; those of one shape go through the network side by side."""
        try:
            views = [self._checked(window) for window in windows]
            places, shape = self._laid_out(views)
            if not self._passes.needs_no_memory(shape) and not self._admission.has_room(shape.tokens):
                raise torch.OutOfMemoryError
            said = self._ask(views, places, shape)
        except (ValueError, torch.OutOfMemoryError):  # one is malformed, they have several shapes, or are too many
            return [_tried(partial(self.predict, window)) for window in windows]
        return [_tried(partial(answer, v, places, s, self._config)) for v, s in zip(views, said, strict=True)]

    @property
    def device_bytes(self) -> int:
        """Memory of the GPU that this engine holds; 0 on the CPU."""
        return self._passes.memory.held()

    def _checked(self, window: Window) -> Sequence[View]:
        """The views to ask about together."""
        if len(window.views) > self._config.max_views:
            raise ValueError(f"a window of {len(window.views)} views; max_views is {self._config.max_views}")
        views = checked(window)
        return [views[n] for n in alike([view.rgb.shape[:2] for view in views])]

    def _laid_out(self, windows: Sequence[Sequence[View]]) -> tuple[list[Placement], Shape]:
        """Where the pictures of each window lie, and what work that is.

        Raises:
            ValueError: the windows have several shapes.
        """
        sizes = {tuple(view.rgb.shape[:2] for view in views) for views in windows}
        if len(sizes) > 1:
            raise ValueError("windows of several shapes cannot go together")
        places = arrange(sizes.pop(), self._config.long_side_px)
        return places, self._shape(len(windows), len(places), places[0].canvas)

    def _shape(self, windows: int, views: int, canvas: tuple[int, int]) -> Shape:
        grid = (canvas[0] // PATCH_PX, canvas[1] // PATCH_PX)
        return Shape(windows, views, grid, depths=min(views, 1 + self._config.checks))

    def _ask(self, windows: Sequence[Sequence[View]], places: Sequence[Placement], shape: Shape) -> list[Said]:
        """What the network says of windows of one shape.

        Raises:
            torch.OutOfMemoryError: they did not fit; memory was given back, and the next ones will be shorter.
        """
        is_replayed = self._passes.needs_no_memory(shape)
        try:
            with torch.inference_mode(), nullcontext() if is_replayed else self._admission.watched(shape.tokens):
                return self._passes.ask(self._patches(windows, places), shape)
        except torch.OutOfMemoryError:
            self.tokens.clear()
            self._passes.forget()
            self._admission.ran_out(shape.tokens)
            raise

    def _patches(self, windows: Sequence[Sequence[View]], places: Sequence[Placement]) -> torch.Tensor:
        """Patch tokens (windows, views, patches, width); only images that no earlier window had are encoded."""
        views = [view for window in windows for view in window]
        places = [*places] * len(windows)

        def encode(indices: list[int]) -> torch.Tensor:
            pictures = [straightened(views[n].rgb, views[n].intrinsics) for n in indices]
            return self._passes.encode(pictures, [places[n] for n in indices])

        keys = [Key.of(view, place) for view, place in zip(views, places, strict=True)]
        return torch.unflatten(self.tokens.all(keys, encode), 0, (len(windows), -1))

    def _usual(self) -> Iterator[Shape]:
        """Shapes to be ready for, small ones first."""
        most = self._config.max_views
        if self._passes.device.type != "cuda":
            yield from (self._shape(1, views, _SMALL_PX) for views in sorted({1, min(2, most)}))
            return
        longest = min(self._config.warm_views, most)
        canvases = [arrange([size], self._config.long_side_px)[0].canvas for size in self._config.warm_sizes]
        yield from (self._shape(1, views, canvas) for views in range(1, longest + 1) for canvas in canvases)
        yield from (self._shape(n, longest, canvas) for n in range(2, self.together + 1) for canvas in canvases)


def _cached_bytes(config: Config, device_bytes: int | None) -> int:
    """For patch tokens."""
    if config.cached_mib is not None:
        return config.cached_mib << 20
    return 512 << 20 if device_bytes is None else min(4 << 30, device_bytes // 8)


def _tried(predict: Callable[[], WindowPrediction]) -> WindowPrediction | Exception:
    try:
        return predict()
    except Exception as error:
        return error
