"""Pictures of a job's spool as arrays; they were checked for size and pixels before they were stored.

They are decoded strictly: of what was broken off on its way nobody wants half a thing.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from server.generation.provider import GenerationFailed

MAX_WORK_PX = 2048
"""Larger ones are worked on at this size."""
MIN_SIDE_PX, MAX_ASPECT = 16, 32
_CUT_OUT_SHARE = 0.01
"""So much of a picture that is cut out is transparent; rounded corners are less."""
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Of an interlaced PNG: first column and row, steps (PNG 1.2, section 2.6)."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """What a file shows, and where in it the thing is, if somebody said so."""

    rgb: NDArray[np.uint8]  # (h, w, 3)
    mask: NDArray[np.bool_] | None  # (h, w)


def read(path: Path, mask: Path | None = None) -> Picture:
    """Turned as its EXIF says, made smaller where it is very large; its mask is the given one or its alpha channel.

    Raises:
        GenerationFailed: `bad_input`: it is broken; `unsuitable`: it is too small to show anything.
    """
    image = _decoded(path)
    if min(image.size) < MIN_SIDE_PX or max(image.size) > MAX_ASPECT * min(image.size):
        hint = f"give a photo of at least {MIN_SIDE_PX} px a side, at most {MAX_ASPECT} times as long as wide"
        raise GenerationFailed("unsuitable", f"the picture is {image.width} x {image.height} px", hint=hint)
    transparent = image.has_transparency_data
    pixels = np.asarray(_eight_bit(image).convert("RGBA" if transparent else "RGB"))
    factor = min(1.0, MAX_WORK_PX / max(pixels.shape[:2]))
    if factor < 1.0:
        pixels = np.asarray(cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), np.uint8)
    rgb = np.ascontiguousarray(pixels[..., :3])
    if mask is not None:
        return Picture(rgb, read_mask(mask, rgb.shape[:2]))
    cut_out = pixels[..., 3] > 127 if transparent else None
    if cut_out is not None and not cut_out.any():
        raise GenerationFailed("unsuitable", "the picture is transparent", hint="what shall be made must be opaque")
    return Picture(rgb, cut_out if cut_out is not None and cut_out.mean() < 1 - _CUT_OUT_SHARE else None)


def read_mask(path: Path, size: tuple[int, ...]) -> NDArray[np.bool_]:
    """(h, w) of that size: where it is brighter than half and opaque; where it is opaque, if nothing of that is bright.

    Raises:
        GenerationFailed: `bad_input`: it is broken, or empty.
    """
    light, opaque = np.moveaxis(np.asarray(_eight_bit(_decoded(path)).convert("LA")), 2, 0) > 127
    shown = light & opaque if (light & opaque).any() or opaque.all() else opaque
    if not shown.any():
        raise GenerationFailed("bad_input", "the mask is empty", hint="paint the thing white, all else black")
    fitted = cv2.resize(shown.astype(np.uint8), (size[1], size[0]), interpolation=cv2.INTER_NEAREST)
    return np.asarray(fitted > 0)


def _decoded(path: Path) -> Image.Image:
    hint = "send the whole file; if it opens elsewhere, save it anew there"
    try:
        data = path.read_bytes()
        with Image.open(path, formats=("PNG", "JPEG", "WEBP")) as image:
            image.load()
            if image.format == "PNG":
                _check_rows(data)
            return ImageOps.exif_transpose(image)
    except UnidentifiedImageError as error:
        raise GenerationFailed("bad_input", f"{path.name} is no PNG, JPEG or WebP", hint=hint) from error
    except (OSError, SyntaxError, ValueError, struct.error, zlib.error) as error:
        raise GenerationFailed("bad_input", f"{path.name} is broken: {error}"[:200], hint=hint) from error


def _check_rows(png: bytes) -> None:
    """It has the rows that its header says; decoders take missing ones for black.

    Raises:
        ValueError: they are not.
    """
    width, height, depth, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", png, 16)
    bits = depth * _CHANNELS[colour]
    parts = _PASSES if interlaced else ((0, 0, 1, 1),)
    sizes = [(-(-(width - x) // step_x), -(-(height - y) // step_y)) for x, y, step_x, step_y in parts]
    wanted = sum(rows * (1 + -(-columns * bits // 8)) for columns, rows in sizes if columns > 0 and rows > 0)
    surplus = 1 + -(-width * bits // 8)  # some writers leave a few bytes behind the last row
    inflate, found, at = zlib.decompressobj(), 0, 8
    while at + 8 <= len(png) and found <= wanted + surplus:
        length, kind = struct.unpack_from(">I4s", png, at)
        rest = png[at + 8 : at + 8 + length] if kind == b"IDAT" else b""
        while rest and found <= wanted + surplus:
            found += len(inflate.decompress(rest, 1 << 20))
            rest = inflate.unconsumed_tail
        at += 12 + length
    if found <= wanted:
        found += len(inflate.flush())
    if not wanted <= found < wanted + surplus:
        raise ValueError(f"its header says {width} x {height} px, its data are others")


def _eight_bit(image: Image.Image) -> Image.Image:
    """Of PNGs with 16 bits of grey, the upper 8."""
    if not image.mode.startswith("I"):
        return image
    return Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
