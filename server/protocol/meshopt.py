"""Vertices and triangles packed small: the bitstreams of glTF's EXT_meshopt_compression, then zstd.

`vertices` is its mode 0 (attributes, no filter) over rows padded with zeros to a multiple of 4 bytes, `triangles` its
mode 1, which may turn a triangle's corners but not its sense. Only data in a good order packs well: triangles beside
their neighbours, vertices in the order of their first use. Part of the protocol: a client may import it.
"""

from __future__ import annotations

from typing import Any, Literal

import meshoptimizer
import numpy as np
import zstandard
from numpy.typing import NDArray

Mode = Literal["vertices", "triangles"]
_LEVEL = 19


class MeshoptError(ValueError):
    """Bytes that are no such stream, or not of the size announced."""


def pack(array: NDArray[Any], mode: Mode) -> bytes:
    """Pack rows of vertices (n, k), or triangles (m, 3) of uint16 or uint32."""
    if mode == "vertices":
        rows = _padded_rows(array)
        stream = meshoptimizer.encode_vertex_buffer(rows, len(rows), rows.shape[1])
    else:
        stream = meshoptimizer.encode_index_buffer(np.ascontiguousarray(array.reshape(-1), np.uint32))
    return zstandard.ZstdCompressor(level=_LEVEL).compress(stream)


def unpack(data: bytes | memoryview, mode: Mode, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """The inverse of `pack`, for data nobody vouches for.

    Raises:
        MeshoptError: the data is no such stream, or not of that shape.
    """
    if len(shape) != 2 or shape[0] < 1 or (mode == "triangles" and (shape[1] != 3 or dtype.kind != "u")):
        raise MeshoptError(f"no {mode} have shape {list(shape)} and dtype {dtype}")
    stream = _decompressed(data, 4 * shape[0] * shape[1] * dtype.itemsize + 1024)
    try:
        if mode == "vertices":
            row_bytes = shape[1] * dtype.itemsize
            row = np.dtype((np.void, _padded(row_bytes)))
            rows = meshoptimizer.decode_vertex_buffer(shape[0], row.itemsize, stream, row)
            own: NDArray[np.uint8] = rows.view(np.uint8).reshape(shape[0], -1)[:, :row_bytes]
            return np.ascontiguousarray(own).view(dtype)
        indices = meshoptimizer.decode_index_buffer(3 * shape[0], 4, stream)
    except (RuntimeError, ValueError) as error:
        raise MeshoptError(str(error)) from error
    if indices.max() > np.iinfo(dtype).max:
        raise MeshoptError(f"index {indices.max()} does not fit {dtype}")
    return np.asarray(indices, dtype).reshape(shape)


def _decompressed(data: bytes | memoryview, max_bytes: int) -> bytes:
    try:
        size = zstandard.frame_content_size(data)
        if not 0 <= size <= max_bytes:
            raise MeshoptError(f"a stream of {size} bytes where at most {max_bytes} can be")
        return zstandard.ZstdDecompressor().decompress(data)
    except zstandard.ZstdError as error:
        raise MeshoptError(str(error)) from error


def _padded_rows(array: NDArray[Any]) -> NDArray[np.uint8]:
    raw = np.ascontiguousarray(array).view(np.uint8).reshape(len(array), -1)
    rows = np.zeros((len(raw), _padded(raw.shape[1])), np.uint8)
    rows[:, : raw.shape[1]] = raw
    return rows


def _padded(row_bytes: int) -> int:
    return -(-row_bytes // 4) * 4
