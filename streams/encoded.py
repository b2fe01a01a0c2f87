"""JPEG and PNG bytes from strangers: the size is read from the header and judged before anything is decoded."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from streams.pictures import MAX_HEIGHT, MAX_WIDTH, too_large

MAX_IMAGE_BYTES = 16 * 1024 * 1024
MAX_JPEG_SCANS = 64
_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_BARE_MARKERS = frozenset({0x01, *range(0xD0, 0xD8)})


class PictureError(ValueError):
    """Bytes that are no picture we accept."""


def picture_size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels as the header of a JPEG or PNG states them.

    Raises:
        PictureError: neither, or cut off before the size.
    """
    if data[:8] == _PNG and data[12:16] == b"IHDR" and len(data) >= 24:
        width, height = struct.unpack_from(">II", data, 16)
        return int(width), int(height)
    if data[:2] == b"\xff\xd8":
        return _jpeg_size(data)
    raise PictureError("it is neither JPEG nor PNG" if data else "it is empty")


def decode_rgb(data: bytes) -> NDArray[np.uint8]:
    """Decode a JPEG or PNG to (h, w, 3) RGB. EXIF rotation is not applied: K belongs to the pixels as stored.

    Raises:
        PictureError: too many bytes or pixels, or not decodable.
    """
    image = _decode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def decode_depth(data: bytes, scale_m: float, invalid: Sequence[int] = (0,)) -> NDArray[np.float32]:
    """Decode a 16-bit PNG to (h, w) metres, 0 where the count is one of `invalid`.

    Raises:
        PictureError: not a 16-bit single-channel PNG, too large, or not decodable.
    """
    if data[:8] != _PNG:
        raise PictureError("depth must be a PNG")
    counts = _decode(data, cv2.IMREAD_UNCHANGED)
    if counts.dtype != np.uint16 or counts.ndim != 2:
        raise PictureError("depth must be a PNG with one channel of 16 bits")
    z_m = counts.astype(np.float32) * np.float32(scale_m)
    z_m[np.isin(counts, [i for i in (0, *invalid) if 0 <= i <= 0xFFFF])] = 0
    return z_m


def _decode(data: bytes, flags: int) -> NDArray[np.uint8]:
    if len(data) > MAX_IMAGE_BYTES:
        raise PictureError(f"{len(data)} bytes; at most {MAX_IMAGE_BYTES}")
    width, height = picture_size(data)
    if not (width and height) or too_large(width, height):
        raise PictureError(f"{width}x{height} pixels; at most {MAX_WIDTH}x{MAX_HEIGHT}")
    _check_png(data) if data[:8] == _PNG else _check_jpeg(data)
    try:
        image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flags)
    except cv2.error as error:
        raise PictureError("it cannot be decoded") from error
    if image is None or image.shape[:2] != (height, width):
        raise PictureError("it cannot be decoded (is it cut off?)")
    return np.asarray(image)


def _check_png(data: bytes) -> None:
    """Walk the chunks: OpenCV allocates what a chunk's length claims, gigabytes for a PNG of a hundred bytes."""
    position = len(_PNG)
    while position + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        position += 12 + length
        if kind == b"IEND" and position <= len(data):
            return
    raise PictureError("the PNG has no end (is it cut off?)")


def _check_jpeg(data: bytes) -> None:
    """Look for the end, for a decoder fills what is missing with grey, and count scans, as each costs a full pass."""
    if b"\xff\xd9" not in data[-65536:]:
        raise PictureError("the JPEG has no end (is it cut off?)")
    if data.count(b"\xff\xda") > MAX_JPEG_SCANS:
        raise PictureError(f"a JPEG of more than {MAX_JPEG_SCANS} scans")


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Walk the segments to the frame header (ITU T.81, annex B)."""
    position = 2
    while position + 9 <= len(data):
        if data[position] != 0xFF:
            break
        marker = data[position + 1]
        if marker == 0xFF or marker in _JPEG_BARE_MARKERS:
            position += 1 if marker == 0xFF else 2
            continue
        if marker in _JPEG_FRAME_HEADERS:
            height, width = struct.unpack_from(">HH", data, position + 5)
            return int(width), int(height)
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    raise PictureError("the JPEG is cut off or malformed before its size")
