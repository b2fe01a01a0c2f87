"""Wavefront OBJ in one file: positions with colours (`v x y z r g b`, as most programs read them), uv and normals."""

from __future__ import annotations

from mapping.objects.looks import vertex_rgb
from mapping.objects.mesh import Mesh, vertex_normals


def encode(mesh: Mesh, name: str) -> bytes:
    """Metres, +Y up."""
    plain = "".join(letter if letter.isalnum() else "_" for letter in name)
    rgb = vertex_rgb(mesh) / 255
    lines = ["# Commonground: metres, +Y up", f"o {plain}"]
    lines += map("v {:.7g} {:.7g} {:.7g} {:.4f} {:.4f} {:.4f}".format, *mesh.vertices_m.T.tolist(), *rgb.T.tolist())
    if mesh.uv is not None:  # OBJ counts v upwards
        lines += map("vt {:.6f} {:.6f}".format, mesh.uv[:, 0].tolist(), (1 - mesh.uv[:, 1]).tolist())
    lines += map("vn {:.5f} {:.5f} {:.5f}".format, *vertex_normals(mesh).T.tolist())
    corner = "{0}/{0}/{0}" if mesh.uv is not None else "{0}//{0}"
    face = "f " + " ".join(corner.replace("0", str(i)) for i in range(3))
    lines += map(face.format, *(mesh.faces.astype(int) + 1).T.tolist())
    return "\n".join([*lines, ""]).encode()
