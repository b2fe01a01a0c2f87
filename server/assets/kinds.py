"""What a file is, where its name does not tell: a PLY may hold triangles, or Gaussians."""

from __future__ import annotations

from mapping.objects.splats.ply import HEAD_BYTES, is_splat
from server.assets.blobs import Blobs
from server.assets.values import AssetFile, NewVersion

_MESHES = ("lod0", "lod1", "lod2", "source", "other")


def told_apart(version: NewVersion, blobs: Blobs) -> NewVersion:
    """The same version; a PLY of Gaussians that was given as a mesh has the role `splat`."""
    files = tuple(_told_apart(file, blobs) for file in version.files)
    return version if files == version.files else version.model_copy(update={"files": files})


def _told_apart(file: AssetFile, blobs: Blobs) -> AssetFile:
    if file.format != "ply" or file.encoding != "identity" or file.role not in _MESHES:
        return file
    try:
        with blobs.path(file.sha256).open("rb") as blob:
            head = blob.read(HEAD_BYTES)
    except OSError:  # a missing blob is refused elsewhere
        return file
    return file.model_copy(update={"role": "splat"}) if is_splat(head) else file
