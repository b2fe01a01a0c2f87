"""Which keyframes an engine sees together with a new one: the last few, older ones that look alike, and the first ones.

Nobody waits for a window to fill: every new keyframe has one. Descriptors come later, from the engine that saw the
keyframe or from whoever describes places, so a new keyframe is looked up by the newest one that has a descriptor.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from mapping.changes import KeyframeId
from streams.frame import StreamId

Walk = tuple[StreamId, int]
"""A stream's component: keyframes whose poses have one frame and one unit."""


class Config(BaseModel):
    """How a window is gathered; at most `recent + retrieved + anchors` keyframes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recent: int = Field(default=12, ge=1)
    """The newest ones, the new one included."""
    retrieved: int = Field(default=0, ge=0)
    """Older ones that look more like where the camera is now than the least alike of the newest; `recent` is 3 or
    more where there shall be some."""
    elsewhere: int = Field(default=0, ge=0)
    """So many of those may be of other walks: who sees them together can tell how walks lie to each other."""
    anchors: int = Field(default=0, ge=0)
    """The first ones of the walk: they hold a long window sequence to one beginning."""
    remembered: int = Field(default=512, ge=2)
    """Descriptors of one walk; when so many are held, every other one goes."""


class WindowPolicy:
    """Chooses windows for the walks (a stream's components) of one scene. Pure: knows names, no pictures."""

    def __init__(self, config: Config = Config()) -> None:  # noqa: B008
        self._config = config
        self._walks: dict[Walk, _Known] = {}

    def choose(
        self, walk: Walk, keyframe: KeyframeId, is_here: Callable[[KeyframeId], bool] = lambda _: True
    ) -> tuple[KeyframeId, ...]:
        """Take in a walk's new keyframe; returns its window: its own walk's oldest first and the new one last, before
        them those of other walks.

        Args:
            is_here: whether an earlier keyframe's picture is still to be had; those without are not chosen.
        """
        if walk not in self._walks:  # others may have ended: of whom no picture is left, nothing is remembered
            self._walks = {other: known for other, known in self._walks.items() if known.has_any(is_here)}
        known = self._walks.setdefault(walk, _Known(self._config))
        known.add(keyframe)
        recent = [k for k in known.newest if k == keyframe or is_here(k)]
        fixed = {*recent, *filter(is_here, known.first)}
        own = {k: looks for k, looks in known.descriptors.items() if k not in fixed and is_here(k)}
        most = min(self._config.elsewhere, self._config.retrieved)
        others = known.alike(recent, self._elsewhere(walk, is_here), most)
        alike = known.alike(recent, own, self._config.retrieved - len(others))
        return (*others, *sorted({*fixed, *alike}, key=known.age.__getitem__))

    def describe(self, walk: Walk, keyframe: KeyframeId, descriptor: NDArray[np.float32]) -> None:
        """Say what a chosen keyframe looks like: (n,) of unit length, from one source for all keyframes of a walk."""
        if (known := self._walks.get(walk)) is not None and keyframe in known.age:
            known.describe(keyframe, descriptor)

    def forget(self, stream: StreamId) -> None:
        """Drop all that a stream did."""
        self._walks = {walk: known for walk, known in self._walks.items() if walk[0] != stream}

    def _elsewhere(self, walk: Walk, is_here: Callable[[KeyframeId], bool]) -> dict[KeyframeId, NDArray[np.float32]]:
        if not self._config.elsewhere:
            return {}
        others = (known.descriptors.items() for other, known in self._walks.items() if other != walk)
        return {keyframe: looks for items in others for keyframe, looks in items if is_here(keyframe)}


class _Known:
    """One component's keyframes as they came."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._count = 0
        self.age: dict[KeyframeId, int] = {}
        """When each keyframe came, of those that may still be chosen."""
        self.first: list[KeyframeId] = []
        self.newest: deque[KeyframeId] = deque(maxlen=config.recent)
        self.descriptors: dict[KeyframeId, NDArray[np.float32]] = {}

    def add(self, keyframe: KeyframeId) -> None:
        if keyframe in self.age:
            return
        before = self.newest[0] if len(self.newest) == self._config.recent else None
        self.age[keyframe] = self._count
        self._count += 1
        self.newest.append(keyframe)
        if len(self.first) < self._config.anchors:
            self.first.append(keyframe)
        if before is not None:
            self._leave_out([before])

    def has_any(self, is_here: Callable[[KeyframeId], bool]) -> bool:
        """Whether anything is left that may be chosen."""
        return any(map(is_here, self.age))

    def describe(self, keyframe: KeyframeId, descriptor: NDArray[np.float32]) -> None:
        if not self._config.retrieved:
            return
        self.descriptors[keyframe] = descriptor
        if len(self.descriptors) > self._config.remembered:
            gone = sorted(self.descriptors, key=self.age.__getitem__)[1:-1:2]
            for old in gone:
                del self.descriptors[old]
            self._leave_out(gone)

    def alike(
        self, recent: Collection[KeyframeId], candidates: Mapping[KeyframeId, NDArray[np.float32]], most: int
    ) -> list[KeyframeId]:
        """The candidates most like the newest described keyframe, if they are as alike as one of the recent ones."""
        described = [k for k in recent if k in self.descriptors]
        if len(described) < 2 or not candidates or not most:
            return []
        here = self.descriptors[described[-1]]
        least = min(float(self.descriptors[k] @ here) for k in described[:-1])
        likeness = np.array([looks @ here for looks in candidates.values()])
        best = np.argsort(-likeness, kind="stable")[:most]
        names = list(candidates)
        return [names[n] for n in best if likeness[n] >= least]

    def _leave_out(self, keyframes: Collection[KeyframeId]) -> None:
        """Forget the ages of keyframes that can be chosen no more."""
        for keyframe in keyframes:
            if not any(keyframe in kept for kept in (self.newest, self.first, self.descriptors)):
                del self.age[keyframe]
