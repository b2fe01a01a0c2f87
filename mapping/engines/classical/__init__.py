"""The CPU engine without weights: plane-sweep stereo between tracked keyframes.

Enters: a window whose views bring poses (or, slower, do not: then it poses them itself). Leaves: the last view's depth,
with a confidence; what cannot be known (no texture, no second view, no agreement) stays unknown.
"""

from __future__ import annotations

from mapping.engines import GeometryEngine
from mapping.engines.classical.config import Config

__all__ = ["Config", "create"]


def create(config: Config) -> GeometryEngine:
    """Make the engine; its kernels compile in `warm_up`."""
    from mapping.engines.classical.engine import ClassicalEngine

    return ClassicalEngine(config)
