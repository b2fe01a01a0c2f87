"""Any file of a thing that nobody vouches for, told apart by what it holds: triangles or Gaussians."""

from __future__ import annotations

import numpy as np

from mapping.objects import foreign, glb
from mapping.objects.glb_checks import checked
from mapping.objects.mesh import FARTHEST_M, Mesh, MeshError
from mapping.objects.splats import antimatter, gltf, ply, sog, spz
from mapping.objects.splats.cloud import Splats

FORMATS = frozenset({"glb", "spz", "sog", "splat"}) | foreign.FORMATS
"""By suffix."""
_PACKED = frozenset({"KHR_draco_mesh_compression", "EXT_meshopt_compression", "KHR_meshopt_compression"})
"""Extensions whose bytes are not unpacked here."""
_GAUSSIANS = {"spz": spz.decode, "sog": sog.decode, "splat": antimatter.decode}


def read(format: str, data: bytes) -> Mesh | Splats | None:
    """What a file holds; None = a GLB that is sound as far as can be told without unpacking it.

    Args:
        format: one of `FORMATS`.

    Raises:
        MeshError: it is not what its name says, is broken or too large, or there is nothing to be seen in it.
    """
    if not data:
        raise MeshError("the file is empty")
    if format in _GAUSSIANS:
        return _within(_GAUSSIANS[format](data))
    if format == "ply" and ply.is_splat(data[: ply.HEAD_BYTES]):
        return _within(ply.decode(data))
    if format != "glb":
        return foreign.decode(format, data)
    tree = checked(data)
    if gltf.EXTENSION in tree.get("extensionsUsed", ()):
        return _within(gltf.decode(data))
    if _PACKED.intersection(tree.get("extensionsRequired", ())):
        return None
    return glb.decode(data)


def is_animated(data: bytes) -> bool:
    """Whether a GLB moves: what is made of its shape alone cannot stand in for it."""
    tree = checked(data)
    return bool(tree.get("animations") or tree.get("skins"))


def _within(splats: Splats) -> Splats:
    farthest_m = float(np.abs(splats.bounds_m()).max())
    if farthest_m > FARTHEST_M:
        raise MeshError(f"it reaches {farthest_m:.3g} m from its origin; at most {FARTHEST_M:.0e} m are read")
    return splats
