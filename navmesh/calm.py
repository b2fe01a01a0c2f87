"""Less noise on flat ground before triangles are counted out: each vertex moves towards the plane of its neighbours.

One step of Laplacian smoothing (Field 1988) along the normal, where the triangles around a vertex all but agree on it.
Edges, corners, rims and thin things stay where they are: blunting them is what makes occluders leak.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mapping.kernels import kernel
from navmesh.triangles import F32, U32, normals

_AGREEMENT = 0.96
"""Length of the sum of the normals around a vertex over the sum of their lengths; 1 = they are all the same."""


def calmed(vertices_m: F32, indices: U32, most_m: float) -> F32:
    """Vertices (n, 3), those of flat places moved along their normal by at most `most_m`."""
    normal, is_rim = normals(vertices_m, indices)
    return _moved(vertices_m, indices, normal, is_rim, most_m)


@kernel
def _moved(vertices_m: F32, indices: U32, normal: F32, is_rim: NDArray[np.bool_], most_m: float) -> F32:
    around = np.zeros((len(vertices_m), 3))
    count = np.zeros(len(vertices_m), np.int64)
    total = np.zeros(len(vertices_m))
    for t in range(len(indices)):
        a, b, c = indices[t, 0], indices[t, 1], indices[t, 2]
        ax, ay, az = vertices_m[a, 0], vertices_m[a, 1], vertices_m[a, 2]
        bx, by, bz = vertices_m[b, 0], vertices_m[b, 1], vertices_m[b, 2]
        cx, cy, cz = vertices_m[c, 0], vertices_m[c, 1], vertices_m[c, 2]
        ux, uy, uz, vx, vy, vz = bx - ax, by - ay, bz - az, cx - ax, cy - ay, cz - az
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        length = np.sqrt(nx * nx + ny * ny + nz * nz)
        sx, sy, sz = ax + bx + cx, ay + by + cy, az + bz + cz
        for corner in (a, b, c):
            total[corner] += length
            count[corner] += 2
            around[corner, 0] += sx - vertices_m[corner, 0]
            around[corner, 1] += sy - vertices_m[corner, 1]
            around[corner, 2] += sz - vertices_m[corner, 2]
    out = vertices_m.copy()
    for v in range(len(vertices_m)):
        length = np.sqrt(normal[v, 0] ** 2 + normal[v, 1] ** 2 + normal[v, 2] ** 2)
        if is_rim[v] or count[v] == 0 or length <= 0.0 or length < _AGREEMENT * total[v]:
            continue
        off = 0.0
        for c in range(3):
            off += (around[v, c] / count[v] - vertices_m[v, c]) * normal[v, c] / length
        off = min(max(off, -most_m), most_m)
        for c in range(3):
            out[v, c] += off * normal[v, c] / length
    return out
