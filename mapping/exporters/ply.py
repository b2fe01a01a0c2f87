"""PLY, binary little-endian: the mesh with vertex colours, or the points where there is no mesh yet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from mapping import disk
from mapping.exporters import Exporter, ExportError, ExportScene

_VERTEX = [("x", "<f4"), ("y", "<f4"), ("z", "<f4")]
_COLOUR = [("red", "u1"), ("green", "u1"), ("blue", "u1")]
_FACE = np.dtype([("count", "u1"), ("indices", "<i4", 3)])
_TYPE_NAMES = {"<f4": "float", "u1": "uchar"}


class Config(BaseModel):
    """What the file holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    content: Literal["auto", "mesh", "points"] = "auto"
    """`auto`: the mesh, or the points when there is no mesh."""


@dataclass(frozen=True, slots=True)
class Ply:
    """The PLY exporter."""

    config: Config
    suffix: str = ".ply"
    media_type: str = "application/ply"

    def export(self, scene: ExportScene, path: Path) -> None:
        """Write the mesh or the points; see `Exporter`."""
        if self.config.content != "points" and len(scene.indices):
            disk.write_file(path, encode(scene.vertices_m, scene.rgb, scene.indices))
        elif self.config.content != "mesh" and len(scene.points_m):
            disk.write_file(path, encode(scene.points_m, scene.points_rgb, None))
        else:
            what = {"auto": "surface and points", "mesh": "surface", "points": "points"}[self.config.content]
            raise ExportError(f"the map has no {what} yet: let a camera look around, then export again")


def encode(points_m: NDArray[np.float32], rgb: NDArray[np.uint8] | None, indices: NDArray[np.uint32] | None) -> bytes:
    """A whole PLY file of vertices (n, 3), maybe colours (n, 3), maybe triangles (m, 3)."""
    columns = _VERTEX + (_COLOUR if rgb is not None else [])
    vertices = np.empty(len(points_m), np.dtype(columns))
    for axis, (name, _) in enumerate(_VERTEX):
        vertices[name] = points_m[:, axis]
    if rgb is not None:
        for channel, (name, _) in enumerate(_COLOUR):
            vertices[name] = rgb[:, channel]
    header = ["ply", "format binary_little_endian 1.0", "comment Commonground: metres, +Y up"]
    header += [f"element vertex {len(vertices)}", *(f"property {_TYPE_NAMES[kind]} {name}" for name, kind in columns)]
    body = vertices.tobytes()
    if indices is not None:
        faces = np.empty(len(indices), _FACE)
        faces["count"], faces["indices"] = 3, indices
        header += [f"element face {len(faces)}", "property list uchar int vertex_indices"]
        body += faces.tobytes()
    return "\n".join([*header, "end_header", ""]).encode() + body


def create(config: Config) -> Exporter:
    return Ply(config)
