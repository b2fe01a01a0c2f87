"""Windows into the memory that a worker shares, and its answers out of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapping.engines import View, ViewPrediction, Window, WindowPrediction
from server.workers.arena import Arena
from server.workers.messages import ArrayRef, Predicted, ViewRef


def placed(windows: Sequence[Window], arena: Arena) -> list[list[ViewRef]]:
    """Put the arrays of all windows of one job into the memory.

    Raises:
        ArenaFull: they do not fit.
    """
    arrays: list[NDArray[Any]] = []

    def index(array: NDArray[Any] | None) -> int | None:
        if array is None:
            return None
        arrays.append(array)
        return len(arrays) - 1

    def of(view: View) -> tuple[View, int | None, int | None, int | None]:
        return view, index(view.rgb), index(view.prior_window_from_camera), index(view.landmarks_window)

    places = [[of(view) for view in window.views] for window in windows]
    refs = arena.place(arrays)

    def ref(i: int | None) -> ArrayRef | None:
        return None if i is None else refs[i]

    return [
        [
            ViewRef(view.keyframe, refs[rgb or 0], view.intrinsics, ref(prior), ref(landmarks))
            for view, rgb, prior, landmarks in views
        ]
        for views in places
    ]


def collected(answer: Predicted, arena: Arena) -> WindowPrediction:
    """Copy a prediction out of the memory."""

    def copy(ref: ArrayRef | None) -> NDArray[Any] | None:
        return None if ref is None else arena.memory.view(ref).copy()

    return WindowPrediction(
        tuple(
            ViewPrediction(
                keyframe=view.keyframe,
                window_from_camera=np.array(arena.memory.view(view.window_from_camera), np.float64),
                intrinsics=view.intrinsics,
                depth=copy(view.depth),
                confidence=copy(view.confidence),
                descriptor=copy(view.descriptor),
                own_from_camera=copy(view.own_from_camera),
            )
            for view in answer.views
        )
    )
