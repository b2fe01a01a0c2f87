"""How far a matched pixel is to be believed, from how clearly it won and what other views say about it.

A logistic fit of "within 10 % of the sensor's depth" over 1.8 million pixels of two recordings (a kitchen, an office);
fitted on either one it ranks the other's pixels as well as its own (area under the curve 0.77, by match quality 0.67).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_BASE = 0.78
_PER_LOG_MARGIN = 0.56
_PER_AGREEING_VIEW = 0.44
_CONTRADICTED = -0.27
_MAX_LOG_MARGIN = 2.0
_MAX_AGREEING = 3


def confidence(
    margin: NDArray[np.float32], agree: NDArray[np.int16], contradict: NDArray[np.int16]
) -> NDArray[np.float32]:
    """Twice the chance of being right within 10 %, less one, in 0..1: 0.5 = right in three of four, 0 = no idea.

    Args:
        margin: (h, w) by which the best rival elsewhere costs more, relatively; 0 = unknown pixel.
        agree, contradict: (h, w) how many views confirm the pixel, and look through it.
    """
    sure = _PER_LOG_MARGIN * np.minimum(np.log(np.maximum(margin, 1e-6)), _MAX_LOG_MARGIN)
    heard = _PER_AGREEING_VIEW * np.minimum(agree, _MAX_AGREEING) + _CONTRADICTED * (contradict > 0)
    chance = 1.0 / (1.0 + np.exp(-(_BASE + sure + heard)))
    return np.where(margin > 0, np.clip(2.0 * chance - 1.0, 0.0, 1.0), 0.0).astype(np.float32)
