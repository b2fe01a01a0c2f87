"""A region of space as a mask in each view: depth says roughly, colour says where exactly (GrabCut)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from mapping.objects.capture.region import Region, world_points
from mapping.objects.view import View

_SURE_IN_PX, _RIM_PX = 4, 4
_MARGIN_PX = 24
_ROUNDS = 2
_MIN_IOU = 0.8
_FOOT_M = 0.03
_MIN_PIXELS = 60


def masked(views: Sequence[View], region: Region) -> tuple[View, ...]:
    """The views that see the region, each with its mask; what was masked before is masked anew."""
    out = []
    for view in views:
        rough = _rough(view, region)
        if np.count_nonzero(rough) >= _MIN_PIXELS:
            out.append(replace(view, mask=_sharpened(view.rgb, rough)))
    return tuple(out)


def _rough(view: View, region: Region) -> NDArray[np.bool_]:
    """(h, w) pixels whose points lie in the region's cells; at its foot, above the ground that it covers."""
    assert view.depth_m is not None
    points = world_points(view)
    height_m = region.floor.above_m(points)
    inside = region.holds(points) & (height_m > region.lift_m)
    foot_cells = max(1, round(_FOOT_M / region.cell_m))
    covered = np.asarray(region.cells[:, :foot_cells].any(axis=1))
    at = np.floor((points[..., [0, 2]] - region.low_m[[0, 2]]) / region.cell_m).astype(np.int64)
    on_grid = np.asarray(np.all((at >= 0) & (at < covered.shape), axis=-1))
    safe = np.where(on_grid[..., None], at, 0)
    over = on_grid & (np.abs(height_m) <= 1.5 * region.lift_m)
    mask = (view.depth_m > 0) & (inside | (over & covered[safe[..., 0], safe[..., 1]]))
    closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, _disc(2))
    return np.asarray(cv2.morphologyEx(closed, cv2.MORPH_OPEN, _disc(1)), np.uint8).astype(bool)


def _sharpened(rgb: NDArray[np.uint8], rough: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The rough mask with its rim moved to where the colours change; itself where colours tell nothing."""
    rows, columns = np.nonzero(rough)
    top, bottom = max(0, rows.min() - _MARGIN_PX), rows.max() + _MARGIN_PX
    left, right = max(0, columns.min() - _MARGIN_PX), columns.max() + _MARGIN_PX
    part = rough[top:bottom, left:right].astype(np.uint8)
    labels = np.full(part.shape, cv2.GC_BGD, np.uint8)
    labels[cv2.dilate(part, _disc(_RIM_PX)) > 0] = cv2.GC_PR_BGD
    labels[part > 0] = cv2.GC_PR_FGD
    labels[cv2.erode(part, _disc(_SURE_IN_PX)) > 0] = cv2.GC_FGD
    if not (labels == cv2.GC_FGD).any() or not (labels == cv2.GC_BGD).any():
        return rough
    cv2.setRNGSeed(0)
    bgr = cv2.GaussianBlur(rgb[top:bottom, left:right, ::-1], (3, 3), 0)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(np.ascontiguousarray(bgr), labels, None, *models, _ROUNDS, cv2.GC_INIT_WITH_MASK)
    found = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
    iou = (found & (part > 0)).sum() / max(1, (found | (part > 0)).sum())
    if iou < _MIN_IOU:
        return rough
    sharp = rough.copy()
    sharp[top:bottom, left:right] = found
    return sharp


def _disc(radius_px: int) -> NDArray[np.uint8]:
    size = 2 * radius_px + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)), np.uint8)
