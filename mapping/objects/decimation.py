"""Fewer triangles by leaving vertices out (quadric error, meshoptimizer): what is left keeps its place and its look.

So uv, normals and colours stay true, seams stay closed, and every level of detail shares one picture. On captured
shapes it is as near to the truth as quadric collapse that also moves vertices.
"""

from __future__ import annotations

from dataclasses import replace

import meshoptimizer
import numpy as np

from mapping.objects.mesh import Mesh, compacted

LOD_SHARES = (1.0, 0.25, 0.0625)
_MAX_ERROR = 0.1
"""Of the mesh's size: beyond it a level keeps more triangles than wanted."""


def decimated(mesh: Mesh, max_faces: int) -> Mesh:
    """The mesh with at most about `max_faces` triangles; the same one when it has no more."""
    if len(mesh.faces) <= max_faces:
        return mesh
    indices = np.ascontiguousarray(mesh.faces.ravel(), np.uint32)
    kept = np.zeros_like(indices)
    vertices_m = np.ascontiguousarray(mesh.vertices_m, np.float32)
    count = meshoptimizer.simplify(kept, indices, vertices_m, target_index_count=3 * max_faces, target_error=_MAX_ERROR)
    return compacted(replace(mesh, faces=kept[: int(count)].reshape(-1, 3).copy()))


def levels_of_detail(mesh: Mesh) -> tuple[Mesh, ...]:
    """The mesh at `LOD_SHARES` of its triangles, finest first; what cannot be thinned further repeats."""
    return tuple(decimated(mesh, max(4, round(share * len(mesh.faces)))) for share in LOD_SHARES)
