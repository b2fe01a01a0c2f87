"""One picture of a thing, with all that is known about it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mapping.objects.mesh import F32, F64, U8
from streams.frame import Intrinsics


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A keyframe of the map, or any other posed picture; all arrays are of the intrinsics' size."""

    rgb: U8  # (h, w, 3)
    world_from_camera: F64  # (4, 4) OpenCV axes; the world may be the mesh's own frame
    intrinsics: Intrinsics
    mask: NDArray[np.bool_] | None = None  # (h, w) which pixels show the thing
    depth_m: F32 | None = None  # (h, w) along the optical axis, 0 = unknown

    def __post_init__(self) -> None:
        size = (self.intrinsics.height, self.intrinsics.width)
        for name, array in (("rgb", self.rgb), ("mask", self.mask), ("depth_m", self.depth_m)):
            if array is not None and array.shape[:2] != size:
                raise ValueError(f"{name} is {array.shape[:2]}, its intrinsics are for {size}")


def squared(rgb: U8, mask: NDArray[np.bool_], margin: float = 0.1) -> tuple[U8, NDArray[np.bool_]]:
    """The square part of a picture (h, w, 3) around what a mask (h, w) shows, and of the mask; `margin` of its side.

    Beyond the picture's border there is nothing: black, and outside of the mask.
    """
    rows, columns = np.nonzero(mask)
    top, left = int(rows.min()), int(columns.min())
    height, width = int(rows.max()) + 1 - top, int(columns.max()) + 1 - left
    side = round(max(height, width) * (1 + 2 * margin))
    to_row, to_column = (side - height) // 2, (side - width) // 2
    part, inside = np.zeros((side, side, 3), np.uint8), np.zeros((side, side), np.bool_)
    here = np.s_[to_row : to_row + height, to_column : to_column + width]
    there = np.s_[top : top + height, left : left + width]
    part[here], inside[here] = rgb[there], mask[there]
    return part, inside
