"""Where each view's whole image lies in what the network sees: nothing is cut off, and the way back is exact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mapping.engines.vggt.model.architecture import PATCH_PX
from streams.frame import Intrinsics


@dataclass(frozen=True, slots=True)
class Placement:
    """A view's image, `height` x `width` after resizing, inside a canvas that all views of a window share."""

    height: int
    width: int
    top: int
    left: int
    canvas: tuple[int, int]
    """(height, width), multiples of 14."""

    @property
    def rows(self) -> slice:
        return slice(self.top, self.top + self.height)

    @property
    def columns(self) -> slice:
        return slice(self.left, self.left + self.width)

    def camera(self, fx: float, fy: float) -> Intrinsics:
        """What the network says of a camera, for the image inside: it takes the canvas's middle for principal point."""
        height, width = self.canvas
        return Intrinsics(fx, fy, width / 2 - self.left, height / 2 - self.top, self.width, self.height)


_ENOUGH = 4


def alike(sizes: Sequence[tuple[int, int]]) -> list[int]:
    """Indices of the pictures of sizes (height, width) to be asked about together, in their order, the last one among
    them.

    All, or only those of the last one's shape, if they are enough: the first picture of a walk may have been taken with
    the phone held otherwise, and a canvas for both is a third larger, and of it a third is empty.
    """
    height, width = sizes[-1]
    same = [n for n, (h, w) in enumerate(sizes) if h * width == w * height]
    return same if len(same) >= _ENOUGH else list(range(len(sizes)))


def arrange(sizes: Sequence[tuple[int, int]], long_side_px: int) -> list[Placement]:
    """Lay out images of sizes (height, width): long side `long_side_px`, the other to the nearest multiple of 14.

    Images of one shape fill their canvas; where shapes differ, each lies in the middle of one that holds all.
    """
    resized = [_resized(height, width, long_side_px) for height, width in sizes]
    canvas = (max(h for h, _ in resized), max(w for _, w in resized))
    return [Placement(h, w, (canvas[0] - h) // 2, (canvas[1] - w) // 2, canvas) for h, w in resized]


def _resized(height: int, width: int, long_side_px: int) -> tuple[int, int]:
    shrink = long_side_px / max(height, width)
    short = max(PATCH_PX, round(min(height, width) * shrink / PATCH_PX) * PATCH_PX)
    return (long_side_px, short) if height >= width else (short, long_side_px)
