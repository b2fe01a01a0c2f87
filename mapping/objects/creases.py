"""Normals as they should look: smooth where a shape is round, broken where it has an edge."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from mapping.objects.mesh import F64, Mesh, face_areas_m2, welded

CREASE_DEG = 40.0


def creased(mesh: Mesh, crease_deg: float = CREASE_DEG) -> Mesh:
    """The bare shape with normals; at edges sharper than the limit, vertices are there once for each side."""
    bare = welded(mesh)
    corners = bare.corners_m
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    unit = across / np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-20)
    group = _smooth_groups(bare, unit, np.cos(np.radians(crease_deg)))
    total = np.zeros((int(group.max()) + 1, 3))
    np.add.at(total, group, np.repeat(across, 3, axis=0))
    normals = total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-20)
    vertex_of = np.zeros(len(total), np.int64)
    vertex_of[group] = bare.faces.ravel()
    faces = group.reshape(-1, 3).astype(np.uint32)
    whole = Mesh(bare.vertices_m[vertex_of], faces, normals.astype(np.float32), material=mesh.material)
    return replace(whole, faces=faces[face_areas_m2(whole) > 0])


def _smooth_groups(mesh: Mesh, unit: F64, min_cosine: float) -> NDArray[np.int64]:
    """(3 m,) for each triangle's corner the number of the vertex that it is to become.

    Corners at one vertex are one where their triangles share an edge there that is not sharp.
    """
    m = len(mesh.faces)
    edge = np.sort(np.stack([mesh.faces, np.roll(mesh.faces, -1, axis=1)], axis=-1).reshape(-1, 2), axis=1)
    order = np.lexsort((edge[:, 1], edge[:, 0]))
    same = np.all(edge[order[1:]] == edge[order[:-1]], axis=1)
    one, other = order[:-1][same], order[1:][same]  # half-edges 3 f + i from corner i to i + 1
    soft = np.einsum("ij,ij->i", unit[one // 3], unit[other // 3]) >= min_cosine
    one, other = one[soft], other[soft]

    def end(half: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.asarray(half - half % 3 + (half + 1) % 3)

    # The triangles run through a shared edge in opposite ways: one's begin is the other's end.
    rows = np.concatenate([one, end(one)])
    columns = np.concatenate([end(other), other])
    links = sparse.coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(3 * m, 3 * m))
    return np.asarray(connected_components(links, directed=False)[1])
