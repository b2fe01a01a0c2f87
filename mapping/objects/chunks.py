"""The two chunks of a binary glTF file: its description as JSON, and its bytes."""

from __future__ import annotations

import json
import struct
from typing import Any

from mapping.objects.mesh import MeshError

MAX_JSON_BYTES = 16 << 20
_JSON, _BIN = b"JSON", b"BIN\0"
Tree = dict[str, Any]


def split(data: bytes) -> tuple[Tree, bytes]:
    """
    Raises:
        MeshError: it is no GLB, or not all of one.
    """
    if len(data) < 20 or data[:4] != b"glTF" or data[16:20] != _JSON:
        raise MeshError("not a GLB file")
    version, length, size = struct.unpack_from("<3I", data, 4)
    if version != 2 or length > len(data) or 20 + size > length:
        raise MeshError("a broken GLB: version or lengths; is it cut off?")
    if size > MAX_JSON_BYTES:
        raise MeshError(f"a description of {size >> 20} MB; at most {MAX_JSON_BYTES >> 20} are read")
    try:
        tree = json.loads(data[20 : 20 + size])
    except (ValueError, RecursionError) as error:
        raise MeshError(f"a broken GLB: {type(error).__name__}") from error
    if not isinstance(tree, dict):
        raise MeshError("a broken GLB: no description")
    body = data[28 + size : length] if data[24 + size : 28 + size] == _BIN else b""
    return tree, body


def join(tree: Tree, body: bytes) -> bytes:
    """The file; `tree["buffers"][0]` has to have the body's length."""
    text = json.dumps(tree, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    body += b"\0" * (-len(body) % 4)
    head = struct.pack("<4s2I", b"glTF", 2, 28 + len(text) + len(body)) + struct.pack("<I4s", len(text), _JSON)
    return b"".join((head, text, struct.pack("<I4s", len(body), _BIN), body))


def require(tree: Tree, extension: str) -> None:
    """Whoever reads the file has to know this extension."""
    for key in ("extensionsUsed", "extensionsRequired"):
        tree[key] = sorted({*tree.get(key, []), extension})
