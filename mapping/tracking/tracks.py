"""Landmarks that are being followed, and where they are in the newest image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mapping.tracking.flow import F32


@dataclass(frozen=True, slots=True, eq=False)
class Tracks:
    """One row a landmark; some of them may not have a place in the map yet."""

    ids: NDArray[np.int64]  # (n,)
    pixels: F32  # (n, 2) OpenCV pixels

    @classmethod
    def none(cls) -> Tracks:
        return cls(np.empty(0, np.int64), np.empty((0, 2), np.float32))

    def __len__(self) -> int:
        return len(self.ids)

    def only(self, keep: NDArray[np.bool_]) -> Tracks:
        """The rows (n,) marked to keep."""
        return Tracks(self.ids[keep], self.pixels[keep])

    def without(self, which: NDArray[np.int64]) -> Tracks:
        """All rows but those numbers."""
        keep = np.ones(len(self.ids), np.bool_)
        keep[which] = False
        return self.only(keep)

    def plus(self, ids: NDArray[np.int64], pixels: F32) -> Tracks:
        return Tracks(np.concatenate([self.ids, ids]), np.concatenate([self.pixels, pixels]))
