"""What physics engines want instead of triangles: one convex hull at once, or a few convex parts.

The parts are V-HACD's (Mamou 2016), through vhacdx; it takes seconds where the hull takes milliseconds.
"""

from __future__ import annotations

import numpy as np
import vhacdx
from scipy.spatial import ConvexHull, QhullError

from mapping.objects.mesh import F64, Mesh, MeshError, from_arrays, volume_m3, welded

_FLAT_M = 1e-3
_NEARLY = 1.05
"""What fills its hull but for so much is convex."""
_ERROR_PERCENT = 3.0


def hull(mesh: Mesh) -> Mesh:
    """The convex hull (Qhull); a flat thing is given a millimetre of thickness.

    Raises:
        MeshError: there are no three vertices off one line.
    """
    points = welded(mesh).vertices_m.astype(np.float64)
    try:
        found = ConvexHull(points)
    except (QhullError, ValueError):
        try:
            found = ConvexHull(np.concatenate([points + _FLAT_M / 2 * side for side in _SIDES]))
        except (QhullError, ValueError) as error:
            raise MeshError(f"no hull around {len(points)} points") from error
    return _outwards(found)


def convex_parts(mesh: Mesh, max_parts: int = 16, resolution: int = 20_000) -> tuple[Mesh, ...]:
    """Convex bodies that together fill about the same space, largest first; concave ones are cut up by V-HACD.

    Raises:
        MeshError: there are no three vertices off one line.
    """
    bare, around = welded(mesh), hull(mesh)
    if 0 < volume_m3(around) <= _NEARLY * volume_m3(bare):
        return (around,)
    # As VTK writes polygons: the number of corners, then the corners.
    with_counts = np.column_stack([np.full(len(bare.faces), 3), bare.faces]).ravel().astype(np.uint32)
    parts = vhacdx.compute_vhacd(
        bare.vertices_m.astype(np.float64),
        with_counts,
        maxConvexHulls=max_parts,
        resolution=resolution,
        minimumVolumePercentErrorAllowed=_ERROR_PERCENT,
        asyncACD=False,
    )
    bodies = [hull(from_arrays(points, faces.reshape(-1, 3))) for points, faces in parts if len(points) > 3]
    return tuple(sorted(bodies, key=volume_m3, reverse=True)) or (around,)


_SIDES: F64 = np.concatenate([np.eye(3), -np.eye(3)])


def _outwards(found: ConvexHull) -> Mesh:
    triangles = found.simplices.copy()
    a, b, c = np.moveaxis(found.points[triangles], 1, 0)
    inwards = np.einsum("ij,ij->i", np.cross(b - a, c - a), found.equations[:, :3]) < 0
    triangles[inwards] = triangles[inwards][:, ::-1]
    used, faces = np.unique(triangles, return_inverse=True)
    return from_arrays(found.points[used], faces.reshape(-1, 3))
