"""The fused map of one scene: keyframes of many phones in, one metric, gravity-aligned world out.

Read it as a story: a keyframe is *observed* (what it tells about up, scale and markers is kept), *placed* (its depth
arrives, its pose becomes part of the world), *fused* (its depth goes into the volume) and, when the tracker learns
better, *corrected*. Every step returns what it changed; nothing here waits, sends or writes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from mapping import window_pairs
from mapping.changes import KeyframeId, MapChange, VoxelSource, seq_of
from mapping.component import Component, StreamOptions
from mapping.connections import Connections
from mapping.engines import WindowPrediction
from mapping.fusion import Fusion
from mapping.kept import STILL_M, STILL_RAD, SURE, ComponentKey, Fused, Kept, KeptKeyframes, Points
from mapping.metric import markers, upright_lines
from mapping.places import matching, similarity
from mapping.places.agreement import Config as AgreementConfig
from mapping.places.agreement import Seen
from mapping.places.place import Place
from mapping.places.storing import BEFORE
from mapping.placing import keep, keyframe_id, own_depth, predicted_depths
from mapping.status import Status
from mapping.tracking.tracked import Tracked
from mapping.transforms import F64, Sim3, angle_between
from mapping.volume import depth as depth_maps
from mapping.volume import surface, tsdf, visibility
from mapping.volume.depth import working_size
from mapping.volume.visibility import DepthView, Sight
from mapping.world import World
from mapping.world_state import WorldState
from streams.frame import DepthMap, Frame, Intrinsics, StreamId

__all__ = ["Config", "Points", "SceneMap", "Status", "StreamOptions", "warm_up"]

_LOG = logging.getLogger(__name__)
_NOTICEABLE = 20.0
"""Times that: people see the difference."""


class Config(BaseModel):
    """How a scene's map is built."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    volume: tsdf.Config = tsdf.Config()
    marker: markers.Config = markers.Config()
    """The printed markers to look for."""
    depth_side_px: int = Field(default=256, ge=32)
    """Long side at which depth is fused and kept."""
    fuse_batch: int = Field(default=16, ge=1)
    """Keyframes that one call of `fuse` brings in, so that nobody waits long for the map."""
    max_keyframes: int = Field(default=1500, ge=2)
    """Keyframes kept for re-fusion; when full, the one most like its neighbours goes, its voxels stay."""
    agreement: AgreementConfig = AgreementConfig()
    """What it takes to merge the maps of phones that saw one place."""


class SceneMap:
    """One world. One caller at a time."""

    def __init__(self, config: Config = Config()) -> None:  # noqa: B008
        self._config = config
        self._kept = KeptKeyframes(config.max_keyframes)
        self._world = World(self._kept)
        self._fusion = Fusion(config.volume, self._kept, self._world.around)
        self._finder = markers.MarkerFinder(config.marker) if config.marker.search else None
        self._connections = Connections(config.agreement, self._world, self._kept)

    # The story

    def observe(self, tracked: Tracked, frame: Frame) -> None:
        """Take a new keyframe in: its pose, and what it says about up, scale and markers. Needs no depth.

        Frames that are not tracked are passed over. For corrections to apply, keyframes should be nodes of the tracker.
        """
        if tracked.state != "tracked" or tracked.component_from_camera is None:
            return
        component = self._world.enter((frame.stream, tracked.component), is_posed=frame.pose is not None)
        pose = tracked.corrected.get(frame.seq, tracked.component_from_camera)
        seen = self._finder.find(frame.image.gray, tracked.intrinsics) if self._finder is not None else []
        edges = None if component.is_posed else upright_lines.find_edges(frame.image.gray, tracked.intrinsics)
        component.observe(frame, pose, tracked.landmarks_component, seen, edges)
        if component.world_from_component is None:
            self._world.try_to_align(component)
            self._connections.hang()
        elif seen:
            self._world.learn_from(component)
            if self._world.refine(component):
                self._fusion.wait_if_moved(self._kept.of(component.key))

    def place(self, tracked: Tracked, frame: Frame, prediction: WindowPrediction | None = None) -> MapChange:
        """Give an observed keyframe its depth: the engine's, or the frame's own where `prediction` is None.

        How it lies to keyframes that the tracker cannot vouch for, if the engine says so, is heard as in `recognise`.

        Raises:
            ValueError: the keyframe was not observed, there is no depth, or it does not fit the rest.
        """
        component = self._world.components.get((frame.stream, tracked.component))
        pose = component.pose(frame.seq) if component is not None else None
        if component is None or pose is None:
            raise ValueError(f"keyframe {frame.stream}/{frame.seq} was not observed before it was placed")
        depths = {} if prediction is None else predicted_depths(component, prediction)
        depth = own_depth(frame) if prediction is None else depths.pop(prediction.views[-1].keyframe)
        kept = keep(component, pose, tracked, frame, working_size(depth, self._config.depth_side_px))
        gone = self._kept.add(kept)
        if gone is not None:
            self._fusion.forget(gone)
        self._fusion.wait(kept)
        placed = self._poses([*self._look_again(component, depths), kept])
        if prediction is None:
            return self._change(placed)
        moved = self.recognise(window_pairs.pairs_of(prediction, self._kept.get, component.poses))
        return replace(moved, poses=placed | moved.poses)

    def fuse(self) -> MapChange:
        """Bring waiting keyframes into the volume; opens a new epoch first when up or scale are known better.

        At most `fuse_batch` keyframes a call; `status.num_pending` tells what is left. A new epoch may begin with an
        empty volume: until the calls after it have brought everything in again (`status.is_rebuilding`), what the
        volume holds is not the map.
        """
        moved = self._world.reconsider()
        dirty = [] if moved is None else self._follow(*moved)
        batch = self._fusion.pending()[: self._config.fuse_batch]
        news = self._poses(kept for kept in batch if self._fusion.is_new(kept))
        dirty += self._fusion.step(batch)
        if moved is None:
            return self._change(news, dirty)
        new_from_old, reason = moved
        return replace(self._change(self.keyframe_poses(), dirty), new_from_old=new_from_old, reason=reason)

    def correct(self, tracked: Tracked) -> MapChange:
        """Take over `tracked.corrected`; keyframes that moved noticeably are fused anew by the next `fuse`."""
        component = self._world.components.get((tracked.stream, tracked.component))
        if component is None or not tracked.corrected:
            return self._change()
        component.correct(tracked.corrected)
        moved = []
        for seq, pose in tracked.corrected.items():
            kept = self._kept.get(keyframe_id(tracked.stream, seq))
            if kept is not None and kept.component == component.key:
                kept.component_from_camera = pose
                moved.append(kept)
        self._fusion.wait_if_moved(moved)
        return self._change(self._poses(moved))

    def recognise(self, seen: Iterable[Seen]) -> MapChange:
        """Take in pairs of keyframes that show one place; where enough agree, components come to lie in the world.

        What lies in it gives way: a walk that came back to where it had been is closed, drift is shared out. The next
        `fuse` opens a new epoch for a merge, and for a noticeable bend: published geometry moves bit by bit as it is
        fused anew, but poses mean more from then on.
        """
        self._connections.hear(seen)
        if not self._connections.is_due(len(self._kept)):
            return self._change()
        before = self.keyframe_poses()
        self._connections.move()
        now = self.keyframe_poses()
        moved = {key: pose for key, pose in now.items() if key not in before or _is_apart(before[key], pose, 1.0)}
        if any(key in before and _is_apart(before[key], pose, _NOTICEABLE) for key, pose in moved.items()):
            self._world.tell_of_loop()
        self._fusion.wait_if_moved(kept for key in moved if (kept := self._kept.get(key)) is not None)
        return self._change(moved)

    # What people and other parts of the house know

    def join(self, stream: StreamId, options: StreamOptions) -> None:
        """Tell what is known about a phone before its first keyframe; without it, the defaults hold."""
        self._world.join(stream, options)

    def align(self, stream: StreamId, component: int, world_from_component: Sim3) -> MapChange:
        """Put a component where somebody (place recognition, a person) found it to lie in the world.

        Raises:
            ValueError: no such component, or it is the one that the world stands on.
        """
        known = self._world.components.get((stream, component))
        if known is None:
            raise ValueError(f"there is no component {component} of {stream} to align")
        self._world.put(known, world_from_component)
        kept = self._kept.of(known.key)
        self._fusion.wait_if_moved(kept)
        return self._change(self._poses(kept))

    def declare_distance(self, a_world: F64, b_world: F64, distance_m: float) -> None:
        """Somebody measured the distance between two points (3,) of the map: a scale cue for the next `fuse`.

        Raises:
            ValueError: see `World.declare_distance`.
        """
        self._world.declare_distance(a_world, b_world, distance_m, 0.5 * self._config.volume.voxel_size_m)

    def declare_markers(self, config: markers.Config) -> None:
        """Look for printed markers of this kind from the next keyframe on; those seen before were of that size, too."""
        self._world.declare_markers(config, was_size_m=(self._world.state.declared or self._config.marker).size_m)
        self._finder = markers.MarkerFinder(config)

    def declare_camera_height(self, stream: StreamId, height_m: float) -> None:
        """Somebody says how high above the floor a phone is carried: a scale cue for the next `fuse`."""
        self._world.declare_camera_height(stream, height_m)

    # What the map shows

    @property
    def voxels(self) -> VoxelSource:
        """The volume; copy windows out of it between calls, not during them."""
        return self._fusion.volume

    @property
    def status(self) -> Status:
        """What a person should know about this map by now."""
        state, components = self._world.state, self._world.components
        return Status(
            epoch=state.epoch,
            scale_source=state.scale_source,
            scale_sigma=state.scale_sigma,
            scale_contradicted_by=state.scale_contradicted_by,
            gravity_source=state.gravity_source,
            gravity_sigma_deg=state.gravity_sigma_deg,
            aligned=tuple(self.components_in_world()),
            unaligned=tuple(key for key, c in components.items() if c.world_from_component is None),
            num_keyframes=len(self._kept),
            num_pending=len(self._fusion.pending()),
            is_rebuilding=self._fusion.is_rebuilding,
            num_blocks=self._fusion.volume.num_blocks,
            is_full=self._fusion.volume.is_full,
        )

    def world_from_component(self, stream: StreamId, component: int, seq: int | None = None) -> Sim3 | None:
        """Where a tracker's component lies in the world; None while it does not (nothing of it is fused).

        The map bends: with `seq`, around that frame, as every pose has to be answered; without, on the whole.
        """
        known = self._world.components.get((stream, component))
        if known is None:
            return None
        return known.world_from_component if seq is None else known.world_around(seq)

    def keyframe_poses(self) -> dict[KeyframeId, F64]:
        """world_from_camera (4, 4) of every kept keyframe that lies in the world: what a late joiner needs."""
        return self._poses(self._kept)

    def keyframe_cameras(self) -> list[tuple[KeyframeId, F64, Intrinsics]]:
        """Each kept keyframe in the world: its id, world_from_camera (4, 4) and the camera of its depth map."""
        return [
            (k.id, w.apply_pose(k.component_from_camera), k.intrinsics)
            for k in self._kept
            if (w := self._world.around(k)) is not None
        ]

    def depth_view(self, keyframe: KeyframeId) -> DepthView | None:
        """How far a keyframe surely saw, and from where; None when it is unknown, unaligned or no longer kept."""
        kept = self._kept.get(keyframe)
        world = self._world.around(kept) if kept is not None else None
        if kept is None or world is None:
            return None
        sure = np.where(kept.confidence >= 255 * SURE, kept.depth, np.float16(0))
        return DepthView(world.apply_pose(kept.component_from_camera), kept.intrinsics, sure, world.scale)

    def standing(self, keyframe: KeyframeId) -> Fused | None:
        """How a keyframe lies in the world by now; None when it is unknown, unaligned or no longer kept."""
        kept = self._kept.get(keyframe)
        return None if kept is None else self._fusion.standing(kept)

    def keyframe_points(self, keyframe: KeyframeId, max_points: int = 2000) -> Points | None:
        """A keyframe's sure depth pixels, evenly sampled; None when it is unknown, unaligned or no longer kept."""
        kept = self._kept.get(keyframe)
        world = self._world.around(kept) if kept is not None else None
        if kept is None or world is None:
            return None
        points, rgb = kept.points_camera(SURE, max_points)
        return Points(points * np.float32(world.scale), rgb)

    def line_of_sight(self, eye_m: F64, target_m: F64) -> Sight:
        """Whether a world point (3,) is visible from another, by the volume and by what the kept keyframes saw through.

        Raises:
            ValueError: see `visibility.line_of_sight`.
        """
        return self._fusion.line_of_sight(eye_m, target_m)

    def blocks(self, keys: NDArray[np.int32]) -> tsdf.Blocks:
        """Copy voxels (n, 3 NDArray[np.int32]) to be stored; keys of blocks that do not exist are left out."""
        return self._fusion.volume.blocks(keys)

    # What is kept, and forgotten

    def snapshot(self) -> WorldState:
        """What has to be stored beside the voxels to go on after a restart."""
        return self._world.state

    def restore(self, blocks: tsdf.Blocks, state: WorldState) -> None:
        """Go on from a stored volume: its world is settled, so no later cue turns it, or scales it twice.

        Raises:
            ValueError: keyframes were observed already, or the blocks do not fit (see `Tsdf.load`).
        """
        if self._world.components:
            raise ValueError("restore a map before its first keyframe")
        self._fusion.load(blocks)
        self._world.settle(state)
        if state.declared is not None:
            self._finder = markers.MarkerFinder(state.declared)

    def remember(self, places: Iterable[Place]) -> None:
        """Let phones be recognised in places of before a restart (`BEFORE`), which lie in the restored world."""
        self._connections.remember(places)

    def bend_around(self, place: Place) -> Sim3:
        """What the map has corrected around a place, in its component's frame."""
        known = self._world.components.get(place.component)
        if known is None or known.placement is None:
            return Sim3.identity()
        return known.placement.bend(seq_of(place.keyframe))

    def components_in_world(self) -> dict[ComponentKey, Sim3]:
        """world_from_component of every component that lies in the world."""
        places = {key: c.world_from_component for key, c in self._world.components.items() if key != BEFORE}
        return {key: place for key, place in places.items() if place is not None}

    def keeps(self, keyframe: KeyframeId) -> bool:
        """Whether a keyframe is still kept with its depth: when there are too many, the ones that say least go."""
        return self._kept.get(keyframe) is not None

    def knows(self, stream: StreamId) -> bool:
        """Whether anything of a phone is kept here."""
        return any(key[0] == stream for key in self._world.components)

    def forget(self, stream: StreamId) -> list[KeyframeId]:
        """Drop a phone's keyframes with their pictures, poses and cues; returns their ids. Its voxels stay."""
        gone = self._kept.forget(stream)
        for kept in gone:
            self._fusion.forget(kept)
        self._world.forget(stream)
        self._connections.forget(stream)
        return [kept.id for kept in gone]

    def _follow(self, new_from_old: Sim3, reason: str) -> list[NDArray[np.int32]]:
        """Let the volume follow the world into a new epoch; returns the blocks that changed."""
        if reason in ("merge", "loop"):
            return []
        _LOG.info("map epoch %d (%s) with %d keyframes", self._world.state.epoch, reason, len(self._kept))
        return [self._fusion.start_anew() if reason == "restart" else self._fusion.follow(new_from_old)]

    def _look_again(self, component: Component, depths: dict[KeyframeId, DepthMap]) -> list[Kept]:
        """Give keyframes that are kept the better depth an engine has for them by now; returns those it is for."""
        seen = [(known, depth) for key, depth in depths.items() if (known := self._kept.get(key)) is not None]
        better = [(known, depth) for known, depth in seen if known.component == component.key]
        for known, depth in better:
            known.look_again(working_size(depth, self._config.depth_side_px))
            self._fusion.wait(known)
        return [known for known, _ in better]

    def _poses(self, keyframes: Iterable[Kept]) -> dict[KeyframeId, F64]:
        """world_from_camera (4, 4) of those that lie in the world."""
        return {
            kept.id: world.apply_pose(kept.component_from_camera)
            for kept in keyframes
            if (world := self._world.around(kept)) is not None
        }

    def _change(self, poses: dict[KeyframeId, F64] | None = None, dirty: Iterable[NDArray[np.int32]] = ()) -> MapChange:
        blocks = np.concatenate([np.empty((0, 3), np.int32), *dirty])
        return MapChange(self._world.state.epoch, poses or {}, np.unique(blocks, axis=0))


def _is_apart(a: F64, b: F64, times: float) -> bool:
    off_m = float(np.linalg.norm(a[:3, 3] - b[:3, 3]))
    return off_m > times * STILL_M or angle_between(a[:3, :3], b[:3, :3]) > times * STILL_RAD


def warm_up() -> None:
    """Compile every kernel of the map, so that the first keyframe is not slow."""
    tsdf.warm_up()
    depth_maps.warm_up()
    surface.warm_up()
    visibility.warm_up()
    matching.warm_up()
    similarity.warm_up()
