"""What a file is, where its name does not tell: triangles or Gaussians, and what a reader of it has to know."""

from __future__ import annotations

import json
import struct
from pathlib import Path

from mapping.objects.splats.gltf import EXTENSION as GAUSSIANS
from mapping.objects.splats.ply import HEAD_BYTES, is_splat
from server.assets.blobs import Blobs
from server.assets.values import AssetFile, NewVersion

_MESHES = ("lod0", "lod1", "lod2", "source", "other")
_MOST_JSON_BYTES = 1 << 20


def told_apart(version: NewVersion, blobs: Blobs) -> NewVersion:
    """The same version; Gaussians that were given as a mesh have the role `splat`, GLBs the extensions they require."""
    files = tuple(_told_apart(file, blobs) for file in version.files)
    return version if files == version.files else version.model_copy(update={"files": files})


def _told_apart(file: AssetFile, blobs: Blobs) -> AssetFile:
    if file.encoding != "identity" or file.role not in _MESHES:
        return file
    try:
        if file.format == "ply" and is_splat(_head(blobs.path(file.sha256), HEAD_BYTES)):
            return file.model_copy(update={"role": "splat"})
        if file.format == "glb" and not file.extensions:
            return AssetFile.model_validate(file.model_dump() | _of_glb(blobs.path(file.sha256)))
    except (OSError, ValueError, TypeError, AttributeError, RecursionError, struct.error):
        pass  # a missing blob is refused elsewhere, and a broken file is what its publisher says
    return file


def _of_glb(path: Path) -> dict[str, object]:
    """What its description says."""
    size, kind = struct.unpack("<I4s", _head(path, 20)[12:])
    if kind != b"JSON" or size > _MOST_JSON_BYTES:
        return {}
    tree = json.loads(_head(path, 20 + size)[20:])
    needed = {str(name) for name in tree.get("extensionsRequired", [])}
    if GAUSSIANS in tree.get("extensionsUsed", []):
        return {"role": "splat", "extensions": tuple(sorted({*needed, GAUSSIANS}))}
    return {"extensions": tuple(sorted(needed)[:16])}


def _head(path: Path, count: int) -> bytes:
    with path.open("rb") as file:
        return file.read(count)
