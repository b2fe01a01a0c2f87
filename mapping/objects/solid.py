"""Whether a mesh is a solid: closed, without edges that three triangles share; asked of manifold3d.

Its own test is the judge rather than counted edges, since it also finds vertices where two bodies touch in a point.
"""

from __future__ import annotations

import manifold3d
import numpy as np

from mapping.objects.mesh import Mesh, from_arrays, welded


def is_manifold(mesh: Mesh) -> bool:
    """Whether the bare shape bounds a solid, seams of the look welded."""
    return bool(_solid(mesh).status() == manifold3d.Error.NoError)


def united(parts: list[Mesh]) -> Mesh:
    """The union of solids as one bare solid: no triangle stays inside.

    Raises:
        ValueError: one of the parts is no solid.
    """
    solids = [_solid(part) for part in parts]
    if any(solid.status() != manifold3d.Error.NoError for solid in solids):
        raise ValueError("a part is no solid")
    whole = manifold3d.Manifold.batch_boolean(solids, manifold3d.OpType.Add).to_mesh()
    return from_arrays(np.asarray(whole.vert_properties)[:, :3], np.asarray(whole.tri_verts))


def _solid(mesh: Mesh) -> manifold3d.Manifold:
    bare = welded(mesh)
    return manifold3d.Manifold(manifold3d.Mesh(vert_properties=bare.vertices_m, tri_verts=bare.faces))
