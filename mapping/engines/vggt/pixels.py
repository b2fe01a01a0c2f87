"""Camera images to what the network reads."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mapping.engines.vggt.canvas import Placement
from streams.frame import Intrinsics

_WHITE = 1.0
"""What the network saw around images of other shapes when it was trained."""


def straightened(rgb: NDArray[np.uint8], lens: Intrinsics | None) -> tuple[NDArray[np.uint8], Intrinsics | None]:
    """The image (h, w, 3) and its camera without the lens's distortion."""
    if lens is None or not lens.k1:
        return rgb, lens
    straight = Intrinsics(lens.fx, lens.fy, lens.cx, lens.cy, lens.width, lens.height)
    k = straight.matrix() - np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])  # OpenCV's pixel centres are whole
    return np.asarray(cv2.undistort(rgb, k, np.array([lens.k1, 0.0, 0.0, 0.0]), None, k), np.uint8), straight


def on_canvas(rgb: NDArray[np.uint8], place: Placement, device: torch.device) -> Tensor:
    """(3, *canvas) float32 in 0..1 on the device, where it is resized (bicubic, antialiased), too."""
    pixels = torch.from_numpy(np.array(rgb))  # a copy: pixels may lie in memory that is shared and read-only
    if device.type == "cuda":
        pixels = pixels.pin_memory().to(device, non_blocking=True)
    image = pixels.permute(2, 0, 1)[None].float() / 255
    size = (place.height, place.width)
    if image.shape[2:] != size:
        image = functional.interpolate(image, size=size, mode="bicubic", antialias=True).clamp(0, 1)
    bottom = place.canvas[0] - place.top - place.height
    right = place.canvas[1] - place.left - place.width
    return functional.pad(image[0], (place.left, right, place.top, bottom), value=_WHITE)
