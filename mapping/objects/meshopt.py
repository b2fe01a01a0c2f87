"""A GLB whose triangles travel packed (EXT_meshopt_compression): about half of the bytes, unpacked in milliseconds.

Triangles and vertices are put in the order that packs best, and coordinates are rounded to a fine binary grid, whose
zeros pack well and which a reader need not know of. The picture stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import meshoptimizer
import numpy as np
from numpy.typing import NDArray

from mapping.objects import chunks, glb
from mapping.objects.mesh import F32, Mesh, vertex_normals

EXTENSION = "EXT_meshopt_compression"
_GRID_SHARE = 2.0**-14
"""Of the size, rounded down to a power of two: below a tenth of a millimetre for a metre."""
_NORMAL_STEP, _UV_STEP = 2.0**-9, 2.0**-13
_WIDTH = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
_SIZE = {5121: 1, 5123: 2, 5125: 4, 5126: 4}
_INDICES, _ATTRIBUTES = "TRIANGLES", "ATTRIBUTES"


def encode(mesh: Mesh, name: str, extras: Mapping[str, Any]) -> bytes:
    """The mesh as such a GLB; readers without the extension cannot open it.

    Raises:
        MeshError: it has no triangles.
    """
    return _packed(glb.encode(_rounded(ordered(mesh)), name, dict(extras)))


def ordered(mesh: Mesh) -> Mesh:
    """The same mesh, triangles beside their neighbours and vertices in the order of their first use."""
    count = len(mesh.vertices_m)
    indices = np.ascontiguousarray(mesh.faces.ravel(), np.uint32)
    near = np.zeros_like(indices)
    meshoptimizer.optimize_vertex_cache(near, indices, len(indices), count)
    _, first, inverse = np.unique(near, return_index=True, return_inverse=True)
    by_use = np.argsort(first, kind="stable")
    rank = np.empty_like(by_use)
    rank[by_use] = np.arange(len(by_use))
    old = near[np.sort(first)]

    def kept(array: NDArray[Any] | None) -> NDArray[Any] | None:
        return None if array is None else array[old]

    return replace(
        mesh,
        vertices_m=mesh.vertices_m[old],
        faces=rank[inverse].reshape(-1, 3).astype(np.uint32),
        normals=vertex_normals(mesh)[old],
        uv=kept(mesh.uv),
        rgb=kept(mesh.rgb),
    )


def _rounded(mesh: Mesh) -> Mesh:
    step_m = 2.0 ** np.floor(np.log2(max(float(mesh.extents_m().max()), 1e-6) * _GRID_SHARE))
    normals = _snapped(vertex_normals(mesh), _NORMAL_STEP)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    uv = None if mesh.uv is None else _snapped(mesh.uv, _UV_STEP)
    return replace(
        mesh, vertices_m=_snapped(mesh.vertices_m, step_m), normals=(normals / length).astype(np.float32), uv=uv
    )


def _snapped(values: F32, step: float) -> F32:
    return (np.round(values.astype(np.float64) / step) * step).astype(np.float32)


def _packed(plain: bytes) -> bytes:
    """A GLB of `glb.encode` with every accessor's bytes packed."""
    tree, body = chunks.split(plain)
    accessor_of = {accessor["bufferView"]: accessor for accessor in tree["accessors"]}
    indices = {primitive["indices"] for part in tree["meshes"] for primitive in part["primitives"]}
    out, unpacked = bytearray(), 0
    for number, view in enumerate(tree["bufferViews"]):
        begin = view.get("byteOffset", 0)
        data = body[begin : begin + view["byteLength"]]
        accessor = accessor_of.get(number)
        if accessor is None:  # a picture
            view |= {"buffer": 0, "byteOffset": len(out)}
        else:
            is_index = any(tree["accessors"][i] is accessor for i in indices)
            stride = _WIDTH[accessor["type"]] * _SIZE[accessor["componentType"]]
            packed = _stream(data, accessor["count"], stride, is_index)
            view["extensions"] = {
                EXTENSION: {
                    "buffer": 0, "byteOffset": len(out), "byteLength": len(packed), "byteStride": stride,
                    "count": accessor["count"], "mode": _INDICES if is_index else _ATTRIBUTES,
                }
            }  # fmt: skip
            view |= {"buffer": 1, "byteOffset": unpacked, "byteLength": accessor["count"] * stride}
            if not is_index:
                view["byteStride"] = stride
            unpacked += -(-accessor["count"] * stride // 4) * 4
            data = packed
        out += data + b"\0" * (-len(data) % 4)
    tree["buffers"] = [
        {"byteLength": len(out)},
        {"byteLength": unpacked, "extensions": {EXTENSION: {"fallback": True}}},
    ]
    chunks.require(tree, EXTENSION)
    return chunks.join(tree, bytes(out))


def _stream(data: bytes, count: int, stride: int, is_index: bool) -> bytes:
    if is_index:
        indices = np.frombuffer(data, np.uint32, count)
        packed = meshoptimizer.encode_index_buffer(np.ascontiguousarray(indices))
    else:
        rows = np.frombuffer(data, np.uint8, count * stride).reshape(count, stride)
        packed = meshoptimizer.encode_vertex_buffer(np.ascontiguousarray(rows), count, stride)
    return bytes(packed)
