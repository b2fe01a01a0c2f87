"""Pictures of 16-bit numbers packed small: what depth maps need. Part of the protocol: a client may import it.

Each row becomes its differences from pixel to pixel, modulo 2^16 (the first from 0); a difference d becomes
`(d << 1) ^ (d >> 15)`, so that small ones of either sign are small numbers; then all low bytes, then all high bytes,
then zstd.
"""

from __future__ import annotations

import numpy as np
import zstandard
from numpy.typing import NDArray

U16 = NDArray[np.uint16]
_LEVEL = 3


class PlanesError(ValueError):
    """Bytes that are no such picture, or not of the size announced."""


def pack(picture: U16) -> bytes:
    """Pack rows (h, w)."""
    before = np.zeros_like(picture)
    before[:, 1:] = picture[:, :-1]
    step = (picture - before).view(np.int16)
    zigzag: U16 = ((step << 1) ^ (step >> 15)).view(np.uint16)
    planes = np.stack([zigzag & 0xFF, zigzag >> 8]).astype(np.uint8)
    return zstandard.ZstdCompressor(level=_LEVEL).compress(planes.tobytes())


def unpack(data: bytes | memoryview, shape: tuple[int, ...]) -> U16:
    """The inverse of `pack`, for data nobody vouches for.

    Raises:
        PlanesError: the data is not such a picture of that shape.
    """
    if len(shape) != 2:
        raise PlanesError(f"no picture has shape {list(shape)}")
    num_bytes = 2 * shape[0] * shape[1]
    try:
        if zstandard.frame_content_size(data) != num_bytes:
            raise PlanesError(f"not {num_bytes} bytes, as shape {list(shape)} needs")
        raw = zstandard.ZstdDecompressor().decompress(data)
    except zstandard.ZstdError as error:
        raise PlanesError(str(error)) from error
    low, high = np.frombuffer(raw, np.uint8).reshape(2, *shape).astype(np.uint16)
    zigzag = low | (high << np.uint16(8))
    step = (zigzag >> np.uint16(1)) ^ (np.uint16(0) - (zigzag & np.uint16(1)))
    return np.cumsum(step, axis=1, dtype=np.uint16)
