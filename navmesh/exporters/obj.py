"""Wavefront OBJ: the polygons themselves, not triangles; one object for each kind of ground."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict

from navmesh.exporters import Exporter, NavMesh, joined


class Config(BaseModel):
    """Nothing to choose."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True, slots=True)
class Obj:
    """The OBJ exporter."""

    suffix: str = ".obj"
    media_type: str = "model/obj"

    def encode(self, mesh: NavMesh) -> bytes:
        """Vertices once, then faces by area; see `Exporter`."""
        return "\n".join([*_lines(mesh), ""]).encode()


def _lines(mesh: NavMesh) -> Iterator[str]:
    polygons = joined(mesh)
    yield "# Commonground NavMesh: metres, +Y up"
    yield from map("v {:.4f} {:.4f} {:.4f}".format, *polygons.vertices_m.T.tolist())
    for area in np.unique(polygons.areas).tolist():
        yield f"o navmesh_area_{area}"
        for index in np.flatnonzero(polygons.areas == area):
            yield "f " + " ".join(map(str, (polygons.polys[index] + 1).tolist()))


def create(config: Config) -> Exporter:
    return Obj()
