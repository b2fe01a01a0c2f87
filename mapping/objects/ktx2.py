"""A picture as a KTX2 file (Khronos KTX 2.0): UASTC blocks with all smaller levels, packed by Zstandard.

It stays packed on the GPU (an eighth to a quarter of the memory), needs no decoding by the CPU and no levels made.
"""

from __future__ import annotations

import struct

import cv2
import numpy as np
import zstandard

from mapping.objects import uastc
from mapping.objects.mesh import F32, U8

IDENTIFIER = b"\xabKTX 20\xbb\r\n\x1a\n"
MAX_PX = 8192
_ZSTANDARD = 2  # supercompressionScheme
_MODEL_UASTC, _BT709, _SRGB = 166, 1, 2  # of the Khronos Data Format
_LEVEL = 19


def encode(rgb: U8) -> bytes:
    """The file for a picture (h, w, 3) sRGB; sides that are no multiple of 4 grow to the next, as glTF wants.

    Raises:
        ValueError: it is empty or larger than `MAX_PX`.
    """
    if not 0 < min(rgb.shape[:2]) <= max(rgb.shape[:2]) <= MAX_PX:
        raise ValueError(f"a picture of {rgb.shape[1]} x {rgb.shape[0]} pixels")
    levels = _levels(rgb)
    height, width = levels[0].shape[:2]
    plain = [uastc.encode(level) for level in levels]
    packed = [zstandard.ZstdCompressor(level=_LEVEL, write_content_size=True).compress(blocks) for blocks in plain]
    description, told = _description(), _told({"KTXorientation": "rd", "KTXwriter": "Commonground"})
    begin = len(IDENTIFIER) + 68 + 24 * len(levels)
    head = struct.pack("<9I", 0, 1, width, height, 0, 0, 1, len(levels), _ZSTANDARD)
    where = struct.pack("<4I2Q", begin, len(description), begin + len(description), len(told), 0, 0)
    at = begin + len(description) + len(told)
    index = b""
    for small, blocks in reversed(list(zip(packed, plain, strict=True))):  # the smallest level stands first
        index = struct.pack("<3Q", at, len(small), len(blocks)) + index
        at += len(small)
    return b"".join((IDENTIFIER, head, where, index, description, told, *reversed(packed)))


def _levels(rgb: U8) -> list[U8]:
    """The picture and its halves down to one pixel, averaged in linear light."""
    height, width = rgb.shape[:2]
    fours = (width + -width % uastc.BLOCK_PX, height + -height % uastc.BLOCK_PX)
    whole = rgb if fours == (width, height) else np.asarray(cv2.resize(rgb, fours, interpolation=cv2.INTER_LINEAR))
    linear: F32 = (_LINEAR[whole]).astype(np.float32)
    levels = [np.ascontiguousarray(whole, np.uint8)]
    while max(linear.shape[:2]) > 1:
        half = tuple(max(1, side // 2) for side in linear.shape[1::-1])
        linear = np.asarray(cv2.resize(linear, half, interpolation=cv2.INTER_AREA), np.float32)
        levels.append(_srgb(linear))
    return levels


_SHADES = np.arange(256) / 255
_LINEAR = np.where(_SHADES <= 0.04045, _SHADES / 12.92, ((_SHADES + 0.055) / 1.055) ** 2.4)


def _srgb(linear: F32) -> U8:
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055)
    return np.asarray(np.round(255 * srgb.clip(0, 1)), np.uint8)


def _description() -> bytes:
    """The data format descriptor: one basic block with one sample."""
    block = struct.pack("<2I4B4B8B", 0, 2 | 40 << 16, _MODEL_UASTC, _BT709, _SRGB, 0, 3, 3, 0, 0, *[0] * 8)
    sample = struct.pack("<HBB4BII", 0, uastc.BLOCK_BYTES * 8 - 1, 0, 0, 0, 0, 0, 0, 0xFFFFFFFF)
    return struct.pack("<I", 4 + len(block) + len(sample)) + block + sample


def _told(facts: dict[str, str]) -> bytes:
    out = b""
    for key in sorted(facts):
        entry = key.encode() + b"\0" + facts[key].encode() + b"\0"
        out += struct.pack("<I", len(entry)) + entry + b"\0" * (-len(entry) % 4)
    return out
