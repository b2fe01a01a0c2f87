"""GLBs that are wrong in one way each, as careless exporters and hostile people make them."""

from __future__ import annotations

from typing import Any

import numpy as np

from mapping.objects import chunks

_CORNERS = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32)


def triangle(corners: Any = _CORNERS, indices: Any = (0, 1, 2), **tree: Any) -> bytes:
    """One triangle; `tree` replaces parts of the file's description."""
    points, numbers = np.asarray(corners, "<f4"), np.asarray(indices, "<u4")
    body = points.tobytes() + numbers.tobytes()
    whole: chunks.Tree = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "buffers": [{"byteLength": len(body)}],
        "bufferViews": [
            {"buffer": 0, "byteOffset": 0, "byteLength": points.nbytes},
            {"buffer": 0, "byteOffset": points.nbytes, "byteLength": numbers.nbytes},
        ],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": len(points), "type": "VEC3"},
            {"bufferView": 1, "componentType": 5125, "count": len(numbers), "type": "SCALAR"},
        ],
    }
    return chunks.join(whole | tree, body)


BROKEN: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "empty"),
    "text": (b"hello", "not a GLB"),
    "zeros": (b"glTF" + bytes(100), "not a GLB"),
    "truncated": (triangle()[:-8], "cut off"),
    "no number": (triangle(_CORNERS * np.float32("nan")), "finite"),
    "no such vertex": (triangle(indices=(0, 1, 4_000_000_000)), "names what is not in it"),
    "one point": (triangle(_CORNERS[:1], (0, 0, 0)), "no surface"),
    "huge": (triangle(nodes=[{"mesh": 0, "scale": [1e30] * 3}]), "reaches|finite"),
    "crowd": (triangle(nodes=[{"mesh": 0}] * 200_000, scenes=[{"nodes": list(range(200_000))}]), "200000 nodes"),
    "circle": (triangle(nodes=[{"mesh": 0, "children": [1]}, {"children": [0]}]), "hangs at"),
    "twice": (triangle(nodes=[{"children": [1, 1]}, {"mesh": 0}]), "hangs at"),
    "no such node": (triangle(scenes=[{"nodes": [7]}]), "not among its 1"),
    "below 0": (triangle(meshes=[{"primitives": [{"attributes": {"POSITION": 0}, "indices": -1}]}]), "below 0"),
    "elsewhere": (triangle(buffers=[{"byteLength": 48, "uri": "file:///etc/passwd"}]), "is elsewhere"),
    "nothing in it": (chunks.join({"asset": {"version": "2.0"}}, b""), "no triangles|broken GLB"),
    "long": (chunks.join({"asset": {"version": "2.0", "extras": "x" * (17 << 20)}}, b""), "16 are read"),
}
"""Name -> the file, and a pattern of the reason that people are to read."""
