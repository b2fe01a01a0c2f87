"""Pictures of a job's spool as arrays; they were checked for size and pixels before they were stored."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

MAX_WORK_PX = 2048
"""Larger ones are worked on at this size."""


class PictureBroken(ValueError):
    """It cannot be decoded."""


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """(h, w, 3); turned as its EXIF says, made smaller where it is very large.

    Raises:
        PictureBroken: it cannot be decoded.
    """
    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if bgr is None:
        raise PictureBroken(f"{path.name} cannot be decoded")
    factor = min(1.0, MAX_WORK_PX / max(bgr.shape[:2]))
    if factor < 1.0:
        bgr = cv2.resize(bgr, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(bgr[..., ::-1])


def read_mask(path: Path, size: tuple[int, ...]) -> NDArray[np.bool_]:
    """(h, w) of that size: where it is brighter than half.

    Raises:
        PictureBroken: it cannot be decoded, or is empty.
    """
    gray = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if gray is None:
        raise PictureBroken(f"{path.name} cannot be decoded")
    fitted = cv2.resize(gray, (size[1], size[0]), interpolation=cv2.INTER_NEAREST)
    if not (fitted > 127).any():
        raise PictureBroken("the mask is empty")
    return np.asarray(fitted > 127)


def centred(
    rgb: NDArray[np.uint8], mask: NDArray[np.bool_], margin: float = 0.1
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The square part of a picture (h, w, 3) around what a mask (h, w) shows, and of the mask; `margin` of its side.

    Beyond the picture's border there is nothing: black, and outside of the mask.
    """
    rows, columns = np.nonzero(mask)
    top, left = int(rows.min()), int(columns.min())
    height, width = int(rows.max()) + 1 - top, int(columns.max()) + 1 - left
    side = round(max(height, width) * (1 + 2 * margin))
    to_row, to_column = (side - height) // 2, (side - width) // 2
    part, inside = np.zeros((side, side, 3), np.uint8), np.zeros((side, side), np.bool_)
    here = np.s_[to_row : to_row + height, to_column : to_column + width]
    there = np.s_[top : top + height, left : left + width]
    part[here], inside[here] = rgb[there], mask[there]
    return part, inside
