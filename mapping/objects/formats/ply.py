"""Binary PLY with a colour for each vertex."""

from __future__ import annotations

from mapping.exporters import ply
from mapping.objects.looks import vertex_rgb
from mapping.objects.mesh import Mesh


def encode(mesh: Mesh, name: str) -> bytes:
    """Metres, +Y up."""
    return ply.encode(mesh.vertices_m, vertex_rgb(mesh), mesh.faces)
