"""GLB with KHR_gaussian_splatting: values are activated, quaternions xyzw.

The Gaussians are points, too: a reader without the extension shows those, in their colours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mapping.exporters.glb import linear_rgba
from mapping.objects import chunks
from mapping.objects.mesh import F32, MeshError
from mapping.objects.splats.cloud import COEFFICIENTS, MAX_SPLATS, Splats, unit

EXTENSION = "KHR_gaussian_splatting"
_POINTS, _FLOAT, _USHORT = 0, 5126, 5123
_WIDTH = {1: "SCALAR", 3: "VEC3", 4: "VEC4"}


def encode(splats: Splats, name: str, extras: Mapping[str, Any]) -> bytes:
    """The file; `extras` is plain JSON kept in `asset.extras`."""
    rgba = linear_rgba(splats.rgb)
    rgba[:, 3] = np.round(65535 * splats.opacities.clip(0, 1))
    columns: dict[str, np.ndarray[Any, Any]] = {
        "POSITION": splats.centres_m,
        "COLOR_0": rgba,
        _named("ROTATION"): np.roll(splats.quats_wxyz, -1, axis=1),
        _named("SCALE"): splats.sizes_m,
        _named("OPACITY"): splats.opacities.clip(0, 1),
    }
    columns |= {_named(name): splats.sh[:, i] for i, name in enumerate(_harmonics(splats.sh.shape[1]))}
    views, accessors, body = list[chunks.Tree](), list[chunks.Tree](), bytearray()
    for array in columns.values():
        data = np.ascontiguousarray(array, "<u2" if array.dtype.kind == "u" else "<f4")
        kind: dict[str, Any] = (
            {"componentType": _USHORT, "normalized": True} if data.dtype.kind == "u" else {"componentType": _FLOAT}
        )
        width = 1 if data.ndim == 1 else data.shape[1]
        accessors.append({"bufferView": len(views), "count": len(data), "type": _WIDTH[width], **kind})
        views.append({"buffer": 0, "byteOffset": len(body), "byteLength": data.nbytes, "target": 34962})
        body += data.tobytes() + b"\0" * (-data.nbytes % 4)
    accessors[0] |= {"min": splats.centres_m.min(0).tolist(), "max": splats.centres_m.max(0).tolist()}
    look = {"kernel": "ellipse", "colorSpace": "srgb_rec709_display", "projection": "perspective"}
    primitive = {
        "mode": _POINTS,
        "attributes": dict(zip(columns, range(len(columns)), strict=True)),
        "extensions": {EXTENSION: look | {"sortingMethod": "cameraDistance"}},
    }
    asset = {"version": "2.0", "generator": "Commonground"} | ({"extras": dict(extras)} if extras else {})
    tree: chunks.Tree = {
        "asset": asset, "extensionsUsed": [EXTENSION], "scene": 0, "scenes": [{"nodes": [0]}],
        "nodes": [{"name": name, "mesh": 0}], "meshes": [{"name": name, "primitives": [primitive]}],
        "accessors": accessors, "bufferViews": views, "buffers": [{"byteLength": len(body)}],
    }  # fmt: skip
    return chunks.join(tree, bytes(body))


def decode(data: bytes) -> Splats:
    """Read the first field of Gaussians in a file that nobody vouches for; floats only, in the mesh's own frame.

    Raises:
        MeshError: there is none, or it is broken.
    """
    tree, body = chunks.split(data)
    try:
        found = [
            primitive["attributes"]
            for part in tree.get("meshes", [])
            for primitive in part["primitives"]
            if EXTENSION in primitive.get("extensions", {})
        ]
        if not found:
            raise MeshError("a GLB without Gaussians")
        attributes = found[0]
        count = sum(_named(f"SH_DEGREE_{degree}_COEF_{i}") in attributes for degree in range(4) for i in range(7))
        if count not in COEFFICIENTS:
            raise MeshError(f"{count} coefficients are of no degree")
        sh = [_floats(tree, body, attributes[_named(name)], 3) for name in _harmonics(count)]
        return Splats(
            _floats(tree, body, attributes["POSITION"], 3),
            _floats(tree, body, attributes[_named("SCALE")], 3),
            unit(np.roll(_floats(tree, body, attributes[_named("ROTATION")], 4), 1, axis=1)),
            _floats(tree, body, attributes[_named("OPACITY")], 1)[:, 0],
            np.stack(sh, axis=1),
        )
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, MeshError):
            raise
        raise MeshError(f"a broken GLB: {type(error).__name__}: {error}") from error


def _floats(tree: chunks.Tree, body: bytes, number: int, width: int) -> F32:
    accessor = tree["accessors"][number]
    count = int(accessor["count"])
    if accessor["componentType"] != _FLOAT or accessor["type"] != _WIDTH[width] or not 0 < count <= MAX_SPLATS:
        raise MeshError("Gaussians are read from 32-bit floats only")
    view = tree["bufferViews"][accessor["bufferView"]]
    if "byteStride" in view and view["byteStride"] != 4 * width:
        raise MeshError("Gaussians that are interleaved are not read")
    begin = int(view.get("byteOffset", 0)) + int(accessor.get("byteOffset", 0))
    return np.frombuffer(body, "<f4", count * width, begin).reshape(count, width).astype(np.float32)


def _named(name: str) -> str:
    return f"{EXTENSION}:{name}"


def _harmonics(count: int) -> list[str]:
    return [f"SH_DEGREE_{degree}_COEF_{i}" for degree in range(4) for i in range(2 * degree + 1)][:count]
