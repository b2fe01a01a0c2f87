"""Makes a cube, slowly: blocks of work of a chosen length, for trying out the lane without any weights.

Params: `blocks` (40), `block_ms` (10.0; of CPU time), `fixed_ms` (0; a last stage that does not park), `size_m` (0.2),
`offer` (false; a smaller cube is shown at once), and for bad days `fail` in block `fail_at` (half way): `raise`,
`memory`, `die`, `hang`, `refuse`, `nan` (progress that is no number), `boast` (an offer too long to be said), `flood`
(a thousand offers), `orphan` (a process that stays behind), or `garbage`, `escape` in the result.
Options: `load`: `raise`, `die`, `hang`.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from server.generation.provider import (
    Context,
    Description,
    GenerationFailed,
    Licence,
    MadeFile,
    Request,
    Result,
    Stage,
)

_CORNERS = [(x, y, z) for x in (-0.5, 0.5) for y in (0.0, 1.0) for z in (-0.5, 0.5)]
_FACES = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
"""Counter-clockwise as seen from outside."""


class Rehearsal:
    """Fulfils `server.generation.provider.Provider`."""

    def __init__(self, at_load: str) -> None:
        self._at_load = at_load

    def describe(self) -> Description:
        return Description(
            name="rehearsal",
            revision="1",
            licence=Licence("Apache-2.0"),
            inputs=("text", "image", "keyframes"),
            stages=(Stage("blocks", 9.0), Stage("fixed", 1.0, preemptible=False, seconds=0.02)),
            seconds=0.4,
        )

    def load(self, device: str) -> None:
        """Nothing is needed."""
        if self._at_load:
            _fail(self._at_load)

    def run(self, request: Request, context: Context) -> Result:
        params = {
            "blocks": 40,
            "block_ms": 10.0,
            "fixed_ms": 0.0,
            "size_m": 0.2,
            "fail": "",
            "offer": False,
            **request.params,
        }
        blocks = int(params["blocks"])
        fail_at = int(params.get("fail_at", blocks // 2))
        state, fail = request.seed, str(params["fail"])
        size_m = float(params["size_m"])
        context.stage("blocks")
        if params["offer"]:
            context.offer(_cube(context.spool / "first.glb", size_m / 2))
        for done in range(blocks):
            context.park()
            if done == fail_at and fail:
                _misbehave(fail, context)
            state = _work(state, float(params["block_ms"]))
            context.progress((done + 1) / blocks)
        context.stage("fixed")
        _work(state, float(params["fixed_ms"]))
        made = _cube(context.spool / "cube.glb", size_m)
        if fail == "garbage":
            made.files[0].path.write_bytes(b"no asset")
        return Result((MadeFile("lod0", Path("/etc/hostname.glb")),)) if fail == "escape" else made

    def unload(self) -> None:
        """Nothing was taken."""


def create(options: Mapping[str, Any]) -> Rehearsal:
    """`load`: how it fails to be loaded."""
    return Rehearsal(str(options.get("load", "")))


def cube_glb(size_m: float) -> bytes:
    """A cube on its floor as binary glTF 2.0: 24 vertices with normals, 12 triangles."""
    positions: list[float] = []
    normals: list[float] = []
    indices: list[int] = []
    for face in _FACES:
        corners = [_CORNERS[i] for i in face]
        middle = [sum(axis) / 4 - centre for axis, centre in zip(zip(*corners, strict=True), (0, 0.5, 0), strict=True)]
        first = len(positions) // 3
        for corner in corners:
            positions += [size_m * value for value in corner]
            normals += [2 * value for value in middle]
        indices += [first + i for i in (0, 1, 2, 0, 2, 3)]
    body = struct.pack(f"<{len(positions)}f{len(normals)}f{len(indices)}H", *positions, *normals, *indices)
    half, points = size_m / 2, 4 * len(positions)
    head = {
        "asset": {"version": "2.0", "generator": "commonground rehearsal"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": "cube"}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0, "NORMAL": 1}, "indices": 2}]}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 24, "type": "VEC3", "min": [-half, 0.0, -half],
             "max": [half, size_m, half]},
            {"bufferView": 1, "componentType": 5126, "count": 24, "type": "VEC3"},
            {"bufferView": 2, "componentType": 5123, "count": 36, "type": "SCALAR"},
        ],
        "bufferViews": [
            {"buffer": 0, "byteOffset": 0, "byteLength": points, "target": 34962},
            {"buffer": 0, "byteOffset": points, "byteLength": points, "target": 34962},
            {"buffer": 0, "byteOffset": 2 * points, "byteLength": 72, "target": 34963},
        ],
        "buffers": [{"byteLength": len(body)}],
    }  # fmt: skip
    text = json.dumps(head, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    body += b"\0" * (-len(body) % 4)
    size = 12 + 8 + len(text) + 8 + len(body)
    return b"".join(
        (
            struct.pack("<4sII", b"glTF", 2, size),
            struct.pack("<I4s", len(text), b"JSON"),
            text,
            struct.pack("<I4s", len(body), b"BIN\0"),
            body,
        )
    )


def _work(state: int, milliseconds: float) -> int:
    """Compute for so long of CPU time; what comes out depends on the state alone."""
    until = time.thread_time() + milliseconds / 1000
    while time.thread_time() < until:
        sum(range(200))
    return (1664525 * state + 1013904223) & 0xFFFFFFFF


def _cube(path: Path, size_m: float) -> Result:
    path.write_bytes(cube_glb(size_m))
    half = size_m / 2
    return Result((MadeFile("lod0", path, triangles=12),), {"bbox_m": [[-half, 0.0, -half], [half, size_m, half]]})


def _misbehave(how: str, context: Context) -> None:
    if how == "nan":
        context.progress(float("nan"))
    elif how == "boast":
        context.offer(Result((), {"quality": "x" * (2 << 20)}))
    elif how == "orphan":
        (context.spool.parent.parent / "orphan").write_text(str(subprocess.Popen(["sleep", "1000"]).pid))
    elif how == "flood":
        for _ in range(1000):
            context.offer(_cube(context.spool / "flood.glb", 0.1))
    elif how not in ("garbage", "escape"):
        _fail(how)


def _fail(how: str) -> None:
    if how == "raise":
        raise RuntimeError("the rehearsal was told to fail")
    if how == "memory":
        raise MemoryError("the rehearsal was told to want too much")
    if how == "refuse":
        raise GenerationFailed("bad_input", "the rehearsal does not want this", hint="leave `fail` out")
    if how == "die":
        os._exit(11)
    while how == "hang":
        time.sleep(3600)
