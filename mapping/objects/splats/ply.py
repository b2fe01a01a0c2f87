"""PLY as trainers of Gaussians write it: logarithms of sizes, logits of opacities, +Y down.

The properties are `x y z f_dc_0.. f_rest_0.. opacity scale_0.. rot_0..` (quaternions wxyz); `f_rest` has all of red,
then green, then blue. By them such a file is told from a PLY with triangles or points.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mapping.objects.mesh import F32, MeshError
from mapping.objects.splats.cloud import COEFFICIENTS, MAX_SPLATS, Splats, unit, upside_down

HEAD_BYTES = 16 << 10
"""Within so many a header ends."""
_NEEDED = ("x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity", "scale_0", "scale_1", "scale_2")
_TURNS = ("rot_0", "rot_1", "rot_2", "rot_3")
_TYPES = {
    "char": "i1", "uchar": "u1", "short": "<i2", "ushort": "<u2", "int": "<i4", "uint": "<u4", "float": "<f4",
    "double": "<f8", "int8": "i1", "uint8": "u1", "int16": "<i2", "uint16": "<u2", "int32": "<i4", "uint32": "<u4",
    "float32": "<f4", "float64": "<f8",
}  # fmt: skip
_LEAST_SIZE_M, _LARGEST_LOG = 1e-9, 20.0
_END = b"end_header\n"


def is_splat(head: bytes) -> bool:
    """Whether a file that begins so is a PLY of Gaussians."""
    try:
        names = _header(head)[1].names or ()
    except MeshError:
        return False
    return {*_NEEDED, *_TURNS} <= set(names)


def encode(splats: Splats) -> bytes:
    """All that there is, as 32-bit floats."""
    out = upside_down(splats)
    rest = out.sh[:, 1:].transpose(0, 2, 1).reshape(len(out), -1)
    names = [*_NEEDED[:6], *(f"f_rest_{i}" for i in range(rest.shape[1])), *_NEEDED[6:], *_TURNS]
    inside = out.opacities.astype(np.float64).clip(1e-6, 1 - 1e-6)
    logits = np.log(inside / (1 - inside))
    logs = np.log(np.maximum(out.sizes_m, _LEAST_SIZE_M))
    columns = np.column_stack([out.centres_m, out.sh[:, 0], rest, logits, logs, out.quats_wxyz])
    head = [
        "ply",
        "format binary_little_endian 1.0",
        "comment Commonground: metres, +Y down",
        f"element vertex {len(out)}",
    ]
    text = "\n".join([*head, *(f"property float {name}" for name in names), "end_header", ""])
    return text.encode() + columns.astype("<f4").tobytes()


def decode(data: bytes, *, is_upright: bool = False) -> Splats:
    """Read a file that nobody vouches for.

    Args:
        is_upright: its +Y is up, as some generators write it.

    Raises:
        MeshError: it holds no Gaussians, is broken or too large.
    """
    count, kind, begin = _header(data[:HEAD_BYTES])
    names = kind.names or ()
    if missing := [name for name in (*_NEEDED, *_TURNS) if name not in names]:
        raise MeshError(f"a PLY without {', '.join(missing)} holds no Gaussians")
    if not 0 < count <= MAX_SPLATS or len(data) < begin + count * kind.itemsize:
        raise MeshError(f"{count} splats are announced in {len(data)} bytes; at most {MAX_SPLATS}")
    table = np.frombuffer(data, kind, count, begin)
    num_rest = sum(name.startswith("f_rest_") for name in names)
    if num_rest % 3 or 1 + num_rest // 3 not in COEFFICIENTS:
        raise MeshError(f"{num_rest} coefficients are of no degree")
    rest = _columns(table, [f"f_rest_{i}" for i in range(num_rest)]).reshape(count, 3, -1).transpose(0, 2, 1)
    constant = _columns(table, list(_NEEDED[3:6]))[:, None]
    sizes = _columns(table, list(_NEEDED[7:])).clip(-_LARGEST_LOG, _LARGEST_LOG)
    opacity = 1 / (1 + np.exp(-_columns(table, ["opacity"])[:, 0].clip(-50, 50)))
    splats = Splats(
        _columns(table, list(_NEEDED[:3])),
        np.exp(sizes),
        unit(_columns(table, list(_TURNS))),
        opacity.astype(np.float32),
        np.concatenate([constant, rest], axis=1),
    )
    return splats if is_upright else upside_down(splats)


def _columns(table: NDArray[np.void], names: list[str]) -> F32:
    try:
        return (
            np.stack([table[name].astype(np.float32) for name in names], axis=1)
            if names
            else np.empty((len(table), 0), np.float32)
        )
    except ValueError as error:
        raise MeshError(f"a broken PLY: {error}") from error


def _header(head: bytes) -> tuple[int, np.dtype[np.void], int]:
    """How many vertices there are, what each is, and where the first one begins."""
    end = head.find(_END)
    if not head.startswith(b"ply") or end < 0:
        raise MeshError("not a PLY file")
    lines = head[:end].decode("ascii", errors="replace").split("\n")
    words = [line.split() for line in lines]
    if ["format", "binary_little_endian", "1.0"] not in words:
        raise MeshError("only little-endian binary PLY can hold Gaussians")
    elements = [i for i, line in enumerate(words) if line[:1] == ["element"]]
    if not elements or words[elements[0]][1:2] != ["vertex"]:
        raise MeshError("a PLY whose first element is no vertex")
    until = elements[1] if len(elements) > 1 else len(words)
    fields = []
    for line in words[elements[0] + 1 : until]:
        if line[:1] == ["property"]:
            if len(line) != 3 or line[1] not in _TYPES:
                raise MeshError(f"a PLY with the property {' '.join(line[1:])[:64]!r}")
            fields.append((line[2], _TYPES[line[1]]))
    try:
        return int(words[elements[0]][2]), np.dtype(fields), end + len(_END)
    except (ValueError, IndexError) as error:
        raise MeshError(f"a broken PLY: {error}") from error
