"""Cut a shape open and lay it flat: every triangle gets a place of its own in one square picture (xatlas)."""

from __future__ import annotations

import numpy as np
import xatlas

from mapping.objects.mesh import Mesh, MeshError, vertex_normals

PADDING_PX = 4
"""Between charts, so that a mip-map's smaller levels do not mix them at once."""


def unwrapped(mesh: Mesh, texture_px: int) -> Mesh:
    """The mesh with uv for a square picture of that side; vertices at a cut are there twice, normals stay smooth.

    Raises:
        MeshError: there is nothing to unwrap.
    """
    if not len(mesh.faces):
        raise MeshError("the mesh has no triangles")
    normals = vertex_normals(mesh)
    pack = xatlas.PackOptions()
    pack.resolution, pack.padding, pack.bilinear, pack.create_image = texture_px, PADDING_PX, True, False
    charts = xatlas.ChartOptions()
    charts.max_iterations = 1
    flat = xatlas.Atlas()
    flat.add_mesh(mesh.vertices_m, mesh.faces.astype(np.uint32), normals)
    flat.generate(chart_options=charts, pack_options=pack)
    origin, faces, uv = flat[0]
    # xatlas may choose another size than asked for; its uv are relative to that one.
    return Mesh(
        mesh.vertices_m[origin], faces.astype(np.uint32), normals[origin], np.clip(uv, 0, 1).astype(np.float32),
        rgb=None if mesh.rgb is None else mesh.rgb[origin], material=mesh.material,
    )  # fmt: skip
