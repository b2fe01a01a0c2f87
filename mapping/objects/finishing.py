"""What is published of a mesh: at once what can be shown, then all that a game may ask for.

`shown` takes a fraction of a second for some thousand triangles: levels of detail, a hull, a thumbnail, and what was
measured. `rest` adds what takes seconds: convex parts, smaller encodings, a turntable.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import cv2
import numpy as np
from PIL import Image

from mapping.objects import basisu, glb, meshopt
from mapping.objects.collision import convex_parts, hull
from mapping.objects.decimation import decimated, levels_of_detail
from mapping.objects.mesh import U8, Mesh, joined
from mapping.objects.quality import Quality, measure
from mapping.objects.thumbnail import thumbnail, turntable

MAX_FACES = {"prop": 8000, "character": 20_000, "environment": 50_000}
"""By type of asset: what a game expects one to have at most."""
BUDGET_RANGE = (100, 300_000)
"""What can be asked for instead."""
MAX_PICTURE_PX = 2048
"""A side of a picture."""
_MIN_PICTURE_PX = 64


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """One file; `role` is what the asset bus calls it."""

    role: str
    name: str
    data: bytes
    triangles: int | None = None
    extensions: tuple[str, ...] = ()
    """Of glTF, that a reader has to know."""


def fitted(mesh: Mesh, max_faces: int) -> Mesh:
    """The mesh within a game's budget: of triangles, and of pixels in its picture."""
    thin = decimated(mesh, max_faces)
    halvings = 0
    while thin.texture is not None and max(thin.texture.shape[:2]) >> halvings > MAX_PICTURE_PX:
        halvings += 1
    return _smaller_picture(thin, halvings)


def shown(mesh: Mesh, name: str, max_faces: int, extras: Mapping[str, Any]) -> tuple[tuple[Made, ...], Quality]:
    """Plain GLBs of three levels and the hull, a thumbnail, and what was measured of the finest.

    Raises:
        MeshError: it has no triangles.
    """
    quality = measure(mesh, max_faces)
    levels = [
        Made(f"lod{i}", f"lod{i}.glb", glb.encode(_smaller_picture(level, i), name, dict(extras)), len(level.faces))
        for i, level in enumerate(levels_of_detail(mesh))
    ]
    around = hull(mesh)
    files = (
        *levels,
        Made("collision", "hull.glb", glb.encode(around, f"{name} hull"), len(around.faces)),
        Made("thumbnail", "thumbnail.png", png(thumbnail(mesh))),
    )
    return files, quality


def rest(mesh: Mesh, name: str, extras: Mapping[str, Any]) -> tuple[Made, ...]:
    """Convex parts as GLB and JSON, a turntable, the finest level packed and with a picture as WebP and as KTX2."""
    parts = convex_parts(mesh)
    together = joined(list(parts))
    files = [
        Made("collision", "convex.glb", glb.encode(together, f"{name} convex parts"), len(together.faces)),
        Made("collision", "convex.json", _parts_json(parts)),
        Made("turntable", "turntable.png", png(turntable(mesh))),
    ]
    packed = meshopt.encode(mesh, name, extras)
    files.append(Made("lod0", "lod0.meshopt.glb", packed, len(mesh.faces), (meshopt.EXTENSION,)))
    if mesh.texture is not None:
        data = glb.encode(mesh, name, dict(extras), webp=True)
        files.append(Made("lod0", "lod0.webp.glb", data, len(mesh.faces), ("EXT_texture_webp",)))
        packed = basisu.encode(mesh, name, extras)
        files.append(Made("lod0", "lod0.ktx2.glb", packed, len(mesh.faces), (basisu.EXTENSION,)))
    return tuple(files)


def facts(mesh: Mesh, quality: Quality) -> dict[str, Any]:
    """What goes with a version as plain JSON: `bbox_m`, `pivot_m`, `quality`."""
    low, high = (tuple(float(v) for v in corner) for corner in mesh.bounds_m())
    return {"bbox_m": [low, high], "pivot_m": [0.0, 0.0, 0.0], "quality": asdict(quality)}


def png(rgb: U8) -> bytes:
    """A PNG file of a picture (h, w, 3)."""
    out = io.BytesIO()
    Image.fromarray(rgb).save(out, "PNG")
    return out.getvalue()


def _smaller_picture(mesh: Mesh, halvings: int) -> Mesh:
    """Half as many pixels a side, again and again: a coarser level is seen from farther away."""
    if mesh.texture is None or not halvings:
        return mesh
    height, width = (max(_MIN_PICTURE_PX, n >> halvings) for n in mesh.texture.shape[:2])
    small = cv2.resize(mesh.texture, (width, height), interpolation=cv2.INTER_AREA)
    return replace(mesh, texture=np.asarray(small, np.uint8))


def _parts_json(parts: tuple[Mesh, ...]) -> bytes:
    bodies = [{"vertices_m": np.round(part.vertices_m, 6).tolist(), "triangles": part.faces.tolist()} for part in parts]
    return json.dumps({"convex": bodies, "up": "+y"}, separators=(",", ":")).encode()
