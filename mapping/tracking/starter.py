"""Waiting for enough parallax: follows corners from frame to frame until a first map can be believed.

Until then a picture that has hardly moved tells how the camera turned, and that it is still about where it was.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mapping.tracking.flow import F32, follow, fresh_corners
from mapping.tracking.lens import Lens
from mapping.tracking.two_view import Start, StartConfig, fit_rotation, rotation_error2, start_map
from mapping.tracking.view import View
from mapping.transforms import F64, angle_between

_MAX_VIEWS = 40  # remembered views; older ones are forgotten
_VIEWS_USED = 5
_MIN_SHARED = 0.4  # of the newer view's tracks, for two views to be compared
_MAX_MISS_PX = 1.0  # what tracks drift by; more is left when the camera travels
_MAX_TURN_RAD = 0.01  # before a plain wall a step to the side can look like a turn: of this share of the distance


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
    """In the frame of the first view, or of the anchor if that one has been told about (see `Starter.turn_so_far`)."""
    focal_px: float
    is_told: bool
    """`start` lies in the anchor's frame."""


@dataclass(slots=True, eq=False)
class Starter:
    """Feed it frames; once in a while it answers with a first map."""

    num_features: int
    config: StartConfig
    zoom: float = 1.0
    """What earlier maps of this camera found its focal length to be, over the guessed one."""
    is_told: bool = False
    """`turn_so_far` has answered, so that the map must begin in its frame."""
    _views: list[StartView] = field(default_factory=list)
    _anchor: StartView | None = None
    """What `turn_so_far` is measured from."""
    _next_id: int = 0
    _tried_cost: float = 0.0

    def offer(self, view: View, turn: F64, *, may_start: bool = True) -> FirstMap | None:
        """Take the next frame; `turn` (3, 3) is the guessed rotation from the previous frame to this one."""
        self._views.append(self._follow(view, turn))
        if len(self._views) > _MAX_VIEWS:
            del self._views[0]
        return self._try() if may_start else None

    def turn_so_far(self) -> F64 | None:
        """Rotation (3, 3) camera_from_anchor of the newest view; None unless the camera has hardly moved since.

        The anchor is the first view with anything in it. A step to the side can look like a turn: at worst the turn is
        off by all of itself, and the place by that angle's share of the scene's distance.
        """
        newest = self._views[-1]
        fit = self._compare(self._anchor, newest) if self._anchor is not None else None
        if fit is None and not self.is_told:
            self._anchor = newest
        if fit is None or fit[1] > _MAX_MISS_PX**2 or angle_between(fit[0], np.eye(3)) > _MAX_TURN_RAD:
            return None
        self.is_told = True
        return fit[0]

    def _compare(self, before: StartView, after: StartView) -> tuple[F64, float] | None:
        """The turn (3, 3) that best explains what two views share, and the median squared error in px^2 it leaves."""
        shared = np.intersect1d(before.ids, after.ids)
        if len(shared) < max(self.config.min_points, _MIN_SHARED * len(after.ids)):
            return None
        a, b = before.ideal[_rows(before.ids, shared)], after.ideal[_rows(after.ids, shared)]
        turn = fit_rotation(a, b, self._focal_px(after))
        return turn, float(np.median(rotation_error2(turn, a, b, self._focal_px(after))))

    def _focal_px(self, view: StartView) -> float:
        return view.view.lens.focal_px * self.zoom

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
            fit = self._compare(self._views[first], newest)
            if fit is not None:
                break
        else:
            return None
        _, cost = fit
        # A try costs tens of milliseconds: wait until the evidence has grown.
        if cost < 1.5 or 0.8 * self._tried_cost < cost < 1.2 * self._tried_cost:
            return None
        self._tried_cost = cost
        chosen = tuple(sorted(set(np.linspace(first, len(self._views) - 1, _VIEWS_USED).astype(int).tolist())))
        views = [self._views[k] for k in chosen]
        shared = views[0].ids
        for view in views[1:]:
            shared = np.intersect1d(shared, view.ids)
        pixels = np.stack([v.ideal[_rows(v.ids, shared)] for v in views])
        start = start_map(pixels, self._focal_px(newest), self.config)
        if start is None:
            return None
        turn = self._turn_from_anchor(views[0])
        if turn is not None:
            start = start.seen_from(turn)
        return FirstMap(tuple(self._views), chosen, shared, start, self._focal_px(newest), turn is not None)

    def _turn_from_anchor(self, view: StartView) -> F64 | None:
        """Rotation (3, 3) camera_from_anchor; None where nobody was told of the anchor, or it is out of sight."""
        if self._anchor is None or not self.is_told:
            return None
        if view is self._anchor:
            return np.eye(3)
        fit = self._compare(self._anchor, view)
        return None if fit is None else fit[0]


def turned(pixels: F32, turn: F64, before: Lens, after: Lens) -> F32:
    """Where pixels (n, 2) go when the camera only turns."""
    ahead = np.column_stack([before.ideal(pixels) / before.focal_px, np.ones(len(pixels))]) @ turn.T
    ahead[:, 2] = np.maximum(ahead[:, 2], 0.1)
    return after.pixels(after.focal_px * ahead[:, :2] / ahead[:, 2:])


def _rows(ids: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where the wanted ids stand; ids are ascending."""
    return np.asarray(np.searchsorted(ids, wanted), np.int64)
