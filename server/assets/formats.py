"""Formats of files and the roles that they can have. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from server.api.contract import Unprocessable
from server.assets.values import AssetFile, Role

PLAIN = "application/octet-stream"
MIME = {
    "glb": "model/gltf-binary", "gltf": "model/gltf+json", "ply": PLAIN, "spz": PLAIN, "sog": PLAIN, "splat": PLAIN,
    "obj": "model/obj", "stl": "model/stl", "usdz": "model/vnd.usdz+zip", "dxf": "image/vnd.dxf", "step": "model/step",
    "json": "application/json", "png": "image/png", "jpg": "image/jpeg", "webp": "image/webp", "ktx2": "image/ktx2",
    "safetensors": PLAIN,
}  # fmt: skip
"""All formats that are known."""
PICTURES = frozenset({"png", "jpg", "webp", "ktx2"})
MESHES = frozenset({"glb", "gltf", "obj", "stl", "ply", "usdz", "dxf", "step"})
SPLATS = frozenset({"ply", "spz", "sog", "splat", "glb"})
KNOWN = frozenset(MIME)
_SHOWN = MESHES | SPLATS  # what is told apart only by its bytes
FITTING: Mapping[Role, frozenset[str]] = {
    "lod0": _SHOWN, "lod1": _SHOWN, "lod2": _SHOWN, "splat": SPLATS, "collision": MESHES | {"json"},
    "preview": PICTURES | _SHOWN, "thumbnail": PICTURES, "turntable": PICTURES, "texture": PICTURES,
    "source": KNOWN, "other": KNOWN,
}  # fmt: skip


def check(file: AssetFile) -> None:
    """
    Raises:
        Unprocessable: no file of that role can have that format.
    """
    fitting = FITTING[file.role]
    if file.format not in fitting:
        detail = f"a file {file.role!r} cannot be {file.format!r}, but {', '.join(sorted(fitting))}"
        raise Unprocessable(detail, role=file.role, format=file.format)
