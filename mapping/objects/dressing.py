"""From a generator's dense mesh with coloured vertices to one for a game: clean, small, with a picture on it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.spatial import cKDTree

from mapping.objects.atlas import unwrapped
from mapping.objects.baking import texels, with_gutters
from mapping.objects.cleaning import clean
from mapping.objects.decimation import decimated
from mapping.objects.mesh import F32, Mesh, MeshError, vertex_normals, volume_m3
from mapping.objects.raster import interpolated

_NEAREST = 4
_OTHER_SIDE = 0.05
"""Of the mesh's size: a vertex that faces away from a texel counts as that much farther from it."""


def dressed(coloured: Mesh, max_faces: int, texture_px: int) -> Mesh:
    """One body of at most about `max_faces` triangles; a square picture holds the colours of the dense one's vertices.

    Raises:
        MeshError: it has no colours, or no surface.
    """
    if coloured.rgb is None:
        raise MeshError("the mesh has no vertex colours")
    if volume_m3(coloured) < 0:
        coloured = replace(coloured, faces=coloured.faces[:, ::-1])
    flat = unwrapped(decimated(clean(coloured), max_faces), texture_px)
    drawn = texels(flat, texture_px)
    inside = drawn.face >= 0
    places = interpolated(drawn, flat.faces, flat.vertices_m)[inside]
    facing = interpolated(drawn, flat.faces, vertex_normals(flat))[inside]
    texture = np.zeros((texture_px, texture_px, 3), np.float32)
    texture[inside] = _colours_at(places, facing, coloured)
    return replace(flat, rgb=None, texture=with_gutters(texture, inside))


def _colours_at(places: F32, facing: F32, coloured: Mesh) -> F32:
    """(k, 3) mean colours of the vertices nearest to points (k, 3), those on the same side of a thin wall first."""
    assert coloured.rgb is not None
    reach = _OTHER_SIDE * float(coloured.extents_m().max())
    tree = cKDTree(np.hstack([coloured.vertices_m, reach * vertex_normals(coloured)]))
    count = min(_NEAREST, len(coloured.vertices_m))
    away, nearest = tree.query(np.hstack([places, reach * facing]), k=count)
    away, nearest = away.reshape(-1, count), nearest.reshape(-1, count)
    weight = 1.0 / np.maximum(away, 1e-9)
    weight /= weight.sum(axis=1, keepdims=True)
    return np.asarray(np.einsum("kn,knc->kc", weight, coloured.rgb[nearest].astype(np.float64)), np.float32)
