"""The volume and what stands in it: which keyframes wait to be fused, which have to be taken back first.

A keyframe stands in the volume as it was when it was fused (`Kept.fused_as`). Where its pose, its component's place or
its depth is known better by now, it waits; fusing it takes back what it had put elsewhere. A new epoch empties the
volume and lets all of them wait, unless it holds what none of them could bring back: then it moves as it is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mapping.changes import KeyframeId
from mapping.kept import Fused, Kept, KeptKeyframes
from mapping.transforms import F64, Sim3
from mapping.volume import tsdf
from mapping.volume.moving import moved
from mapping.volume.visibility import DepthView, Sight, line_of_sight

_LOG = logging.getLogger(__name__)
_MOVED_VOXELS = 1.0
_MOVED_DEG = 0.5


class Fusion:
    """Keeps a volume in step with kept keyframes. One caller at a time."""

    def __init__(self, config: tsdf.Config, kept: KeptKeyframes, world_around: Callable[[Kept], Sim3 | None]) -> None:
        """`world_around`: world_from_component around a keyframe; None while it does not lie in the world."""
        self.volume = tsdf.Tsdf(config)
        self._kept, self._world_around = kept, world_around
        self._max_moved_m, self._max_moved_rad = _MOVED_VOXELS * config.voxel_size_m, float(np.radians(_MOVED_DEG))
        self._waiting: dict[KeyframeId, None] = {}
        """Keyframes to be fused, in the order of their coming; those outside the world wait for their component."""
        self._anew: set[KeyframeId] = set()
        """Those of them that stood in the volume of the epoch before: while there are some, the map is not whole."""
        self._outlived = False
        """Whether voxels stand in it whose keyframes are gone: restored, deleted, or too many."""

    @property
    def is_rebuilding(self) -> bool:
        """Whether the volume does not hold all of the map yet, for an epoch has begun."""
        return bool(self._anew)

    def pending(self) -> list[Kept]:
        """Keyframes that wait and can be fused: those of components that lie in the world."""
        waiting = (self._kept.get(keyframe) for keyframe in self._waiting)
        return [kept for kept in waiting if kept is not None and self._world_around(kept) is not None]

    def standing(self, kept: Kept) -> Fused | None:
        """How a keyframe would stand in the volume as it is now; None while it does not lie in the world."""
        world = self._world_around(kept)
        return None if world is None else kept.fused_in(world)

    def is_new(self, kept: Kept) -> bool:
        """Whether a pending keyframe is not one that the epoch before had fused already."""
        return kept.id not in self._anew

    def wait(self, kept: Kept) -> None:
        """Let one of the next steps bring a keyframe in, whether it moved or not."""
        self._waiting[kept.id] = None

    def wait_if_moved(self, keyframes: Iterable[Kept]) -> None:
        """Let the next steps bring these in, unless they stand in the volume near enough already."""
        for kept in keyframes:
            before, now = kept.fused_as, self.standing(kept)
            if before is None or now is None or now.is_apart(before, self._max_moved_m, self._max_moved_rad):
                self.wait(kept)

    def load(self, blocks: tsdf.Blocks) -> None:
        """Put stored blocks into the volume.

        Raises:
            ValueError: they do not fit (see `Tsdf.load`).
        """
        self.volume.load(blocks)
        self._outlived = True

    def forget(self, gone: Kept) -> None:
        """Wait no more for a keyframe that is no longer kept; its voxels stay."""
        self._waiting.pop(gone.id, None)
        self._outlived |= gone.fused_as is not None

    def start_anew(self) -> NDArray[np.int32]:
        """Empty the volume and let every kept keyframe wait to be fused where it lies in the world as it is now."""
        for kept in self._kept:
            kept.fused_as = None
        self._outlived = False
        self._waiting = dict.fromkeys(kept.id for kept in self._kept)
        self._anew = {kept.id for kept in self.pending()}
        return self.volume.clear()

    def follow(self, new_from_old: Sim3) -> NDArray[np.int32]:
        """Let the volume be of a world that moved; returns the blocks that changed."""
        if not self._outlived:
            return self.start_anew()
        dirty = self._move(new_from_old)
        self.wait_if_moved(self._kept)
        return dirty

    def step(self, batch: Iterable[Kept]) -> list[NDArray[np.int32]]:
        """Fuse pending keyframes as they stand now; returns the blocks that changed, keyframe by keyframe."""
        dirty = [self._integrate(kept) for kept in batch]
        self._anew &= {kept.id for kept in self.pending()}
        return dirty

    def line_of_sight(self, eye_m: F64, target_m: F64) -> Sight:
        """See `visibility.line_of_sight`: by the volume and by what the keyframes in it saw through, newest first."""
        views = (
            DepthView(f.world_from_camera, kept.intrinsics, f.depth, f.metres_per_unit)
            for kept in reversed(list(self._kept))
            if (f := kept.fused_as) is not None
        )
        return line_of_sight(self.volume, eye_m, target_m, views)

    def _integrate(self, kept: Kept) -> NDArray[np.int32]:
        now = self.standing(kept)
        assert now is not None
        dirty = []
        if (before := kept.fused_as) is not None:
            dirty.append(self.volume.withdraw(kept.depth_m(before), before.world_from_camera))
        dirty.append(self.volume.integrate(kept.depth_m(now), now.world_from_camera, kept.rgb))
        kept.fused_as = now
        del self._waiting[kept.id]
        return np.concatenate(dirty)

    def _move(self, new_from_old: Sim3) -> NDArray[np.int32]:
        """Bring the volume as it is to where its world lies now; keyframes that stand in it go on standing in it."""
        made = moved(self.volume, new_from_old)
        room = self.volume.max_blocks
        if len(made.keys) > room:
            _LOG.warning("the map grew beyond its %d blocks: the %d least seen are gone", room, len(made.keys) - room)
            made = made.only(np.sort(np.argsort(-made.weight.sum(axis=(1, 2, 3)), kind="stable")[:room]))
        before = self.volume.clear()
        self.volume.load(made)
        for kept in self._kept:
            if (fused := kept.fused_as) is not None:
                kept.fused_as = replace(
                    fused,
                    world_from_camera=new_from_old.apply_pose(fused.world_from_camera),
                    metres_per_unit=new_from_old.scale * fused.metres_per_unit,
                )
        return np.concatenate([before, made.keys])
