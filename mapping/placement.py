"""Where a component lies in the world: one similarity for all of it, and what is corrected around each keyframe.

A tracker goes on in a frame of its own, which nobody bends; what place recognition knows better is put on top of it. A
frame lies where the newest keyframe before it was put, so that a phone's poses are as smooth as its tracker's and jump
only when the map learns something.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass

from mapping.transforms import Sim3


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """Replaced as a whole, never changed: other threads may read it."""

    world_from_component: Sim3
    """For all of it: what the component's cues about up and scale are carried by."""
    seqs: tuple[int, ...] = ()
    """Keyframes that were corrected, ascending."""
    around_keyframe: tuple[Sim3, ...] = ()
    """component_from_component for each of them: applied before `world_from_component`."""

    @classmethod
    def bent(cls, world_from_component: Sim3, world_around: Mapping[int, Sim3]) -> Placement:
        """From where keyframes, by seq, want the component to lie in the world."""
        component_from_world, seqs = world_from_component.inverse(), tuple(sorted(world_around))
        return cls(world_from_component, seqs, tuple(component_from_world @ world_around[seq] for seq in seqs))

    def around(self, seq: int) -> Sim3:
        """world_from_component around the frame of that number."""
        return self.world_from_component @ self.bend(seq) if self.seqs else self.world_from_component

    def bend(self, seq: int) -> Sim3:
        """What is corrected around that frame, in the component's frame."""
        newest = max(0, bisect_right(self.seqs, seq) - 1)
        return self.around_keyframe[newest] if self.seqs else Sim3.identity()
