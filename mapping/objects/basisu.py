"""A GLB whose picture stays packed on the GPU (KHR_texture_basisu): the plain file with a KTX2 in the PNG's place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from mapping.objects import chunks, glb, ktx2
from mapping.objects.mesh import Mesh, MeshError

EXTENSION = "KHR_texture_basisu"


def encode(mesh: Mesh, name: str, extras: Mapping[str, Any]) -> bytes:
    """The mesh as such a GLB; readers without the extension cannot open it.

    Raises:
        MeshError: it has no triangles, or no picture.
    """
    if mesh.texture is None:
        raise MeshError("there is no picture to pack")
    stand_in = replace(mesh, texture=np.zeros((1, 1, 3), np.uint8))
    tree, body = chunks.split(glb.encode(stand_in, name, dict(extras)))
    picture = ktx2.encode(mesh.texture)
    (image,) = tree["images"]
    out = bytearray()
    for number, view in enumerate(tree["bufferViews"]):
        begin = view.get("byteOffset", 0)
        data = picture if number == image["bufferView"] else body[begin : begin + view["byteLength"]]
        view |= {"byteOffset": len(out), "byteLength": len(data)}
        out += data + b"\0" * (-len(data) % 4)
    image["mimeType"] = "image/ktx2"
    tree["buffers"] = [{"byteLength": len(out)}]
    for texture in tree["textures"]:
        texture["extensions"] = {EXTENSION: {"source": texture.pop("source")}}
    chunks.require(tree, EXTENSION)
    return chunks.join(tree, bytes(out))
