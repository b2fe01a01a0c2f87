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
