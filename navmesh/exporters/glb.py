"""Binary glTF 2.0: the polygons as triangles, one node for each kind of ground; `extras` say whose NavMesh it is."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from navmesh.exporters import Exporter, NavMesh, joined

_UINT32, _FLOAT = 5125, 5126
_TRIANGLES = 4
_ARRAY_BUFFER, _ELEMENT_ARRAY_BUFFER = 34962, 34963


class Config(BaseModel):
    """Nothing to choose."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True, slots=True)
class Glb:
    """The GLB exporter."""

    suffix: str = ".glb"
    media_type: str = "model/gltf-binary"

    def encode(self, mesh: NavMesh) -> bytes:
        """One list of vertices, which a primitive of each area uses; see `Exporter`."""
        polygons = joined(mesh)
        positions = polygons.vertices_m.astype("<f4")
        arrays: list[NDArray[Any]] = [positions]
        bounds = {"min": positions.min(0).tolist(), "max": positions.max(0).tolist()}
        accessors = [{"componentType": _FLOAT, "count": len(positions), "type": "VEC3", **bounds}]
        areas = np.unique(polygons.areas).tolist()
        for area in areas:
            own = (polygons.polys[i] for i in np.flatnonzero(polygons.areas == area))
            triangles = np.array([(p[0], p[i], p[i + 1]) for p in own for i in range(1, len(p) - 1)], "<u4").ravel()
            arrays.append(triangles)
            accessors.append({"componentType": _UINT32, "count": len(triangles), "type": "SCALAR"})
        primitives = [
            [{"attributes": {"POSITION": 0}, "indices": 1 + i, "mode": _TRIANGLES, "material": 0}]
            for i in range(len(areas))
        ]
        names = [f"navmesh_area_{area}" for area in areas]
        document = {
            "asset": {"version": "2.0", "generator": "Commonground"},
            "extensionsUsed": ["KHR_materials_unlit"],
            "scene": 0,
            "scenes": [{"nodes": list(range(len(areas))), "extras": {"agent": mesh.agent}}],
            "nodes": [
                {"name": name, "mesh": i, "extras": {"area": area}}
                for i, (name, area) in enumerate(zip(names, areas, strict=True))
            ],
            "meshes": [{"name": n, "primitives": p} for n, p in zip(names, primitives, strict=True)],
            "materials": [_MATERIAL],
            "accessors": [{"bufferView": i, **accessor} for i, accessor in enumerate(accessors)],
        }
        return _packed(document, arrays)


_MATERIAL = {
    "name": "walkable",
    "pbrMetallicRoughness": {"baseColorFactor": [0.1, 0.5, 1.0, 0.5], "metallicFactor": 0.0},
    "extensions": {"KHR_materials_unlit": {}},
    "alphaMode": "BLEND",
    "doubleSided": True,
}


def _packed(document: dict[str, Any], arrays: list[NDArray[Any]]) -> bytes:
    """Header, JSON chunk, binary chunk; the first array holds vertices, the others indices."""
    views, offset = [], 0
    for i, array in enumerate(arrays):
        target = _ELEMENT_ARRAY_BUFFER if i else _ARRAY_BUFFER
        views.append({"buffer": 0, "byteOffset": offset, "byteLength": array.nbytes, "target": target})
        offset += array.nbytes
    text = json.dumps(document | {"bufferViews": views, "buffers": [{"byteLength": offset}]}).encode()
    text += b" " * (-len(text) % 4)
    size = 12 + 8 + len(text) + 8 + offset
    header = struct.pack("<4sIII4s", b"glTF", 2, size, len(text), b"JSON")
    return b"".join((header, text, struct.pack("<I4s", offset, b"BIN\0"), *(array.tobytes() for array in arrays)))


def create(config: Config) -> Exporter:
    return Glb()
