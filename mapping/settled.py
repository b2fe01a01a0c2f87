"""A world that nobody carries any more: restored after a restart, or its phones were deleted. It may still learn its
scale, once: from a typed distance, or from phones that come back into it and know theirs.
"""

from __future__ import annotations

from collections.abc import Iterable

from mapping.component import Component
from mapping.kept import KeptKeyframes
from mapping.metric import anchor, scale
from mapping.metric.scale import Scale
from mapping.transforms import Sim3

_TIE_SIGMA = 0.02
"""Relative error of the scale between components whose place recognition found."""


class Settled:
    """What is told while it is so. One caller at a time."""

    def __init__(self) -> None:
        self.distances: list[Scale] = []
        """Typed: metres for one metre of the world."""
        self._looked_at = -1

    def look_again(self) -> None:
        """There may be news."""
        self._looked_at = -1

    def scale(self, here: Iterable[Component], kept: KeptKeyframes) -> Scale | None:
        """By what all cues together stretch the world; None while there is none, or it is not time to look.

        Args:
            here: the components that lie in the world.
        """
        phones = [component for component in here if component.num_observed]
        num = sum(component.num_observed for component in phones)
        if self._looked_at >= 0 and (num == self._looked_at or not anchor.is_time_to_look(num)):
            return None
        self._looked_at = num
        return scale.fuse([*self.distances, *told_by(phones, Sim3.identity(), kept)])


def told_by(others: Iterable[Component], reference_from_world: Sim3, kept: KeptKeyframes) -> list[Scale]:
    """Scale cues of phones that lie in the world, in the unit of something else that does."""
    told = []
    for other in others:
        if other.world_from_component is None:
            continue
        units = (reference_from_world @ other.world_from_component).scale
        mine = kept.of(other.key)
        told += [cue.through(units, _TIE_SIGMA) for cue in other.scale_cues(mine, other.gravity(mine).up)]
    return told
