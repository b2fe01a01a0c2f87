"""SPZ (Niantic): Gaussians in 20 bytes each and less, as a gzip stream; +Y up. Version 3 is written, 2 read, too.

Places on a grid of 2^-12 m, sizes as logarithms in steps of 1/16, turns by their three smallest components; spherical
harmonics in 5 bits (degree 1) and 4.
"""

from __future__ import annotations

import gzip
import io
import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from mapping.objects.mesh import F32, U8, MeshError
from mapping.objects.splats.cloud import COEFFICIENTS, MAX_SPLATS, Splats, unit

_MAGIC, _VERSION = 0x5053474E, 3
_HEAD = struct.Struct("<3I4B")
_GRID_BITS = 12
_FARTHEST_M = (2**23 - 1) / 2**_GRID_BITS
_COLOUR = 0.15  # more than a colour's 0..1 fits, since spherical harmonics may bring it back
_ROOT_HALF = np.sqrt(0.5)


def encode(splats: Splats) -> bytes:
    """
    Raises:
        MeshError: it reaches farther than 2 km from its origin.
    """
    if np.abs(splats.centres_m).max() > _FARTHEST_M:
        raise MeshError(f"SPZ holds what is within {_FARTHEST_M:.0f} m of its origin")
    degree = COEFFICIENTS.index(splats.sh.shape[1])
    places = np.round(splats.centres_m.astype(np.float64) * 2**_GRID_BITS).astype("<i4")
    parts = (
        _HEAD.pack(_MAGIC, _VERSION, len(splats), degree, _GRID_BITS, 0, 0),
        np.ascontiguousarray(places.view(np.uint8).reshape(-1, 3, 4)[..., :3]).tobytes(),
        _bytes(255 * splats.opacities),
        _bytes(255 * (_COLOUR * splats.sh[:, 0] + 0.5)),
        _bytes((np.log(np.maximum(splats.sizes_m, 1e-9)) + 10) * 16),
        _smallest_three(splats.quats_wxyz).astype("<u4").tobytes(),
        _harmonics(splats.sh[:, 1:]).tobytes(),
    )
    return gzip.compress(b"".join(parts), 9, mtime=0)


def decode(data: bytes) -> Splats:
    """Read a file that nobody vouches for.

    Raises:
        MeshError: it is no SPZ of version 2 or 3, is broken or too large.
    """
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            magic, version, count, degree, grid_bits, _, _ = _HEAD.unpack(file.read(_HEAD.size))
            if magic != _MAGIC or version not in (2, 3) or degree >= len(COEFFICIENTS) or not 0 < count <= MAX_SPLATS:
                raise MeshError(f"SPZ of version {version}, degree {degree}, {count} splats: not read here")
            rest = COEFFICIENTS[degree] - 1
            widths = (9, 1, 3, 3, 4 if version == 3 else 3, 3 * rest)
            plain = file.read(count * sum(widths))
    except (OSError, EOFError, struct.error, zlib.error) as error:
        raise MeshError(f"not an SPZ file: {error}") from error
    if len(plain) < count * sum(widths):
        raise MeshError("a broken SPZ: it ends too early")
    at, tables = 0, list[U8]()
    for width in widths:
        tables.append(np.frombuffer(plain, np.uint8, count * width, at).reshape(count, width))
        at += count * width
    places, opacity, colour, sizes, turns, harmonics = tables
    wide = np.zeros((count, 3, 4), np.uint8)
    wide[..., 1:] = places.reshape(count, 3, 3)  # into the upper bytes, so that the sign comes along
    sh = np.concatenate([colour[:, None] / 255 - 0.5, np.zeros((count, rest, 3))], axis=1) / _COLOUR
    sh[:, 1:] = (harmonics.reshape(count, rest, 3).astype(np.float64) - 128) / 128
    return Splats(
        ((wide.view("<i4")[..., 0] >> 8) / 2.0**grid_bits).astype(np.float32),
        np.exp(sizes / 16.0 - 10).astype(np.float32),
        _turns_of_four(turns) if version == 3 else _turns_of_three(turns),
        (opacity[:, 0] / 255).astype(np.float32),
        sh.astype(np.float32),
    )


def _bytes(values: NDArray[np.floating]) -> bytes:
    return np.round(values).clip(0, 255).astype(np.uint8).tobytes()


def _smallest_three(quats_wxyz: F32) -> NDArray[np.uint32]:
    """Ten bits each for all but the largest component of xyzw, and its place in the two highest."""
    xyzw = np.roll(quats_wxyz.astype(np.float64), -1, axis=1)
    largest = np.abs(xyzw).argmax(axis=1)
    rows = np.arange(len(xyzw))
    xyzw = xyzw * np.where(xyzw[rows, largest] < 0, -1, 1)[:, None]
    packed = largest.astype(np.uint32)
    for i in range(4):
        size = np.round(511 * np.abs(xyzw[:, i]) / _ROOT_HALF).clip(0, 511).astype(np.uint32)
        ten = (xyzw[:, i] < 0).astype(np.uint32) << 9 | size
        packed = np.where(largest == i, packed, packed << 10 | ten)
    return np.asarray(packed, np.uint32)


def _turns_of_four(turns: U8) -> F32:
    packed = np.ascontiguousarray(turns).view("<u4")[:, 0].astype(np.int64)
    largest = packed >> 30
    xyzw = np.zeros((len(packed), 4))
    for i in (3, 2, 1, 0):  # the last one stands lowest
        is_stored = largest != i
        size = (packed & 511) / 511 * _ROOT_HALF
        xyzw[:, i] = np.where(is_stored, np.where(packed & 512, -size, size), 0)
        packed = np.where(is_stored, packed >> 10, packed)
    left = np.sqrt(np.maximum(0, 1 - (xyzw**2).sum(axis=1)))
    xyzw[np.arange(len(xyzw)), largest] = left
    return unit(np.roll(xyzw, 1, axis=1).astype(np.float32))


def _turns_of_three(turns: U8) -> F32:
    xyz = turns / 127.5 - 1
    w = np.sqrt(np.maximum(0, 1 - (xyz**2).sum(axis=1)))
    return unit(np.column_stack([w, xyz]).astype(np.float32))


def _harmonics(rest: F32) -> U8:
    """(n, k, 3) in steps of 1/16 (the first three) and 1/8, 128 = 0."""
    step = np.where(np.arange(rest.shape[1]) < 3, 8, 16)[None, :, None]
    return np.asarray((np.round((rest * 128 + 128) / step) * step).clip(0, 255), np.uint8)
