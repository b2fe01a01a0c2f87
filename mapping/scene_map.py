"""The fused map of one scene: keyframes of many phones in, one metric, gravity-aligned world out.

Read it as a story: a keyframe is *observed* (what it tells about up, scale and markers is kept), *placed* (its depth
arrives, its pose becomes part of the world), *fused* (its depth goes into the volume) and, when the tracker learns
better, *corrected*. Every step returns what it changed; nothing here waits, sends or writes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from mapping import anchor, markers, scale, tsdf
from mapping.alignment import fit_cameras
from mapping.anchor import Anchor
from mapping.changes import KeyframeId, MapChange, VoxelSource
from mapping.component import Component
from mapping.depth import working_size
from mapping.engines import ViewPrediction, WindowPrediction
from mapping.kept import ComponentKey, Kept, KeptKeyframes
from mapping.tracker import Tracked
from mapping.transforms import F64, Sim3, angle_between, invert
from mapping.world import WorldState
from streams.frame import DepthMap, Frame, Intrinsics, StreamId

_LOG = logging.getLogger(__name__)


class Config(BaseModel):
    """How a scene's map is built."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    volume: tsdf.Config = tsdf.Config()
    marker: markers.Config | None = None
    """The printed markers to look for; None = none."""
    depth_side_px: int = Field(default=256, ge=32)
    """Long side at which depth is fused and kept."""
    fuse_batch: int = Field(default=16, ge=1)
    """Keyframes that one call of `fuse` brings in, so that nobody waits long for the map."""
    max_keyframes: int = Field(default=1500, ge=2)
    """Keyframes kept for re-fusion; when full, the one most like its neighbours goes, its voxels stay."""


class StreamOptions(BaseModel):
    """What is known about one phone beforehand."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: Literal["own", "shared"] = "own"
    """`shared`: this phone starts at the very pose at which the map's first phone started."""
    world: str | None = None
    """Posed streams that name the same world are taken to share their coordinates."""
    camera_height_m: float | None = Field(default=None, gt=0)
    """How high above the floor the camera is carried: a scale cue."""


@dataclass(frozen=True, slots=True)
class Status:
    """How far the map can be trusted, in plain values."""

    epoch: int
    scale_source: str
    """`posed`, `marker`, `distance`, `camera_height`, or `none`: then lengths are not metres."""
    scale_sigma: float
    """Relative; inf when the source is `none`."""
    gravity_source: str
    """`posed`, `motion`, `planes`, or `cameras` (a guess from how phones are held)."""
    gravity_sigma_deg: float
    aligned: tuple[tuple[StreamId, int], ...]
    """(stream, component) that lie in the world."""
    unaligned: tuple[tuple[StreamId, int], ...]
    """(stream, component) that do not yet, and of which nothing is fused."""
    num_keyframes: int
    num_pending: int
    """Keyframes that the next calls of `fuse` will bring in."""
    num_blocks: int
    is_full: bool
    """The volume has no room for new blocks."""


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Confident depth pixels of one keyframe, in ITS camera's axes, so that they move with its pose."""

    points_camera_m: NDArray[np.float32]  # (n, 3) metres
    rgb: NDArray[np.uint8]  # (n, 3)


_SURE = 0.5
_MOVED_VOXELS = 1.0
_MOVED_DEG = 0.5
_SAME_FRAME_RAD = float(np.radians(3.0))
_SAME_FRAME_SHARE = 0.2
"""Local bundle adjustment turns a window's poses by less than this, and moves them by less than this share of its
extent; another engine's frame would be the same only by chance."""
_MIN_FOUNDING = 4
"""A component with fewer keyframes than this may lose the world to its phone's next one."""


class SceneMap:
    """One world. One caller at a time."""

    def __init__(self, config: Config = Config()) -> None:  # noqa: B008
        self._config = config
        self._tsdf = tsdf.Tsdf(config.volume)
        self._kept = KeptKeyframes(config.max_keyframes)
        self._finder = markers.MarkerFinder(config.marker) if config.marker is not None else None
        self._options: dict[StreamId, StreamOptions] = {}
        self._components: dict[ComponentKey, Component] = {}
        self._founder: Component | None = None
        self._anchor: Anchor | None = None
        self._looked_at_cues = -1
        self._waiting: dict[KeyframeId, None] = {}
        self._state = WorldState()
        self._is_settled = False

    @property
    def voxels(self) -> VoxelSource:
        """The volume; copy windows out of it between calls, not during them."""
        return self._tsdf

    @property
    def status(self) -> Status:
        """What a person should know about this map by now."""
        state = self._state
        in_world = [key for key, c in self._components.items() if c.world_from_component is not None]
        outside = [key for key, c in self._components.items() if c.world_from_component is None]
        return Status(
            state.epoch, state.scale_source, state.scale_sigma, state.gravity_source, state.gravity_sigma_deg,
            tuple(in_world), tuple(outside), len(self._kept), len(self._pending()),
            self._tsdf.num_blocks, self._tsdf.is_full,
        )  # fmt: skip

    def join(self, stream: StreamId, options: StreamOptions) -> None:
        """Tell what is known about a phone before its first keyframe; without it, the defaults hold."""
        self._options[stream] = options

    def world_from_component(self, stream: StreamId, component: int) -> Sim3 | None:
        """Where a tracker's component lies in the world; None while it does not (nothing of it is fused)."""
        known = self._components.get((stream, component))
        return known.world_from_component if known is not None else None

    def observe(self, tracked: Tracked, frame: Frame) -> None:
        """Take a new keyframe in: its pose, and what it says about up, scale and markers. Needs no depth.

        Frames that are not tracked are passed over. For corrections to apply, keyframes should be nodes of the tracker.
        """
        if tracked.component_from_camera is None:
            return
        component = self._component(tracked, frame)
        pose = tracked.corrected.get(frame.seq, tracked.component_from_camera)
        seen = self._finder.find(frame.image.gray, tracked.intrinsics) if self._finder is not None else []
        component.observe(frame, pose, tracked.landmarks_component, seen)
        if component.world_from_component is None:
            self._try_to_align(component)
            self._wait(self._of(component))
        self._remember_markers(component)

    def place(self, tracked: Tracked, frame: Frame, prediction: WindowPrediction | None = None) -> MapChange:
        """Give an observed keyframe its depth: the engine's, or the frame's own where `prediction` is None.

        Raises:
            ValueError: the keyframe was not observed, there is no depth, or it does not fit the rest.
        """
        component = self._components.get((frame.stream, tracked.component))
        pose = component.pose(frame.seq) if component is not None else None
        if component is None or pose is None:
            raise ValueError(f"keyframe {frame.stream}/{frame.seq} was not observed before it was placed")
        depth = self._own_depth(frame) if prediction is None else self._predicted_depth(component, prediction)
        kept = _keep(component.key, pose, tracked.intrinsics, frame, working_size(depth, self._config.depth_side_px))
        gone = self._kept.add(kept)
        self._wait([kept])
        if gone is not None:
            self._waiting.pop(gone.id, None)
        world = component.world_from_component
        return self._change({kept.id: world.apply_pose(pose)} if world is not None else {})

    def fuse(self) -> MapChange:
        """Bring pending keyframes into the volume; opens a new epoch first when up or scale are known better.

        At most `fuse_batch` keyframes a call; `status.num_pending` tells what is left. A new epoch is fused whole.
        """
        moved = self._found_anew() or self._reconsider_anchor()
        if moved is not None:
            self._waiting = dict.fromkeys(kept.id for kept in self._kept)
        pending = self._pending()
        if moved is None:
            return self._change(dirty=[self._refuse(kept) for kept in pending[: self._config.fuse_batch]])
        new_from_old, reason = moved
        _LOG.info("map epoch %d: %s, refusing %d keyframes", self._state.epoch, reason, len(pending))
        gone = self._tsdf.clear()
        for kept in self._kept:
            kept.fused_as = None
        dirty = [gone, *(self._refuse(kept) for kept in pending)]
        return replace(self._change(self.keyframe_poses(), dirty), new_from_old=new_from_old, reason=reason)

    def correct(self, tracked: Tracked) -> MapChange:
        """Take over `tracked.corrected`; keyframes that moved noticeably are fused anew by the next `fuse`."""
        component = self._components.get((tracked.stream, tracked.component))
        if component is None or not tracked.corrected:
            return self._change()
        component.correct(tracked.corrected)
        moved: dict[KeyframeId, F64] = {}
        for seq, pose in tracked.corrected.items():
            kept = self._kept.get(keyframe_id(tracked.stream, seq))
            if kept is None or kept.component != component.key:
                continue
            kept.component_from_camera = pose
            if component.world_from_component is not None:
                moved[kept.id] = component.world_from_component.apply_pose(pose)
            self._wait([kept])
        return self._change(moved)

    def align(self, stream: StreamId, component: int, world_from_component: Sim3) -> MapChange:
        """Put a component where somebody (a marker, place recognition, a person) found it to lie in the world.

        Raises:
            ValueError: no such component, or it is the one that the world stands on.
        """
        known = self._components.get((stream, component))
        if known is None or known is self._founder:
            raise ValueError(f"component {component} of {stream} is unknown or carries the world itself")
        known.world_from_component = world_from_component
        self._wait(self._of(known))
        self._remember_markers(known)
        return self._change({k.id: world_from_component.apply_pose(k.component_from_camera) for k in self._of(known)})

    def declare_distance(self, a_world: F64, b_world: F64, distance_m: float) -> None:
        """Somebody measured the distance between two points (3,) of the map: a scale cue for the next `fuse`.

        Raises:
            ValueError: the distance is not positive, the points coincide, or the map brings its own scale.
        """
        if self._founder is None or self._founder.world_from_component is None or self._founder.is_posed:
            raise ValueError("a distance scales a map made by phones without poses of their own; this map is none")
        founder = self._founder
        component_from_world = self._founder.world_from_component.inverse()
        a, b = component_from_world.apply(a_world), component_from_world.apply(b_world)
        voxel = self._config.volume.voxel_size_m * component_from_world.scale
        founder.distances.append(scale.from_distance(a, b, distance_m, 0.5 * voxel))
        founder.num_cues += 1
        self._looked_at_cues = -1

    def keyframe_poses(self) -> dict[KeyframeId, F64]:
        """world_from_camera (4, 4) of every kept keyframe that lies in the world: what a late joiner needs."""
        return {k.id: w.apply_pose(k.component_from_camera) for k in self._kept if (w := self._world_of(k)) is not None}

    def keyframe_points(self, keyframe: KeyframeId, max_points: int = 2000) -> Points | None:
        """A keyframe's sure depth pixels, evenly sampled; None when it is unknown, unaligned or no longer kept."""
        kept = self._kept.get(keyframe)
        world = self._world_of(kept) if kept is not None else None
        if kept is None or world is None:
            return None
        points, rgb = kept.points_camera(_SURE, max_points)
        return Points(points * np.float32(world.scale), rgb)

    def keyframe_cameras(self) -> list[tuple[KeyframeId, F64, Intrinsics]]:
        """Each kept keyframe in the world: its id, world_from_camera (4, 4) and the camera of its depth map."""
        return [
            (k.id, w.apply_pose(k.component_from_camera), k.intrinsics)
            for k in self._kept
            if (w := self._world_of(k)) is not None
        ]

    def blocks(self, keys: NDArray[np.int32]) -> tsdf.Blocks:
        """Copy voxels (n, 3 BlockKeys) to be stored; blocks that do not exist are unknown throughout."""
        return self._tsdf.blocks(keys)

    def declare_markers(self, config: markers.Config) -> None:
        """Look for printed markers of this kind and size from the next keyframe on."""
        self._finder = markers.MarkerFinder(config)

    def knows(self, stream: StreamId) -> bool:
        """Whether anything of a phone is kept here."""
        return any(key[0] == stream for key in self._components)

    def forget(self, stream: StreamId) -> list[KeyframeId]:
        """Drop a phone's keyframes with their pictures, poses and cues; returns their ids. Its voxels stay."""
        gone = self._kept.forget(stream)
        for keyframe in gone:
            self._waiting.pop(keyframe, None)
        if self._founder is not None and self._founder.key[0] == stream:
            self._founder, self._is_settled = None, True  # the world stays as it stands; nobody is to found another
        self._components = {key: c for key, c in self._components.items() if key[0] != stream}
        self._options.pop(stream, None)
        return gone

    def snapshot(self) -> WorldState:
        """What has to be stored beside the voxels to go on after a restart."""
        return self._state

    def restore(self, blocks: tsdf.Blocks, state: WorldState) -> None:
        """Go on from a stored volume: its world is settled, so no later cue turns or scales it.

        Raises:
            ValueError: keyframes were observed already, or the blocks do not fit (see `Tsdf.load`).
        """
        if self._components:
            raise ValueError("restore a map before its first keyframe")
        self._tsdf.load(blocks)
        self._state, self._is_settled = state, True

    # How a component gets into the world

    def _component(self, tracked: Tracked, frame: Frame) -> Component:
        key = (frame.stream, tracked.component)
        if key not in self._components:
            options = self._options.get(frame.stream, StreamOptions())
            is_posed = frame.pose is not None
            self._components[key] = Component(key, is_posed=is_posed, camera_height_m=options.camera_height_m)
        return self._components[key]

    def _try_to_align(self, component: Component) -> None:
        """The first component founds the world; later ones join by a named world, a marker or a shared start."""
        options = self._options.get(component.key[0], StreamOptions())
        name = options.world or str(component.key[0])
        if self._founder is None and not self._is_settled:
            self._found(component, name)
        elif component.is_posed and name in self._state.named_worlds:
            component.world_from_component = self._state.named_worlds[name]
        elif (by_marker := self._world_by_marker(component)) is not None:
            component.world_from_component = by_marker
        elif options.start == "shared" and self._state.world_from_start is not None:
            component.world_from_component = self._world_by_start(component, self._state.world_from_start)

    def _found(self, component: Component, name: str) -> None:
        """Let the world be this component's, upright and scaled as well as is known by now."""
        gravity = component.gravity([])
        size = component.scale([], gravity.up)
        made = anchor.given(gravity, size) if component.is_posed else anchor.first(gravity, size, component.first_pose)
        self._founder = component
        self._stand_on(component, made)
        if component.is_posed:
            self._state = replace(self._state, named_worlds={name: made.world_from_component})
        start = made.world_from_component.apply_pose(component.first_pose)
        self._state = replace(self._state, world_from_start=start)

    def _stand_on(self, founder: Component, made: Anchor) -> None:
        self._anchor = made
        founder.world_from_component = made.world_from_component
        self._state = replace(
            self._state,
            scale_source=made.scale.source, scale_sigma=made.scale.sigma,
            gravity_source=made.gravity.source, gravity_sigma_deg=made.gravity.sigma_deg,
        )  # fmt: skip

    def _world_by_marker(self, component: Component) -> Sim3 | None:
        for marker in component.marker_ids():
            world_from_marker = self._state.markers.get(marker)
            placed = component.placed_by(marker) if world_from_marker is not None else None
            if world_from_marker is not None and placed is not None:
                return world_from_marker @ placed.marker_from_component
        return None

    def _world_by_start(self, component: Component, world_from_start: F64) -> Sim3 | None:
        """A shared start gives position and direction; the unit must come from a cue, and the world be in metres."""
        kept = self._of(component)
        size = component.scale(kept, component.gravity(kept).up)
        if size.source == "none" or self._state.scale_source == "none":
            return None
        start_from_component = Sim3.from_rigid(invert(component.first_pose))
        start_from_component = Sim3(size.metres_per_unit, np.eye(3), np.zeros(3)) @ start_from_component
        return Sim3.from_rigid(world_from_start) @ start_from_component

    def _remember_markers(self, component: Component) -> None:
        """Once a component lies in the world, so do the markers it has seen; the first to place one decides."""
        if component.world_from_component is None:
            return
        for marker in component.marker_ids():
            if marker in self._state.markers and component is not self._founder:
                continue
            placed = component.placed_by(marker)
            if placed is not None:
                world_from_marker = component.world_from_component @ placed.marker_from_component.inverse()
                self._state = replace(self._state, markers={**self._state.markers, marker: world_from_marker})

    def _found_anew(self) -> tuple[Sim3, str] | None:
        """Give up a founder whose tracker failed at once: a phone's next component, once longer, carries the world."""
        old = self._founder
        if old is None or old.num_observed >= _MIN_FOUNDING:
            return None
        heirs = [c for c in self._components.values() if c.key[0] == old.key[0] and c.num_observed >= _MIN_FOUNDING]
        if not heirs:
            return None
        for kept in self._of(old):
            self._kept.drop(kept.id)
        old.world_from_component = None
        self._state = replace(WorldState(), epoch=self._state.epoch + 1)
        self._looked_at_cues = -1
        self._found(heirs[-1], str(old.key[0]))
        return Sim3.identity(), "restart"

    def _reconsider_anchor(self) -> tuple[Sim3, str] | None:
        """Move the world if its founder knows up or scale better by now; everything in the world moves along."""
        founder = self._founder
        if founder is None or self._anchor is None or founder.is_posed or founder.num_cues == self._looked_at_cues:
            return None
        if not anchor.is_time_to_look(founder.num_observed) and self._looked_at_cues >= 0:
            return None
        self._looked_at_cues = founder.num_cues
        kept = self._of(founder)
        gravity = founder.gravity(kept)
        size = founder.scale(kept, gravity.up)
        moved = anchor.better(self._anchor, gravity, size)
        if moved is None:
            self._stand_on(founder, anchor.sharper(self._anchor, gravity, size))
            return None
        made, new_from_old, reason = moved
        for component in self._components.values():
            if component.world_from_component is not None:
                component.world_from_component = new_from_old @ component.world_from_component
        self._stand_on(founder, made)
        self._state = self._state.moved(new_from_old)
        return new_from_old, reason

    # Depth and voxels

    def _own_depth(self, frame: Frame) -> DepthMap:
        if frame.depth is None or frame.pose is None:
            raise ValueError(f"frame {frame.stream}/{frame.seq} brings no depth of its own, or no pose to go with it")
        return frame.depth

    def _predicted_depth(self, component: Component, prediction: WindowPrediction) -> DepthMap:
        """The last view's depth in component units; an engine with a frame of its own is aligned by the cameras."""
        last = prediction.views[-1]
        if last.depth is None:
            raise ValueError(f"the engine gave no depth for {last.keyframe}")
        if not np.any(last.depth > 0):
            return DepthMap(last.depth, last.intrinsics, last.confidence)
        size = self._component_units_per_window_unit(component, prediction.views)
        return DepthMap(last.depth * np.float32(size), last.intrinsics, last.confidence)

    def _component_units_per_window_unit(self, component: Component, views: Iterable[ViewPrediction]) -> float:
        """1 where the engine kept the tracker's frame; otherwise by the baseline that both know."""
        pairs = [
            (view.window_from_camera, pose)
            for view in views
            if (pose := component.pose(int(view.keyframe.rpartition("/")[2]))) is not None
        ]
        own, theirs = np.array([a for a, _ in pairs]), np.array([b for _, b in pairs])
        fit = fit_cameras(own, theirs)
        kept_frame = len(pairs) > 0 and _is_same_frame(own, theirs)  # but for corrections made in the meantime
        if not kept_frame and fit is None:
            raise ValueError("the engine's window shares no baseline with the tracker: its depth has no known unit")
        return 1.0 if kept_frame or fit is None else fit.b_from_a.scale

    def _of(self, component: Component) -> list[Kept]:
        return self._kept.of(component.key)

    def _world_of(self, kept: Kept) -> Sim3 | None:
        return self._components[kept.component].world_from_component

    def _wait(self, keyframes: Iterable[Kept]) -> None:
        """Let the next calls of `fuse` bring these in, unless they stand in the volume near enough already."""
        max_m, max_rad = _MOVED_VOXELS * self._config.volume.voxel_size_m, float(np.radians(_MOVED_DEG))
        for kept in keyframes:
            world = self._world_of(kept)
            if world is None or kept.is_moved(world.apply_pose(kept.component_from_camera), world, max_m, max_rad):
                self._waiting[kept.id] = None

    def _pending(self) -> list[Kept]:
        """Keyframes that wait and can be fused: those of components that lie in the world."""
        waiting = (self._kept.get(keyframe) for keyframe in self._waiting)
        return [kept for kept in waiting if kept is not None and self._world_of(kept) is not None]

    def _refuse(self, kept: Kept) -> NDArray[np.int32]:
        """Fuse a keyframe as it stands now, taking back what it had put elsewhere; returns the blocks that changed."""
        world = self._world_of(kept)
        assert world is not None
        dirty = []
        if kept.fused_as is not None:
            before, metres_per_unit = kept.fused_as
            dirty.append(self._tsdf.withdraw(kept.depth_m(metres_per_unit), before))
        pose = world.apply_pose(kept.component_from_camera)
        dirty.append(self._tsdf.integrate(kept.depth_m(world.scale), pose, kept.rgb))
        kept.fused_as = (pose, world.scale)
        del self._waiting[kept.id]
        return np.concatenate(dirty)

    def _change(self, poses: dict[KeyframeId, F64] | None = None, dirty: Iterable[NDArray[np.int32]] = ()) -> MapChange:
        blocks = np.concatenate([np.empty((0, 3), np.int32), *dirty])
        return MapChange(self._state.epoch, poses or {}, np.unique(blocks, axis=0))


def keyframe_id(stream: StreamId, seq: int) -> KeyframeId:
    """`<stream>/<seq>`."""
    return KeyframeId(f"{stream}/{seq}")


def _is_same_frame(own: F64, theirs: F64) -> bool:
    """Whether two sets of poses (n, 4, 4) are the same but for small corrections."""
    turned = max(angle_between(a[:3, :3], b[:3, :3]) for a, b in zip(own, theirs, strict=True))
    moved = float(np.linalg.norm(own[:, :3, 3] - theirs[:, :3, 3], axis=1).max())
    reach = float(np.linalg.norm(theirs[:, :3, 3] - theirs[-1, :3, 3], axis=1).max())
    return turned < _SAME_FRAME_RAD and moved <= _SAME_FRAME_SHARE * reach


def _keep(key: ComponentKey, pose: F64, camera: Intrinsics, frame: Frame, depth: DepthMap) -> Kept:
    """Pack one keyframe for keeping, its colours resampled to the depth map's camera."""
    k = depth.intrinsics
    rgb = cv2.resize(frame.image.rgb, (k.width, k.height), interpolation=cv2.INTER_AREA)
    if camera.k1 and not k.k1:  # OpenCV counts pixel centres as whole numbers
        lens, straight = camera.scaled(k.width, k.height).matrix(), k.matrix()
        lens[:2, 2] -= 0.5
        straight[:2, 2] -= 0.5
        rgb = cv2.undistort(rgb, lens, np.array([camera.k1, 0.0, 0.0, 0.0]), None, straight)
    known = np.isfinite(depth.z_m) & (depth.z_m > 0)
    confidence = np.ones_like(depth.z_m) if depth.confidence is None else np.clip(depth.confidence, 0.0, 1.0)
    return Kept(
        keyframe_id(frame.stream, frame.seq), key, pose, k,
        np.where(known, depth.z_m, 0.0).astype(np.float16),
        (np.where(known, confidence, 0.0) * 255).astype(np.uint8),
        np.asarray(rgb, np.uint8),
    )  # fmt: skip
