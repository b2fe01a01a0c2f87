"""The two passes of windows: pictures to patch tokens, and patch tokens of all views to what the network says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mapping.engines.vggt.admission import CudaMemory, HostMemory, Memory
from mapping.engines.vggt.canvas import Placement
from mapping.engines.vggt.config import Config
from mapping.engines.vggt.fusing import fuse
from mapping.engines.vggt.model.architecture import PATCH_PX, SPECIAL_TOKENS
from mapping.engines.vggt.model.precision import whole_float32
from mapping.engines.vggt.model.vggt import Vggt
from mapping.engines.vggt.pixels import on_canvas
from mapping.engines.vggt.replays import CudaGraphs, Replays
from mapping.engines.vggt.transfers import Transfers

F32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Said:
    """The network's answer to one window, on the host, in its own frame and unit."""

    encodings: F32  # (views, 9)
    depth: F32  # (n, height, width) of the last n views
    certainty: F32  # (n, height, width) 1 or more
    descriptor: F32  # (width,) of unit length: the mean patch token of the last view


@dataclass(frozen=True, slots=True)
class Shape:
    """All that the work for some windows depends on, besides their pictures."""

    windows: int
    views: int
    """Of each window."""
    grid: tuple[int, int]
    """(rows, columns) of patches."""
    depths: int
    """Of so many of each window's last views depth is wanted."""

    @property
    def tokens(self) -> int:
        return self.windows * self.views * (SPECIAL_TOKENS + self.grid[0] * self.grid[1])


class Passes:
    """A network on its device. What it is asked for again in the same shape is replayed, on a GPU."""

    def __init__(self, network: Vggt, config: Config) -> None:
        self._network, self._config = network, config
        self.device = next(network.parameters()).device
        self._transfers = Transfers(self.device)
        is_cuda = self.device.type == "cuda"
        if is_cuda and config.is_fused:
            fuse(network)
        self.replays = Replays(partial(CudaGraphs, self.device) if is_cuda else None, config.replayed)
        self.memory: Memory = CudaMemory(self.device, lambda: self.replays.held_bytes) if is_cuda else HostMemory()

    def encode(self, rgb: Sequence[NDArray[np.uint8]], places: Sequence[Placement]) -> Tensor:
        """Patch tokens (n, rows * columns, width) of pictures (h, w, 3), each on its place of one canvas."""
        found = []
        for start in range(0, len(rgb), self._config.views_at_once):
            some = slice(start, start + self._config.views_at_once)
            pixels = self._transfers.up(rgb[some])
            images = torch.stack([on_canvas(p, place) for p, place in zip(pixels, places[some], strict=True)])
            found.append(self.tokens(images))
        return torch.cat(found)

    def tokens(self, images: Tensor) -> Tensor:
        """Patch tokens of images (n, 3, height, width) that are on the device and may be encoded at once."""
        (tokens,) = self.replays(("encode", tuple(images.shape)), self._encode, images)
        return tokens

    def ask(self, patches: Tensor, shape: Shape) -> list[Said]:
        """What the network says of each window's patch tokens (windows, views, rows * columns, width)."""
        answers = self._transfers.down(self.answer(patches, shape))
        return [Said(*(array[n] for array in answers)) for n in range(len(patches))]

    def answer(self, patches: Tensor, shape: Shape) -> tuple[Tensor, ...]:
        """The same on the device: the fields of `Said`, for all windows. Nothing waits."""
        return self.replays(shape, partial(self._ask, shape=shape), patches)

    def needs_no_memory(self, shape: Shape) -> bool:
        """Whether windows of that shape would be replayed."""
        return shape in self.replays

    def warm_up(self, shape: Shape) -> None:
        """Run windows of a shape, and the encoder on one new picture of each; on a GPU both are recorded."""
        size = PATCH_PX * shape.grid[0], PATCH_PX * shape.grid[1]
        images = torch.zeros(shape.windows, 3, *size, device=self.device)
        with self.replays.warming():
            self.ask(self.tokens(images)[:, None].repeat(1, shape.views, 1, 1), shape)

    def forget(self) -> None:
        """Give back what memory is not needed for the next window."""
        self.replays.clear()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _encode(self, images: Tensor) -> tuple[Tensor, ...]:
        with whole_float32():
            return (self._network.encode(images),)

    def _ask(self, patches: Tensor, shape: Shape) -> tuple[Tensor, ...]:
        is_long = self._config.thin_above is not None and shape.views > self._config.thin_above
        every = self._config.thin_every if is_long else 1
        with whole_float32():
            features = self._network.aggregate(patches, shape.grid, every=every)
            depth = self._network.depth(features, shape.grid, shape.depths, self._config.views_at_once)
            encodings = self._network.cameras(features)[-1]
        descriptor = functional.normalize(patches[:, -1].float().mean(dim=1), dim=1)
        return encodings, depth.z, depth.confidence, descriptor
