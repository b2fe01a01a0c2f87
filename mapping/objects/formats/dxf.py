"""DXF for CAD programs: one MESH entity in metres with Z up, in the mean of its colours (ezdxf)."""

from __future__ import annotations

import io

import numpy as np

from mapping.objects.looks import mean_rgb
from mapping.objects.mesh import Mesh, welded

_METRES = 6  # $INSUNITS
CAD_FROM_OURS = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])


def encode(mesh: Mesh, name: str) -> bytes:
    """The bare shape: CAD programs want closed bodies, so seams of the look are welded."""
    import ezdxf

    bare = welded(mesh)
    document = ezdxf.new("R2010", units=_METRES)
    body = document.modelspace().add_mesh()
    body.rgb = mean_rgb(mesh)
    with body.edit_data() as data:
        data.vertices = (bare.vertices_m.astype(np.float64) @ CAD_FROM_OURS.T).tolist()
        data.faces = bare.faces.tolist()
    out = io.StringIO()
    document.write(out)
    return out.getvalue().encode(document.encoding, errors="dxfreplace")
