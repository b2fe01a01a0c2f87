"""Binary glTF 2.0: mesh, points, walkable polygons and the keyframes' cameras, each a named node.

glTF is right-handed, +Y up and in metres, as our world is. Its cameras look along -Z with +Y up, ours (OpenCV) along +Z
with +Y down: the one flip is here. `COLOR_0` is linear light, pictures are sRGB; 16 bits keep the dark shades apart.
The material is unlit, because the light of the real room is in the colours already.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from mapping import disk
from mapping.exporters import ExportCamera, Exporter, ExportError, ExportScene, triangles_of

_UINT16, _UINT32, _FLOAT = 5123, 5125, 5126
_POINTS, _TRIANGLES = 0, 4
_ARRAY_BUFFER, _ELEMENT_ARRAY_BUFFER = 34962, 34963
_GLTF_FROM_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])
_SURFACE, _WALKABLE = 0, 1  # materials
_NEAR_M = 0.05


class Config(BaseModel):
    """What besides the surface goes into the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    points: bool = True
    cameras: bool = True
    navmesh: bool = True


@dataclass(frozen=True, slots=True)
class Glb:
    """The GLB exporter."""

    config: Config
    suffix: str = ".glb"
    media_type: str = "model/gltf-binary"

    def export(self, scene: ExportScene, path: Path) -> None:
        """Write all that the scene has and the config wants; see `Exporter`."""
        gltf = _Builder()
        if len(scene.indices):
            gltf.add_mesh("map", scene.vertices_m, scene.rgb, scene.indices, _SURFACE)
        if self.config.points and len(scene.points_m):
            gltf.add_mesh("points", scene.points_m, scene.points_rgb, None, _SURFACE)
        if self.config.navmesh and scene.nav_polygons_m:
            vertices_m, triangles = triangles_of(scene.nav_polygons_m)
            gltf.add_mesh("navmesh", vertices_m, None, triangles, _WALKABLE)
        if not gltf.nodes:
            raise ExportError("the map is empty: let a camera look around, then export again")
        if self.config.cameras:
            for camera in scene.cameras:
                gltf.add_camera(camera)
        disk.write_file(path, gltf.encode())


@dataclass(slots=True)
class _Builder:
    nodes: list[dict[str, Any]] = field(default_factory=list)
    _meshes: list[dict[str, Any]] = field(default_factory=list)
    _cameras: list[dict[str, Any]] = field(default_factory=list)
    _accessors: list[dict[str, Any]] = field(default_factory=list)
    _views: list[dict[str, Any]] = field(default_factory=list)
    _buffer: bytearray = field(default_factory=bytearray)

    def add_mesh(
        self,
        name: str,
        points_m: NDArray[np.float32],
        rgb: NDArray[np.uint8] | None,
        indices: NDArray[np.uint32] | None,
        material: int,
    ) -> None:
        """A node with triangles, or with points where there are no indices."""
        positions = np.ascontiguousarray(points_m, "<f4")
        bounds = {"min": positions.min(0).tolist(), "max": positions.max(0).tolist()}
        attributes = {"POSITION": self._add(positions, _FLOAT, "VEC3", _ARRAY_BUFFER, bounds)}
        if rgb is not None:
            attributes["COLOR_0"] = self._add(linear_rgba(rgb), _UINT16, "VEC4", _ARRAY_BUFFER, {"normalized": True})
        primitive = {"attributes": attributes, "mode": _POINTS, "material": material}
        if indices is not None:
            flat = np.ascontiguousarray(indices, "<u4").ravel()
            primitive |= {"mode": _TRIANGLES, "indices": self._add(flat, _UINT32, "SCALAR", _ELEMENT_ARRAY_BUFFER, {})}
        self.nodes.append({"name": name, "mesh": len(self._meshes)})
        self._meshes.append({"name": name, "primitives": [primitive]})

    def add_camera(self, camera: ExportCamera) -> None:
        k = camera.intrinsics
        lens = {
            "yfov": 2 * float(np.arctan(0.5 * k.height / k.fy)),
            "aspectRatio": k.width / k.height,
            "znear": _NEAR_M,
        }
        matrix = camera.world_from_camera @ _GLTF_FROM_OPENCV
        self.nodes.append({"name": camera.name, "camera": len(self._cameras), "matrix": matrix.T.ravel().tolist()})
        self._cameras.append({"name": camera.name, "type": "perspective", "perspective": lens})

    def encode(self) -> bytes:
        """The whole file: header, JSON chunk, binary chunk."""
        document: dict[str, Any] = {
            "asset": {"version": "2.0", "generator": "Commonground"},
            "extensionsUsed": ["KHR_materials_unlit"],
            "scene": 0,
            "scenes": [{"nodes": list(range(len(self.nodes)))}],
            "nodes": self.nodes,
            "meshes": self._meshes,
            "materials": [_material("surface", [1.0, 1.0, 1.0, 1.0]), _material("walkable", [0.1, 0.5, 1.0, 0.5])],
            "accessors": self._accessors,
            "bufferViews": self._views,
            "buffers": [{"byteLength": len(self._buffer)}],
        }
        if self._cameras:
            document["cameras"] = self._cameras
        text = json.dumps(document, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        size = 12 + 8 + len(text) + 8 + len(self._buffer)
        header = struct.pack("<4sII", b"glTF", 2, size) + struct.pack("<I4s", len(text), b"JSON")
        return b"".join((header, text, struct.pack("<I4s", len(self._buffer), b"BIN\0"), self._buffer))

    def _add(self, array: NDArray[Any], component: int, kind: str, target: int, more: dict[str, Any]) -> int:
        """Append an array to the buffer; the number of its accessor."""
        view = {"buffer": 0, "byteOffset": len(self._buffer), "byteLength": array.nbytes, "target": target}
        self._buffer += array.tobytes() + b"\0" * (-array.nbytes % 4)
        self._accessors.append(
            {"bufferView": len(self._views), "componentType": component, "count": len(array), "type": kind, **more}
        )
        self._views.append(view)
        return len(self._accessors) - 1


def linear_rgba(rgb: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """(n, 4) linear light, 65535 = 1, of (n, 3) sRGB (IEC 61966-2-1); opaque."""
    srgb = np.arange(256) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    out = np.full((len(rgb), 4), 65535, "<u2")
    out[:, :3] = np.round(linear * 65535).astype("<u2")[rgb]
    return out


def _material(name: str, factor: list[float]) -> dict[str, Any]:
    return {
        "name": name,
        "pbrMetallicRoughness": {"baseColorFactor": factor, "metallicFactor": 0.0, "roughnessFactor": 1.0},
        "extensions": {"KHR_materials_unlit": {}},
        "alphaMode": "OPAQUE" if factor[3] == 1.0 else "BLEND",
        "doubleSided": True,
    }


def create(config: Config) -> Exporter:
    return Glb(config)
