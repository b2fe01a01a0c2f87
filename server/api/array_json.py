"""JSON of large arrays, made piece by piece: who encodes in a thread leaves the event loop its turns between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

_PIECE = 4096
"""Numbers that are written at once; the interpreter's lock is held that long."""


def to_json(value: Mapping[str, Any]) -> bytes:
    """Encode a mapping whose values are mappings, arrays, or plain JSON. What is not finite becomes null."""
    return b"".join(_pieces(value))


def _pieces(value: Any) -> Iterator[bytes]:
    if isinstance(value, Mapping):
        for n, (key, member) in enumerate(value.items()):
            yield (b"," if n else b"{") + msgspec.json.encode(key) + b":"
            yield from _pieces(member)
        yield b"}" if value else b"{}"
    elif isinstance(value, np.ndarray) and value.ndim and value.size > _PIECE:
        rows = max(1, _PIECE * len(value) // value.size)
        for start in range(0, len(value), rows):
            yield b"," if start else b"["
            yield from _inner(value[start : start + rows])
        yield b"]"
    else:
        yield msgspec.json.encode(value.tolist() if isinstance(value, np.ndarray) else value)


def _inner(rows: NDArray[Any]) -> Iterator[bytes]:
    """Members of an array, without its brackets."""
    if len(rows) == 1 and rows.size > _PIECE:
        yield from _pieces(rows[0])
    else:
        yield msgspec.json.encode(rows.tolist())[1:-1]
