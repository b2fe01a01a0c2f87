"""The value that all of this package hands around: triangles with a look, in metres, +Y up, on their pivot."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]
U32 = NDArray[np.uint32]


FARTHEST_M = 1e6
"""What reaches farther is a mistake, and 32 bits would not hold it."""


class MeshError(ValueError):
    """This is no mesh, or not one that can be worked on; the message says why."""


@dataclass(frozen=True, slots=True)
class Material:
    """One metallic-roughness material for the whole mesh; a texture or vertex colours are multiplied with `rgb`."""

    rgb: tuple[int, int, int] = (255, 255, 255)  # sRGB
    metallic: float = 0.0
    roughness: float = 0.9


@dataclass(frozen=True, slots=True, eq=False)
class Mesh:
    """Triangles, counter-clockwise when looked at from outside; a vertex at a seam or sharp edge is there twice."""

    vertices_m: F32  # (n, 3)
    faces: U32  # (m, 3)
    normals: F32 | None = None  # (n, 3) unit; None = to be had from the triangles
    uv: F32 | None = None  # (n, 2) of the texture, u to the right, v DOWN, 0..1 (glTF's way)
    texture: U8 | None = None  # (h, w, 3) sRGB
    rgb: U8 | None = None  # (n, 3) sRGB
    material: Material = Material()

    def __post_init__(self) -> None:
        n = len(self.vertices_m)
        for name, array, shape in (
            ("vertices_m", self.vertices_m, (n, 3)),
            ("faces", self.faces, (len(self.faces), 3)),
            ("normals", self.normals, (n, 3)),
            ("uv", self.uv, (n, 2)),
            ("rgb", self.rgb, (n, 3)),
        ):
            if array is not None and array.shape != shape:
                raise MeshError(f"{name} must be {shape}, got {array.shape}")
        if not np.isfinite(self.vertices_m).all() or (self.uv is not None and not np.isfinite(self.uv).all()):
            raise MeshError("coordinates must be finite")
        if len(self.faces) and int(self.faces.max()) >= n:
            raise MeshError(f"a triangle names vertex {int(self.faces.max())} of {n}")
        if self.texture is not None and (self.texture.ndim != 3 or self.texture.shape[2] != 3 or self.uv is None):
            raise MeshError("a texture must be (h, w, 3), and needs uv")

    @property
    def corners_m(self) -> F64:
        """(m, 3, 3) the triangles' corners."""
        return self.vertices_m[self.faces].astype(np.float64)

    def bounds_m(self) -> F64:
        """(2, 3) the lowest and the highest corner of the box around it.

        Raises:
            MeshError: it has no triangles.
        """
        if not len(self.faces):
            raise MeshError("the mesh has no triangles")
        used = self.vertices_m[self.faces.ravel()]
        return np.stack([used.min(0), used.max(0)]).astype(np.float64)

    def extents_m(self) -> F64:
        """(3,) width, height, depth."""
        low, high = self.bounds_m()
        return np.asarray(high - low)


def sound(mesh: Mesh) -> Mesh:
    """The same mesh, which can be drawn, measured and worked on.

    Raises:
        MeshError: it has no surface, or reaches too far.
    """
    if not len(mesh.faces):
        raise MeshError("it holds no triangles")
    farthest_m = float(np.abs(mesh.bounds_m()).max())
    if farthest_m > FARTHEST_M:
        raise MeshError(f"it reaches {farthest_m:.3g} m from its origin; at most {FARTHEST_M:.0e} m are read")
    if not face_areas_m2(mesh).sum() > 0:
        raise MeshError("it has no surface: no triangle has an area")
    return mesh


def from_arrays(vertices_m: NDArray[np.floating], faces: NDArray[np.integer]) -> Mesh:
    """A bare mesh of arrays of any number type; (n, 3) and (m, 3)."""
    return Mesh(np.ascontiguousarray(vertices_m, np.float32), np.ascontiguousarray(faces, np.uint32))


def volume_m3(mesh: Mesh) -> float:
    """What a closed mesh holds; negative when it is inside out (divergence theorem)."""
    a, b, c = np.moveaxis(mesh.corners_m, 1, 0)
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


def face_areas_m2(mesh: Mesh) -> F64:
    """(m,) area of each triangle."""
    corners = mesh.corners_m
    return np.asarray(
        np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    )


def vertex_normals(mesh: Mesh) -> F32:
    """(n, 3) unit normals: its own, or means over the triangles around each vertex, weighted by their area."""
    if mesh.normals is not None:
        return mesh.normals
    corners = mesh.corners_m
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = np.zeros((len(mesh.vertices_m), 3))
    for corner in range(3):
        np.add.at(total, mesh.faces[:, corner], across)
    length = np.linalg.norm(total, axis=1, keepdims=True)
    up = np.array([0.0, 1.0, 0.0])  # of a vertex that no triangle with an area uses
    return np.where(length > 1e-20, total / np.maximum(length, 1e-20), up).astype(np.float32)


def floor_centre_m(mesh: Mesh) -> F64:
    """(3,) the middle of the box's bottom: where the pivot belongs."""
    low, high = mesh.bounds_m()
    return np.array([(low[0] + high[0]) / 2, low[1], (low[2] + high[2]) / 2])


def moved(mesh: Mesh, by_m: F64) -> Mesh:
    """The same mesh elsewhere."""
    return replace(mesh, vertices_m=(mesh.vertices_m + np.asarray(by_m)).astype(np.float32))


def on_its_pivot(mesh: Mesh) -> Mesh:
    """The same mesh with the origin in the middle of its bottom."""
    return moved(mesh, -floor_centre_m(mesh))


def scaled(mesh: Mesh, factor: float) -> Mesh:
    """The same mesh larger or smaller about its origin."""
    return replace(mesh, vertices_m=(mesh.vertices_m * np.float32(factor)).astype(np.float32))


def welded(mesh: Mesh) -> Mesh:
    """The bare shape: vertices at exactly the same place become one, triangles without three corners go."""
    places, index = np.unique(mesh.vertices_m + np.float32(0.0), axis=0, return_inverse=True)
    faces = index.reshape(-1)[mesh.faces].astype(np.uint32)
    a, b, c = faces.T
    return from_arrays(places, faces[(a != b) & (b != c) & (c != a)])


def compacted(mesh: Mesh) -> Mesh:
    """The same mesh without vertices that no triangle uses."""
    used, faces = np.unique(mesh.faces, return_inverse=True)
    if len(used) == len(mesh.vertices_m):
        return mesh

    def kept(array: NDArray[Any] | None) -> NDArray[Any] | None:
        return None if array is None else array[used]

    return replace(
        mesh,
        vertices_m=mesh.vertices_m[used],
        faces=faces.reshape(-1, 3).astype(np.uint32),
        normals=kept(mesh.normals),
        uv=kept(mesh.uv),
        rgb=kept(mesh.rgb),
    )


def sampled(mesh: Mesh, count: int, seed: int = 0) -> tuple[F64, F64]:
    """Points (count, 3) spread evenly over the surface, and the unit normals (count, 3) of their triangles.

    Raises:
        MeshError: no triangle has an area.
    """
    rng = np.random.default_rng(seed)
    area = face_areas_m2(mesh)
    if not area.sum() > 0:
        raise MeshError("the mesh has no surface")
    chosen = rng.choice(len(area), count, p=area / area.sum())
    u, v = rng.random(count), rng.random(count)
    over = u + v > 1
    u[over], v[over] = 1 - u[over], 1 - v[over]
    a, b, c = np.moveaxis(mesh.corners_m[chosen], 1, 0)
    across = np.cross(b - a, c - a)
    return a + u[:, None] * (b - a) + v[:, None] * (c - a), across / np.linalg.norm(across, axis=1, keepdims=True)


def joined(parts: list[Mesh]) -> Mesh:
    """Several bare meshes as one; looks are lost, normals kept where all have them."""
    starts = np.cumsum([0, *(len(part.vertices_m) for part in parts)])
    faces = [part.faces + np.uint32(start) for part, start in zip(parts, starts, strict=False)]
    normals = [part.normals for part in parts if part.normals is not None]
    return Mesh(
        np.concatenate([part.vertices_m for part in parts]),
        np.concatenate(faces).astype(np.uint32),
        np.concatenate(normals) if len(normals) == len(parts) else None,
    )
