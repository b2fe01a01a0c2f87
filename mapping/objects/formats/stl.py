"""Binary STL: the bare shape; the format has no colours and no unit."""

from __future__ import annotations

import numpy as np

from mapping.objects.mesh import Mesh

_TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


def encode(mesh: Mesh, name: str) -> bytes:
    """Metres, +Y up, as the header says."""
    corners = mesh.corners_m
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    triangles = np.zeros(len(mesh.faces), _TRIANGLE)
    triangles["normal"] = across / np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-30)
    triangles["corners"] = corners
    header = b"Commonground: metres, +Y up".ljust(80)  # must not begin with "solid"
    return header + len(triangles).to_bytes(4, "little") + triangles.tobytes()
