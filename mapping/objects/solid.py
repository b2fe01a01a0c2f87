"""Solids: made, joined, and judged, through manifold3d.

Its own test tells what is a solid rather than counted edges, since it also finds vertices where two bodies touch in a
point. All shapes stand on the floor around the Y axis.
"""

from __future__ import annotations

from collections.abc import Sequence

import manifold3d
import numpy as np

from mapping.objects.mesh import Mesh, MeshError, from_arrays, moved, welded

SEGMENTS = 48
"""Of a full turn; a multiple of four, so that a round thing is exactly as wide as it should be."""


def is_manifold(mesh: Mesh) -> bool:
    """Whether the bare shape bounds a solid, seams of the look welded."""
    return bool(_solid(mesh).status() == manifold3d.Error.NoError)


def united(parts: Sequence[Mesh]) -> Mesh:
    """The union of solids as one bare solid: no triangle stays inside.

    Raises:
        MeshError: one of the parts is no solid.
    """
    solids = [_solid(part) for part in parts]
    if any(solid.status() != manifold3d.Error.NoError for solid in solids):
        raise MeshError("a part is no solid")
    return _mesh(manifold3d.Manifold.batch_boolean(solids, manifold3d.OpType.Add))


def box(width_m: float, height_m: float, depth_m: float, at_m: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Mesh:
    """A box whose bottom's middle is at `at_m`."""
    whole = manifold3d.Manifold.cube((width_m, height_m, depth_m), True).translate((0, height_m / 2, 0))
    return moved(_mesh(whole), np.array(at_m))


def turned(profile_m: Sequence[tuple[float, float]], segments: int = SEGMENTS) -> Mesh:
    """A profile of (radius, height) points, counter-clockwise, turned around the Y axis."""
    flat = manifold3d.CrossSection([[(float(r), float(h)) for r, h in profile_m]])
    return _mesh(flat.revolve(segments).rotate((-90.0, 0.0, 0.0)))


def extruded(outline_m: Sequence[tuple[float, float]], depth_m: float) -> Mesh:
    """An outline of (z, y) points, counter-clockwise, drawn out along X and centred there."""
    flat = manifold3d.CrossSection([[(float(z), float(y)) for z, y in outline_m]])
    whole = flat.extrude(depth_m).translate((0.0, 0.0, -depth_m / 2)).rotate((0.0, -90.0, 0.0))
    return _mesh(whole)


def _solid(mesh: Mesh) -> manifold3d.Manifold:
    bare = welded(mesh)
    return manifold3d.Manifold(manifold3d.Mesh(vert_properties=bare.vertices_m, tri_verts=bare.faces))


def _mesh(solid: manifold3d.Manifold) -> Mesh:
    found = solid.to_mesh()
    return from_arrays(np.asarray(found.vert_properties)[:, :3], np.asarray(found.tri_verts))
