"""From whatever a reconstruction or a file gave to one clean body: welded, without crumbs, right side out, smooth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from mapping.objects.mesh import F64, Mesh, MeshError, compacted, face_areas_m2, from_arrays, volume_m3, welded

_SHRINK, _GROW = 0.5, -0.53
"""Taubin's pair of steps (1995): smooths what is shorter than some ten edges and keeps the volume."""


def clean(mesh: Mesh, min_share: float = 0.02) -> Mesh:
    """The bare shape, welded; bodies with less than `min_share` of the largest one's area are crumbs and go.

    Raises:
        MeshError: nothing with an area is left.
    """
    bare = welded(mesh)
    _, first = np.unique(np.sort(bare.faces, axis=1), axis=0, return_index=True)
    faces = bare.faces[np.sort(first)]
    if not len(faces):
        raise MeshError("the mesh has no triangles")
    bare = from_arrays(bare.vertices_m, faces)
    body = components(bare)
    area = np.bincount(body, face_areas_m2(bare))
    if not area.max() > 0:
        raise MeshError("the mesh has no surface")
    bare = compacted(from_arrays(bare.vertices_m, faces[(area >= min_share * area.max())[body]]))
    return bare if volume_m3(bare) >= 0 else from_arrays(bare.vertices_m, bare.faces[:, ::-1])


def components(mesh: Mesh) -> NDArray[np.int32]:
    """(m,) which connected body each triangle belongs to, from 0."""
    _, body = connected_components(_adjacency(mesh), directed=False)
    return np.unique(body[mesh.faces[:, 0]], return_inverse=True)[1].reshape(-1).astype(np.int32)


def smooth(mesh: Mesh, rounds: int) -> Mesh:
    """Even out noise (Taubin 1995); the shape must be welded."""
    mean = neighbour_means(mesh)
    points: F64 = mesh.vertices_m.astype(np.float64)
    for _ in range(rounds):
        for step in (_SHRINK, _GROW):
            points = points + step * (mean @ points - points)
    return from_arrays(points, mesh.faces)


def neighbour_means(mesh: Mesh) -> sparse.csr_matrix:
    """(n, n) the operator that gives each vertex the mean of its neighbours."""
    links = _adjacency(mesh)
    degree = np.maximum(np.asarray(links.sum(axis=1)).ravel(), 1.0)
    return sparse.csr_matrix(sparse.diags(1.0 / degree) @ links)


def _adjacency(mesh: Mesh) -> sparse.csr_matrix:
    a, b, c = mesh.faces.astype(np.int64).T
    rows, columns = np.concatenate([a, b, c, b, c, a]), np.concatenate([b, c, a, a, b, c])
    n = len(mesh.vertices_m)
    links = sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(n, n))
    links.data[:] = 1.0
    return links
