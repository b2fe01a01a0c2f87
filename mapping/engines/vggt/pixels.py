"""Camera images to what the network reads."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mapping.engines.vggt.canvas import Placement
from streams.frame import Intrinsics

_WHITE = 1.0
"""What the network saw around images of other shapes when it was trained."""


def straightened(rgb: NDArray[np.uint8], lens: Intrinsics | None) -> NDArray[np.uint8]:
    """The image (h, w, 3) without the lens's distortion."""
    if lens is None or not lens.k1:
        return rgb
    k = replace(lens, k1=0.0).matrix() - np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
    return np.asarray(cv2.undistort(rgb, k, np.array([lens.k1, 0.0, 0.0, 0.0]), None, k), np.uint8)  # whole centres


def on_canvas(pixels: Tensor, place: Placement) -> Tensor:
    """(3, *canvas) float32 in 0..1 of uint8 pixels (h, w, 3), resized (bicubic, antialiased) on their own device."""
    image = pixels.permute(2, 0, 1)[None].float() / 255
    size = (place.height, place.width)
    if image.shape[2:] != size:
        image = functional.interpolate(image, size=size, mode="bicubic", antialias=True).clamp(0, 1)
    bottom = place.canvas[0] - place.top - place.height
    right = place.canvas[1] - place.left - place.width
    return functional.pad(image[0], (place.left, right, place.top, bottom), value=_WHITE)
