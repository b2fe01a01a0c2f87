"""Waiting for enough parallax: follows corners from frame to frame until a first map can be believed."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mapping.tracking.flow import F32, follow, fresh_corners
from mapping.tracking.lens import Lens
from mapping.tracking.two_view import Start, StartConfig, fit_rotation, start_map
from mapping.tracking.view import View
from mapping.transforms import F64

_MAX_VIEWS = 40  # remembered views; older ones are forgotten
_VIEWS_USED = 5


@dataclass(frozen=True, slots=True, eq=False)
class StartView:
    """One remembered frame."""

    view: View
    ids: NDArray[np.int64]  # (n,)
    pixels: F32  # (n, 2) OpenCV pixels
    ideal: F64  # (n, 2)


@dataclass(frozen=True, slots=True, eq=False)
class FirstMap:
    """A believed start and the frames that waited for it."""

    views: tuple[StartView, ...]
    """Every remembered frame, oldest first."""
    chosen: tuple[int, ...]
    """Which of them made the start; the last one is the newest frame."""
    shared: NDArray[np.int64]
    """(n,) the tracks that all of those see: the start's points."""
    start: Start
    focal_px: float


@dataclass(slots=True, eq=False)
class Starter:
    """Feed it frames; once in a while it answers with a first map."""

    num_features: int
    config: StartConfig
    zoom: float = 1.0
    """What earlier maps of this camera found its focal length to be, over the guessed one."""
    _views: list[StartView] = field(default_factory=list)
    _next_id: int = 0
    _tried_cost: float = 0.0

    def offer(self, view: View, turn: F64, *, may_start: bool = True) -> FirstMap | None:
        """Take the next frame; `turn` (3, 3) is the guessed rotation from the previous frame to this one."""
        self._views.append(self._follow(view, turn))
        if len(self._views) > _MAX_VIEWS:
            del self._views[0]
        return self._try() if may_start else None

    def _follow(self, view: View, turn: F64) -> StartView:
        ids, pixels = np.empty(0, np.int64), np.empty((0, 2), np.float32)
        if self._views and self._views[-1].view.image.gray.shape == view.image.gray.shape:
            last = self._views[-1]
            seeds = turned(last.pixels, turn, last.view.lens, view.lens)
            pixels, good = follow(last.view.image, view.image, last.pixels, seeds)
            ids, pixels = last.ids[good], pixels[good]
        else:
            self._views.clear()
        if len(ids) < 0.7 * self.num_features:
            fresh = fresh_corners(view.image.gray, pixels, self.num_features - len(ids))
            ids = np.concatenate([ids, np.arange(self._next_id, self._next_id + len(fresh))])
            pixels = np.concatenate([pixels, fresh])
            self._next_id += len(fresh)
        return StartView(view, ids, pixels, view.lens.ideal(pixels))

    def _try(self) -> FirstMap | None:
        """Use the oldest view that still shares enough with the newest, and a few in between."""
        newest = self._views[-1]
        for first in range(len(self._views) - 1):
            shared = np.intersect1d(self._views[first].ids, newest.ids)
            if len(shared) >= max(self.config.min_points, 0.4 * len(newest.ids)):
                break
        else:
            return None
        oldest = self._views[first]
        a, b = oldest.ideal[_rows(oldest.ids, shared)], newest.ideal[_rows(newest.ids, shared)]
        focal_px = newest.view.lens.focal_px * self.zoom
        turn = fit_rotation(a, b, focal_px)
        forward = np.column_stack([a / focal_px, np.ones(len(a))]) @ turn.T
        cost = float(np.median(np.sum((focal_px * forward[:, :2] / forward[:, 2:] - b) ** 2, axis=1)))
        # A try costs tens of milliseconds: wait until the evidence has grown.
        if cost < 1.5 or 0.8 * self._tried_cost < cost < 1.2 * self._tried_cost:
            return None
        self._tried_cost = cost
        chosen = tuple(sorted(set(np.linspace(first, len(self._views) - 1, _VIEWS_USED).astype(int).tolist())))
        views = [self._views[k] for k in chosen]
        for view in views:
            shared = np.intersect1d(shared, view.ids)
        pixels = np.stack([v.ideal[_rows(v.ids, shared)] for v in views])
        start = start_map(pixels, focal_px, self.config)
        return None if start is None else FirstMap(tuple(self._views), chosen, shared, start, focal_px)


def turned(pixels: F32, turn: F64, before: Lens, after: Lens) -> F32:
    """Where pixels (n, 2) go when the camera only turns."""
    ahead = np.column_stack([before.ideal(pixels) / before.focal_px, np.ones(len(pixels))]) @ turn.T
    ahead[:, 2] = np.maximum(ahead[:, 2], 0.1)
    return after.pixels(after.focal_px * ahead[:, :2] / ahead[:, 2:])


def _rows(ids: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where the wanted ids stand; ids are ascending."""
    return np.asarray(np.searchsorted(ids, wanted), np.int64)
