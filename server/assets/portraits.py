"""What comes without a picture of itself and is made of Gaussians gets a thumbnail, and the box around it.

Whoever generates assets here gives both; files that are uploaded or found in the folder have neither. They are read
and drawn on the CPU, where the time is bounded (`mapping.objects.splats.drawing`), one after the other.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from mapping.objects.finishing import png
from mapping.objects.mesh import MeshError
from mapping.objects.splats import antimatter, gltf, ply, sog, spz
from mapping.objects.splats.cloud import Splats
from mapping.objects.splats.drawing import thumbnail
from mapping.objects.splats.finishing import ROLE, facts
from server.assets.blobs import Blobs
from server.assets.kinds import told_apart
from server.assets.values import AssetFile, NewVersion

MAX_BYTES = 256 << 20
"""A million Gaussians with all their harmonics; what is larger is published as it comes."""
MAX_FILES = 32
_READERS: Mapping[str, Callable[[bytes], Splats]] = {
    "ply": ply.decode, "spz": spz.decode, "sog": sog.decode, "splat": antimatter.decode, "glb": gltf.decode,
}  # fmt: skip
log = logging.getLogger(__name__)


class Portrayer:
    """One for each store of blobs; any thread may use it."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._drawing = threading.Lock()  # a million Gaussians take half a gigabyte while they are read and drawn

    def portrayed(self, version: NewVersion) -> NewVersion:
        """The same version, with what it lacks of thumbnail, `bbox_m` and `quality` if it is of Gaussians.

        It may take seconds. A file that cannot be read is what its publisher says; nothing is added then.

        Raises:
            StorageFull: there is no room for the thumbnail.
        """
        file = next((file for file in told_apart(version, self._blobs).files if _is_readable(file)), None)
        has_picture = any(file.role in ("thumbnail", "preview") for file in version.files)
        if file is None or (has_picture and version.bbox_m is not None):
            return version
        with self._drawing:
            try:
                splats = _READERS[file.format](self._blobs.path(file.sha256).read_bytes())
            except (MeshError, OSError) as error:
                log.warning("Gaussians cannot be read", extra={"sha256": file.sha256, "reason": str(error)})
                return version
            added = {} if version.bbox_m is not None else _measured(splats, version)
            if not has_picture and len(version.files) < MAX_FILES:
                added["files"] = (*version.files, self._drawn(splats))
        return NewVersion.model_validate({**dict(version), **added})

    def _drawn(self, splats: Splats) -> AssetFile:
        data = png(thumbnail(splats))
        sha256 = self._blobs.put(data)
        return AssetFile(role="thumbnail", format="png", sha256=sha256, size=len(data), mime="image/png")


def _measured(splats: Splats, version: NewVersion) -> dict[str, Any]:
    """What the publisher said stays."""
    found = facts(splats)
    return {"bbox_m": found["bbox_m"], "quality": {**found["quality"], **version.quality}}


def _is_readable(file: AssetFile) -> bool:
    plain = file.encoding == "identity" and file.size <= MAX_BYTES
    return plain and file.role == ROLE and file.format in _READERS
