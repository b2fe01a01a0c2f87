"""Directions to try, around one that is known roughly."""

from __future__ import annotations

import numpy as np

from mapping.transforms import F64


def directions_around(center: F64, radius_deg: float, step_deg: float) -> F64:
    """Unit vectors (n, 3) on a grid around one (3,), that one first."""
    offsets = np.arange(-radius_deg, radius_deg + 1e-9, step_deg)
    x, y = (axis.ravel() for axis in np.meshgrid(offsets, offsets))
    x, y = x[np.hypot(x, y) <= radius_deg], y[np.hypot(x, y) <= radius_deg]
    tangents = np.linalg.svd(center[None])[2][1:]
    flat = center + np.tan(np.radians(np.stack([x, y], axis=1))) @ tangents
    return np.asarray(np.concatenate([center[None], flat / np.linalg.norm(flat, axis=1, keepdims=True)]))
