"""A window that waits for its prediction, and what becomes of those that get none."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from mapping.changes import KeyframeId
from mapping.engines import Window, WindowPrediction


class NoPrediction(Exception):
    """Why a window got no prediction; the subclasses say which of the reasons it was."""


class Superseded(NoPrediction):
    """A newer window of the same stream took its place before it started."""


class Expired(NoPrediction):
    """It did not start before its deadline."""


class JobFailed(NoPrediction):
    """The engine refused it, or workers died over it."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind, self.message = kind, message
        """`kind` is the engine's exception, `quarantined` (workers died over it), `unavailable` (no worker could be
        started) or `closed`."""


@dataclass(slots=True, eq=False)
class Work:
    """A window and whoever waits for its prediction."""

    window: Window
    result: asyncio.Future[WindowPrediction]
    deaths: int = 0
    """Workers that died while they had it, in company or alone."""
    deaths_alone: int = 0

    @property
    def shape(self) -> tuple[tuple[int, ...], ...]:
        """Windows of one shape may run together."""
        return tuple(view.rgb.shape for view in self.window.views)

    @property
    def keyframes(self) -> list[KeyframeId]:
        return [view.keyframe for view in self.window.views]

    def resolve(self, outcome: WindowPrediction | NoPrediction) -> None:
        """Tell whoever waits, if somebody still does."""
        if self.result.done():
            return
        if isinstance(outcome, NoPrediction):
            self.result.set_exception(outcome)
        else:
            self.result.set_result(outcome)
