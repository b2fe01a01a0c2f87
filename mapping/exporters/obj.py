"""Wavefront OBJ: the mesh with colours behind its vertices (`v x y z r g b`, as most programs read them), the walkable
polygons as an object of their own, and the points where there is no mesh yet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from mapping import disk
from mapping.exporters import Exporter, ExportError, ExportScene


class Config(BaseModel):
    """Nothing to choose."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True, slots=True)
class Obj:
    """The OBJ exporter."""

    suffix: str = ".obj"
    media_type: str = "model/obj"

    def export(self, scene: ExportScene, path: Path) -> None:
        """Write mesh (or points) and walkable polygons; see `Exporter`."""
        if not (len(scene.indices) or len(scene.points_m) or scene.nav_polygons_m):
            raise ExportError("the map is empty: let a camera look around, then export again")
        disk.write_file(path, "\n".join([*_lines(scene), ""]).encode())


def _lines(scene: ExportScene) -> Iterator[str]:
    yield "# Commonground: metres, +Y up"
    count = 0
    if len(scene.indices):
        yield "o map"
        yield from _vertices(scene.vertices_m, scene.rgb)
        yield from map("f {} {} {}".format, *(scene.indices.astype(np.int64) + 1).T.tolist())
        count += len(scene.vertices_m)
    elif len(scene.points_m):
        yield "o points"
        yield from _vertices(scene.points_m, scene.points_rgb)
        yield from (f"p {i + 1}" for i in range(len(scene.points_m)))
        count += len(scene.points_m)
    if scene.nav_polygons_m:
        yield "o navmesh"
        for polygon in scene.nav_polygons_m:
            yield from _vertices(polygon, None)
            yield "f " + " ".join(str(count + i + 1) for i in range(len(polygon)))
            count += len(polygon)


def _vertices(points_m: NDArray[np.float32], rgb: NDArray[np.uint8] | None) -> Iterator[str]:
    columns = points_m.T.tolist()
    if rgb is None:
        yield from map("v {:.4f} {:.4f} {:.4f}".format, *columns)
    else:
        yield from map("v {:.4f} {:.4f} {:.4f} {:.4f} {:.4f} {:.4f}".format, *columns, *(rgb.T / 255).tolist())


def create(config: Config) -> Exporter:
    return Obj()
