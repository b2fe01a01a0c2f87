"""OBJ, STL and PLY in, through trimesh: the shape in metres, +Y up, with colours of vertices where the file has them.

These formats name no unit and no upright; metres and +Y up are what our own files of them have. Pictures of an OBJ lie
in other files, and are left out.
"""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import trimesh

from mapping.objects.creases import creased
from mapping.objects.glb_checks import MAX_BYTES, MAX_ELEMENTS
from mapping.objects.mesh import Mesh, MeshError, from_arrays, sound

FORMATS = frozenset({"obj", "stl", "ply"})


def decode(suffix: str, data: bytes) -> Mesh:
    """Read a file that nobody vouches for; without colours, edges are sharp where the shape is.

    Args:
        suffix: one of `FORMATS`.

    Raises:
        MeshError: it is broken or too large, or holds no surface.
    """
    if len(data) > MAX_BYTES:
        raise MeshError(f"more than {MAX_BYTES >> 20} MB")
    try:
        whole = trimesh.load_scene(io.BytesIO(data), file_type=suffix, process=False).to_mesh()
        if len(whole.vertices) + len(whole.faces) > MAX_ELEMENTS:
            raise MeshError(f"{len(whole.faces)} triangles of {len(whole.vertices)} vertices are too many")
        mesh = sound(from_arrays(whole.vertices, whole.faces))
        if whole.visual.kind != "vertex":
            return creased(mesh)
        return replace(mesh, rgb=np.ascontiguousarray(whole.visual.vertex_colors[:, :3], np.uint8))
    except MeshError:
        raise
    except Exception as error:  # the reader of a broken file fails with whatever it trips over
        raise MeshError(f"a broken {suffix.upper()}: {type(error).__name__}: {error}") from error
