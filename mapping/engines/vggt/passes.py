"""The two passes of windows: pictures to patch tokens, and patch tokens of all views to what the network says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mapping.engines.vggt.admission import CudaMemory, HostMemory, Memory
from mapping.engines.vggt.canvas import Placement
from mapping.engines.vggt.config import Config
from mapping.engines.vggt.fusing import fuse
from mapping.engines.vggt.model.architecture import PATCH_PX
from mapping.engines.vggt.model.vggt import Vggt
from mapping.engines.vggt.pixels import on_canvas
from mapping.engines.vggt.replays import Replays, cuda_graphs
from mapping.engines.vggt.transfers import Transfers

F32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Said:
    """The network's answer to one window, on the host, in its own frame and unit."""

    encodings: F32  # (views, 9)
    depth: F32  # (n, height, width) of the last n views
    certainty: F32  # (n, height, width) 1 or more
    descriptor: F32  # (width,) of unit length: the mean patch token of the last view


class Passes:
    """A network on its device. What it is asked for again in the same shape is replayed, on a GPU."""

    def __init__(self, network: Vggt, config: Config) -> None:
        self._network, self._config = network, config
        self.device = next(network.parameters()).device
        self._transfers = Transfers(self.device)
        if self.device.type == "cuda" and config.is_fused:
            fuse(network)
        is_replayed = self.device.type == "cuda" and config.replayed > 0
        self.memory: Memory = CudaMemory(self.device) if self.device.type == "cuda" else HostMemory()
        self.replays = Replays(cuda_graphs(self.device) if is_replayed else None, config.replayed)

    def encode(self, rgb: list[NDArray[np.uint8]], places: list[Placement]) -> Tensor:
        """Patch tokens (n, rows * columns, width) of pictures (h, w, 3), each on its place of one canvas."""
        found: list[Tensor] = []
        for start in range(0, len(rgb), self._config.views_at_once):
            some = slice(start, start + self._config.views_at_once)
            pixels = [self._transfers.up(picture) for picture in rgb[some]]
            images = torch.stack([on_canvas(p, place) for p, place in zip(pixels, places[some], strict=True)])
            found += self.replays(("encode", tuple(images.shape)), self._encode, images)
        return torch.cat(found)

    def ask(self, patches: Tensor, grid: tuple[int, int], depths: int) -> list[Said]:
        """What the network says of each window's patch tokens (windows, views, rows * columns, width).

        Args:
            depths: of how many of the last views of each window depth is wanted.
        """

        def run(patches: Tensor) -> tuple[Tensor, ...]:
            return self._ask(patches, grid, depths)

        key = ("window", *patches.shape[:2], grid, depths)
        answers = self._transfers.down(self.replays(key, run, patches))
        return [Said(*(array[n] for array in answers)) for n in range(len(patches))]

    def warm_up(self, views: int, height: int, width: int) -> None:
        """Run windows of one and of `views` views of that canvas; on a GPU of every number up to it, to be recorded."""
        grid = (height // PATCH_PX, width // PATCH_PX)
        image = torch.zeros(1, 3, height, width, device=self.device)
        self.replays.is_warming = True
        (patches,) = self.replays(("encode", tuple(image.shape)), self._encode, image)
        for count in range(1, views + 1) if self.device.type == "cuda" else sorted({1, views}):
            self.ask(patches.repeat(count, 1, 1)[None], grid, min(count, 1 + self._config.checks))
        self.replays.is_warming = False

    def forget(self) -> None:
        """Give back what memory is not needed for the next window."""
        self.replays.clear()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _encode(self, images: Tensor) -> tuple[Tensor, ...]:
        return (self._network.encode(images),)

    def _ask(self, patches: Tensor, grid: tuple[int, int], depths: int) -> tuple[Tensor, ...]:
        is_long = self._config.thin_above is not None and patches.shape[1] > self._config.thin_above
        features = self._network.aggregate(patches, grid, every=self._config.thin_every if is_long else 1)
        depth = self._network.depth(features, grid, last=depths, views_at_once=self._config.views_at_once)
        descriptor = functional.normalize(patches[:, -1].float().mean(dim=1), dim=1)
        return self._network.cameras(features)[-1], depth.z, depth.confidence, descriptor
