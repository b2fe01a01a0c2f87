"""Meshes that the tests of this folder share."""

from __future__ import annotations

import numpy as np

from mapping.objects import solid
from mapping.objects.atlas import unwrapped
from mapping.objects.mesh import Mesh, moved


def ball(radius_m: float = 0.1) -> Mesh:
    """Standing on the origin; 2,208 triangles."""
    angles = np.linspace(-np.pi / 2, np.pi / 2, 25)
    return moved(
        solid.turned([(radius_m * np.cos(a), radius_m * np.sin(a)) for a in angles]), np.array([0, radius_m, 0])
    )


def checkered_cube(size_m: float = 0.2) -> Mesh:
    """Unwrapped, with a texture of coloured squares."""
    flat = unwrapped(solid.box(size_m, size_m, size_m), 64)
    rows, columns = np.indices((64, 64)) // 8
    texture = np.stack([(rows * 30) % 256, (columns * 30) % 256, np.full_like(rows, 90)], axis=-1).astype(np.uint8)
    return Mesh(flat.vertices_m, flat.faces, flat.normals, flat.uv, texture)
