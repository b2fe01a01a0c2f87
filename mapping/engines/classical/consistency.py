"""Whether two views agree about depth: what one sees, the other must see too, or something nearer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mapping.kernels import fast_kernel


@fast_kernel
def compare(
    depth: NDArray[np.float32],
    k: NDArray[np.float64],
    other_from_camera: NDArray[np.float64],
    other_depth: NDArray[np.float32],
    other_k: NDArray[np.float64],
    tolerance: float,
    agree: NDArray[np.int16],
    contradict: NDArray[np.int16],
) -> None:
    """Count for each pixel of `depth` (h, w) whether another depth map confirms it or looks through it.

    A pixel is contradicted where the other view sees something clearly farther along the same line: there is nothing
    where we claim a surface. Where the other view has no depth, or sees something nearer, it says nothing.

    Args:
        k, other_k: (4,) fx, fy, cx, cy.
        tolerance: relative difference in depth that still counts as the same.
    """
    h, w = depth.shape
    other_h, other_w = other_depth.shape
    r = other_from_camera
    for v in range(h):
        for u in range(w):
            z = depth[v, u]
            if not z > 0.0:
                continue
            x, y = (u + 0.5 - k[2]) / k[0] * z, (v + 0.5 - k[3]) / k[1] * z
            ox = r[0, 0] * x + r[0, 1] * y + r[0, 2] * z + r[0, 3]
            oy = r[1, 0] * x + r[1, 1] * y + r[1, 2] * z + r[1, 3]
            oz = r[2, 0] * x + r[2, 1] * y + r[2, 2] * z + r[2, 3]
            if oz < 1e-9:
                continue
            ou, ov = int(np.floor(other_k[0] * ox / oz + other_k[2])), int(np.floor(other_k[1] * oy / oz + other_k[3]))
            if ou < 0 or ov < 0 or ou >= other_w or ov >= other_h:
                continue
            seen = other_depth[ov, ou]
            if not seen > 0.0:
                continue
            if abs(seen - oz) < tolerance * oz:
                agree[v, u] += 1
            elif seen > oz:
                contradict[v, u] += 1
