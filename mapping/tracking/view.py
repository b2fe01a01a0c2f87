"""One frame the way the tracker looks at it: a gray image of bounded size, its lens and its miniature."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from mapping.tracking.flow import Pyramid
from mapping.tracking.lens import Lens
from mapping.tracking.turn import Thumbnail
from streams.frame import Frame, Intrinsics


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """The tracker's own copy of what matters in a frame."""

    seq: int
    capture_ns: int
    image: Pyramid
    lens: Lens
    thumbnail: Thumbnail
    intrinsics: Intrinsics
    """Given or guessed, of the frame's full size."""
    is_guess: bool


def look(frame: Frame, *, max_side_px: int, focal_px: float | None, long_side_fov_deg: float) -> View:
    """Shrink a frame to at most `max_side_px` and find its lens.

    Args:
        focal_px: focal length of ideal pixels; None takes this frame's own.
        long_side_fov_deg: field of view to assume where the frame does not know its intrinsics.
    """
    width, height = frame.image.width, frame.image.height
    full = frame.intrinsics or Intrinsics.from_fov(width, height, long_side_fov_deg)
    if (full.width, full.height) != (width, height):
        full = full.scaled(width, height)
    gray = frame.image.gray
    scale = min(1.0, max_side_px / max(width, height))
    small = full
    if scale < 1.0:
        small = full.scaled(max(1, round(width * scale)), max(1, round(height * scale)))
        gray = np.asarray(cv2.resize(gray, (small.width, small.height), interpolation=cv2.INTER_AREA), np.uint8)
    lens = Lens(small, focal_px or small.fx)
    image = Pyramid.build(np.ascontiguousarray(gray))
    return View(
        frame.seq,
        frame.capture_ns,
        image,
        lens,
        Thumbnail.of(image.half, 0.5 * small.fx),
        full,
        frame.intrinsics is None,
    )
