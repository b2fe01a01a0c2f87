"""The process that reads assets' files: nobody vouches for them, so none is opened in the server itself.

Run by `reader`, which says one thing after the other as JSON and is answered each; it ends when nobody has said
anything for a while, or is there any more. What it makes lies in the folder that it is told.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
from collections.abc import Iterable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from mapping.objects import finishing, reading
from mapping.objects.finishing import MAX_FACES, Made, png
from mapping.objects.mesh import Mesh, MeshError, on_its_pivot
from mapping.objects.quality import measure
from mapping.objects.splats import drawing
from mapping.objects.splats import finishing as splats_finishing
from mapping.objects.splats.cloud import Splats
from mapping.objects.thumbnail import thumbnail

IDLE_S = 300.0
NICE = 10
MAX_MEMORY_BYTES = 8 << 30
"""Of addresses; a file that needs more is refused."""
_EXTRAS = {"generator": "Commonground"}


def main(descriptor: int) -> None:
    """Answer requests that come through a socket."""
    os.nice(NICE)
    with contextlib.suppress(ValueError, OSError):  # not every system knows this limit
        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    with Connection(descriptor) as connection:
        while connection.poll(IDLE_S):
            try:
                request = json.loads(connection.recv_bytes())
            except EOFError:
                return
            connection.send_bytes(json.dumps(answer(**request)).encode())


def answer(path: str, format: str, name: str, asset_type: str, wants: str, folder: str) -> dict[str, Any]:
    """Read one file: `refused` why, or `facts`, `triangles` and the `files` that were made.

    Args:
        wants: what is to be made, too: "" = nothing, "thumbnail", "levels" = of a GLB also coarser ones and a hull,
            "all" = of another mesh also a GLB, on its pivot, with all that belongs to it.
    """
    try:
        data = Path(path).read_bytes()
        thing = reading.read(format, data)
        if thing is None:
            return {"facts": {}, "triangles": None, "files": []}
        if isinstance(thing, Splats):
            made = [Made("thumbnail", "thumbnail.png", png(drawing.thumbnail(thing)))] if wants else []
            return {"facts": splats_finishing.facts(thing), "triangles": None, "files": _written(made, folder)}
        if wants == "levels" and reading.is_animated(data):
            wants = "thumbnail"
        facts, files = _of_mesh(thing, name, MAX_FACES[asset_type], wants)
        return {"facts": facts, "triangles": len(thing.faces), "files": _written(files, folder)}
    except (MeshError, OSError) as error:
        return {"refused": str(error)}
    except MemoryError:
        return {"refused": "reading it takes too much memory"}
    except Exception as error:  # a shape may be readable, and yet too odd for what is done with it
        return {"refused": f"it cannot be worked on ({type(error).__name__}: {error})"}


def _of_mesh(mesh: Mesh, name: str, max_faces: int, wants: str) -> tuple[dict[str, Any], Iterable[Made]]:
    if wants in ("levels", "all"):
        whole = mesh if wants == "levels" else finishing.fitted(on_its_pivot(mesh), finishing.BUDGET_RANGE[1])
        files, quality = finishing.shown(whole, name, max_faces, _EXTRAS)
        kept = (file for file in files if wants == "all" or file.role != "lod0")
        return finishing.facts(whole, quality), kept
    files = (Made("thumbnail", "thumbnail.png", png(thumbnail(mesh))),) if wants else ()
    return finishing.facts(mesh, measure(mesh, max_faces)), files


def _written(files: Iterable[Made], folder: str) -> list[dict[str, Any]]:
    told = list[dict[str, Any]]()
    for file in files:
        (Path(folder) / file.name).write_bytes(file.data)
        told.append({"role": file.role, "name": file.name, "triangles": file.triangles})
    return told
