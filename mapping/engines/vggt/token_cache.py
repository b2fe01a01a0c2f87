"""Patch tokens of earlier keyframes: they do not depend on the window, so each image is encoded once."""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mapping.changes import KeyframeId
from mapping.engines import View
from mapping.engines.vggt.canvas import Placement
from streams.frame import Intrinsics


@dataclass(frozen=True, slots=True)
class Key:
    """What tokens depend on: the picture, the lens that it is straightened for, and its place on the canvas."""

    keyframe: KeyframeId
    fingerprint: int
    """Of all pixels: two maps may call their keyframes alike."""
    place: Placement
    lens: Intrinsics | None = None
    """None where nothing has to be straightened."""

    @classmethod
    def of(cls, view: View, place: Placement) -> Key:
        lens = view.intrinsics if view.intrinsics is not None and view.intrinsics.k1 else None
        return cls(view.keyframe, zlib.crc32(np.ascontiguousarray(view.rgb).data), place, lens)


class TokenCache:
    """Least recently used tokens go first when `capacity_bytes` are full."""

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self._tokens: OrderedDict[Key, Tensor] = OrderedDict()
        self._held_bytes = 0
        self.encoded = 0
        """Images that went through the encoder."""
        self.reused = 0
        """Images that did not have to."""

    @property
    def held_bytes(self) -> int:
        return self._held_bytes

    def all(self, keys: Sequence[Key], encode: Callable[[list[int]], Tensor]) -> Tensor:
        """Tokens (n, patches, width) of the keys; `encode` is asked once for the indices of those not held."""
        found = {index: self._tokens[key] for index, key in enumerate(keys) if key in self._tokens}
        missing = [index for index in range(len(keys)) if index not in found]
        if missing:
            found |= zip(missing, encode(missing).unbind(0), strict=True)
        self.encoded += len(missing)
        self.reused += len(keys) - len(missing)
        for index, key in enumerate(keys):
            self._touch(key, found[index])
        return torch.stack([found[index] for index in range(len(keys))])

    def clear(self) -> None:
        self._tokens.clear()
        self._held_bytes = 0

    def _touch(self, key: Key, tokens: Tensor) -> None:
        if key not in self._tokens:
            self._tokens[key] = tokens.clone()  # of its own: a view would keep its whole batch alive
            self._held_bytes += tokens.numel() * tokens.element_size()
        self._tokens.move_to_end(key)
        while self._held_bytes > self.capacity_bytes:
            _, dropped = self._tokens.popitem(last=False)
            self._held_bytes -= dropped.numel() * dropped.element_size()
