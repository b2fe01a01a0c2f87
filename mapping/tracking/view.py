"""One frame the way the tracker looks at it: a gray image of bounded size, its lens and its miniature."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from mapping.tracking.flow import Pyramid
from mapping.tracking.lens import Lens
from mapping.tracking.turn import Thumbnail
from streams.frame import Frame, Intrinsics

_MIN_SIDE_PX = 32  # smaller images are enlarged, so that no window hangs over both edges

_USUAL_S = 1 / 30  # between frames whose stamps do not say


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


def seconds_between(before: View, after: View) -> float:
    """Time from one view to the next, within reason: stamps may repeat, jump or run backwards."""
    dt_s = (after.capture_ns - before.capture_ns) * 1e-9
    return min(dt_s, 1.0) if dt_s > 1e-3 else _USUAL_S


def look(frame: Frame, *, max_side_px: int, long_side_fov_deg: float, before: View | None) -> View:
    """Shrink a frame to at most `max_side_px` and find its lens.

    A stream that changes its size but not its shape keeps the size of `before`, so that tracking goes on across the
    change; ideal pixels keep their scale in any case.

    Args:
        long_side_fov_deg: field of view to assume where the frame does not know its intrinsics.
    """
    width, height = frame.image.width, frame.image.height
    full = frame.intrinsics or Intrinsics.from_fov(width, height, long_side_fov_deg)
    if (full.width, full.height) != (width, height):
        full = full.scaled(width, height)
    small = full.scaled(*_tracking_size(width, height, max_side_px, before))
    gray = frame.image.gray
    if (small.width, small.height) != (width, height):
        shrinks = small.width < width
        size = (small.width, small.height)
        gray = np.asarray(
            cv2.resize(gray, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR), np.uint8
        )
    image = Pyramid.build(np.ascontiguousarray(gray))
    lens = Lens(small, before.lens.focal_px if before else small.fx)
    thumbnail = Thumbnail.of(image.half, 0.5 * small.fx)
    return View(frame.seq, frame.capture_ns, image, lens, thumbnail, full, frame.intrinsics is None)


def _tracking_size(width: int, height: int, max_side_px: int, before: View | None) -> tuple[int, int]:
    if before is not None:
        kept = before.lens.intrinsics
        if abs(width * kept.height - height * kept.width) <= 0.02 * width * kept.height:
            return kept.width, kept.height
    scale = min(1.0, max_side_px / max(width, height))
    return max(_MIN_SIDE_PX, round(width * scale)), max(_MIN_SIDE_PX, round(height * scale))
