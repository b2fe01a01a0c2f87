"""How far each pixel of depth is to be believed: what fusion weighs it by."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mapping.cross_check import Heard
from mapping.engines.vggt.landmarks import Comparison


def confidence(
    certainty: NDArray[np.float32], landmarks: Comparison, heard: Heard, tolerance: float
) -> NDArray[np.float32]:
    """Confidence 0..1 of depth (h, w): one half where its relative error is expected to be `tolerance`.

    The network was trained to say about 1 / error, up to a factor, which is measured in each window: where landmarks
    are, and where other views see the same surface. Each of the two misses some kind of error, so the larger one
    counts. A pixel that others see elsewhere is at least so far off; one that they look through is not there. Where
    nothing can be measured, the network's least certainty means 0 and there is no other scale.
    """
    factors = [factor for factor in (landmarks.factor, heard.factor(certainty)) if factor is not None]
    if not factors:
        sure = 1 - 1 / certainty
    else:
        expected = np.maximum(max(factors) / certainty, heard.error)
        sure = 1 / (1 + np.square(expected / tolerance))
    return np.where(heard.is_refuted, 0, sure).astype(np.float32)
