"""Decoded video frames (PyAV) to `Image`, whatever their pixel format, padding, odd size or rotation."""

from __future__ import annotations

import av
import numpy as np
from av.video.reformatter import ColorRange
from numpy.typing import NDArray

from streams.frame import Image

MAX_WIDTH, MAX_HEIGHT = 3840, 2160
"""Either way round; larger frames are refused wherever pixels come in."""
MAX_PIXELS = MAX_WIDTH * MAX_HEIGHT


def too_large(width: int, height: int) -> bool:
    """Whether a frame is beyond what we accept (3840x2160, or upright)."""
    return max(width, height) > MAX_WIDTH or min(width, height) > MAX_HEIGHT


def image_from_video(frame: av.VideoFrame) -> Image:
    """Copy a decoded frame once, into the I420 planes that `Image` wants; an odd last row or column is cut off.

    Raises:
        ValueError: it has less than 2x2 pixels.
    """
    if frame.width < 2 or frame.height < 2:
        raise ValueError(f"frame of {frame.width}x{frame.height} pixels")
    if frame.format.name != "yuv420p" or frame.color_range == ColorRange.JPEG:
        frame = frame.reformat(format="yuv420p", dst_color_range=ColorRange.MPEG)
    width, height = frame.width & ~1, frame.height & ~1
    planes = np.empty((height * 3 // 2, width), dtype=np.uint8)
    flat = planes.reshape(-1)
    luma, quarter = width * height, width * height // 4
    targets = (flat[:luma], flat[luma : luma + quarter], flat[luma + quarter :])
    for source, target, (rows, columns) in zip(
        frame.planes, targets, ((height, width), *((height // 2, width // 2),) * 2), strict=True
    ):
        padded = np.frombuffer(source, dtype=np.uint8).reshape(-1, source.line_size)
        target.reshape(rows, columns)[:] = padded[:rows, :columns]
    turns = -frame.rotation // 90 % 4
    image = Image(i420=planes)
    return Image(rgb=_turned(image.rgb, turns)) if turns else image


def _turned(rgb: NDArray[np.uint8], turns: int) -> NDArray[np.uint8]:
    return np.ascontiguousarray(np.rot90(rgb, turns))
