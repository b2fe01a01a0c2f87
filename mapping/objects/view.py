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
