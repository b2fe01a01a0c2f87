"""The single-writer half of a scene: map, tiles and store. Every method is called by the scene's one writer thread.

Keyframes go in; what is to be published comes out. Nothing here knows the event loop or a client.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self, cast

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from mapping.changes import KeyframeId, MapChange
from mapping.engines import WindowPrediction
from mapping.exporters import ExportCamera, ExportScene
from mapping.places.agreement import Seen
from mapping.places.place import Place
from mapping.places.storing import to_stored
from mapping.scene_map import Config as MapConfig
from mapping.scene_map import SceneMap, Status
from mapping.store.records import MovedKeyframes, Record, SceneMeta, StoredKeyframe, StoredTile
from mapping.store.scene_store import Config as StoreConfig
from mapping.store.scene_store import Store
from mapping.store.state import SceneState
from mapping.tracking.tracked import Tracked
from mapping.volume import tsdf
from navmesh.incremental import Config as TilesConfig
from navmesh.incremental import Incremental, Viewers
from navmesh.latch import MAX_SLOPE_LIMITS
from navmesh.query import Query
from navmesh.recast import Agent, height_cells
from navmesh.tiles import TileChange, polygons_m
from server.bus import encode
from server.bus.encode import Publication, Removal
from server.clouds import Clouds
from server.earlier import Earlier
from server.protocol import Layer
from server.restart import components_to_plain, world_from_state, world_to_plain
from server.unsaved import Unsaved, as_set
from streams.frame import Frame, StreamId

_log = logging.getLogger(__name__)

TILE_LAYERS = ("nav", "mesh", "occluder", "culling")
CAMERA_LAYERS: tuple[Layer, ...] = ("pose", "thumbnail", "depth")
"""What goes with the camera."""


class Config(BaseModel):
    """What one scene builds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    map: MapConfig = MapConfig()
    agents: tuple[Agent, ...] = Field(default=(Agent(),), min_length=1)
    """Who walks: each has a NavMesh of its own, `[[scenes.each.map.agents]]` in the file. Queries take the first."""
    tiles: TilesConfig = TilesConfig()
    store: StoreConfig = StoreConfig()
    tile_budget_s: float = Field(default=0.15, gt=0)
    """How long one step may build NavMesh tiles; what is dirty beyond that waits for the next step."""
    surface_budget_s: float = Field(default=0.01, gt=0)
    """The same for surfaces: short, because the next keyframe's NavMesh waits for it."""
    points_per_keyframe: int = Field(default=4000, ge=0)
    keyframes_per_step: int = Field(default=32, ge=1)
    """Keyframes whose points one step encodes; when the whole map moves, the others follow."""

    island_tiles_per_step: int = Field(default=32, ge=1)
    """Changed NavMesh tiles of each agent around which one step looks for islands."""

    @model_validator(mode="after")
    def _can_be_walked(self) -> Self:
        """Tell about agents that cannot be before there is a map, not at its first tile."""
        names = [agent.name for agent in self.agents]
        if len(set(names)) < len(names):
            raise ValueError(f"agents need different names, got {', '.join(names)}")
        if len({agent.max_slope_deg for agent in self.agents}) > MAX_SLOPE_LIMITS:
            raise ValueError(f"agents may differ in at most {MAX_SLOPE_LIMITS} values of max_slope_deg")
        for agent in self.agents:
            height_cells(agent, self.map.volume.voxel_size_m / 2)
        return self


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """What one step of the writer gave."""

    status: Status
    moves: tuple[MapChange, ...] = ()
    """Changes that opened a new epoch, in order; they come before the publications."""
    publications: tuple[Publication | Removal, ...] = ()
    wait_s: float | None = None
    """Something is left: call `build` again after so long. None = all is built."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Time spent by hop: fuse, tiles, encode."""


class Writer:
    """One scene's map with everything made of it."""

    def __init__(self, scene: str, config: Config, disk: Store) -> None:
        self.scene, self.config, self.store = scene, config, disk
        self.map = SceneMap(config.map)
        self.query = Query(config.agents, config.map.volume.voxel_size_m)
        self.query_epoch = self.map.status.epoch
        """Of the tiles in `query`: ahead of what is published while a correction is on its way there."""
        self._tiles = Incremental(self.map.voxels, config.agents, config.tiles)
        self._unsaved = Unsaved()
        self.num_nav_changes = 0
        """NavMesh tiles that came out otherwise than before, counted each time."""
        self.made_with: list[dict[str, str]] = []
        """Engines, with their weights and licences, that gave this map depth, in the order of their coming."""
        self.is_settled = True
        """No correction of the whole map and no restart is being worked in: NavMesh tiles are all of this epoch."""
        self._seen_due: dict[StreamId, Frame] = {}
        """Newest keyframe of each stream, whose thumbnail and depth are to be published."""
        self._clouds = Clouds(self.map, config.points_per_keyframe)
        self._unconfirmed: set[tuple[str, tuple[int | str, ...]]] = set()
        """Tiles of before a restart that were not built anew yet."""
        self._seen: dict[StreamId, set[tuple[int, int, int]]] = {}
        self.earlier = Earlier()
        """Of before a restart."""

    # -- the story ----------------------------------------------------------------------------------------------------

    def add(
        self,
        tracked: Tracked,
        frame: Frame,
        prediction: WindowPrediction | None,
        viewers: Viewers,
    ) -> Step:
        """Take a keyframe in and tell at once where one can walk now; `build` goes on with what there is to see.

        Args:
            tracked: the tracker's answer; `corrected` holds all nodes that moved since the stream's last keyframe.
            prediction: the engine's answer; None where the frame brings its own depth.
            viewers: world positions (3,) of those who look: the tiles nearest to them come first.
        """
        began = time.perf_counter()
        changes = [self.map.correct(tracked)] if tracked.corrected else []
        self.map.observe(tracked, frame)
        if prediction is not None or frame.depth is not None:
            changes += [self.map.place(tracked, frame, prediction), self.map.fuse()]
        self._seen_due[frame.stream] = frame
        step = self._walk(changes, viewers, {"fuse": time.perf_counter() - began})
        self._save_keyframe(frame, changes)
        self._remember_seen(frame.stream, changes)
        return step

    def recognise(self, seen: Iterable[Seen], viewers: Viewers) -> Step:
        """Take in that keyframes show one place; phones whose maps are merged by that lie in the world from now on."""
        return self._walk([self.map.recognise(seen), self.map.fuse()], viewers, {})

    def build(self, viewers: Viewers) -> Step:
        """Go on with what waits: keyframes, tiles, and all that is looked at. Short, for a keyframe may be waiting."""
        step = self._walk([self.map.fuse()], viewers, {})
        publications = [*step.publications, *self._clouds.take(self.config.keyframes_per_step), *self._newest_views()]
        if not step.status.is_rebuilding:  # half a volume would unbuild tiles, see `_walk`
            publications += encode.tile_change(self._tiles.step_surfaces(viewers, self.config.surface_budget_s))
        publications += map(encode.islands, self.query.find_islands(self.config.island_tiles_per_step))
        wait_s = self._wait_s(step.status)
        self._unconfirmed -= {(item.layer, item.key) for item in publications}
        if wait_s is None and self._unconfirmed:  # nothing lies there any more
            publications += [Removal(cast("Layer", layer), key) for layer, key in self._unconfirmed]
            self._unconfirmed.clear()
        return replace(step, publications=tuple(publications), wait_s=wait_s)

    def reread(self) -> int:
        """Forget what tiles were built from: `build` builds all anew from the voxels alone; gives `num_nav_changes`."""
        self._tiles.reread()
        return self.num_nav_changes

    @property
    def nav_pending(self) -> int:
        """NavMesh tiles that wait to be built or looked at."""
        return self._tiles.nav_pending

    def seen_share(self, stream: StreamId) -> float:
        """Share of the map's blocks that this stream helped to make."""
        return min(1.0, len(self._seen.get(stream, ())) / max(1, self.map.status.num_blocks))

    # -- disk ---------------------------------------------------------------------------------------------------------

    def save(self, lineage: str, seq_ceiling: int, tiles: Sequence[StoredTile]) -> bool:
        """Append what changed since the last call: published tiles, voxels and the scene's own facts, as one group.

        False: not yet, because half of a new epoch's volume must not replace a whole one on disk.
        """
        self._unsaved.hold(tiles)
        if self.map.status.is_rebuilding:
            return False
        self.store.append(self._meta(lineage, seq_ceiling), *self._unsaved.take(self.map.blocks))
        return True

    def keep_places(self, places: Iterable[Place]) -> None:
        """Store what can be recognised in keyframes, so that phones find into the map after a restart."""
        self.store.append(*(to_stored(place, self.map.bend_around(place)) for place in places))

    def restore(self, state: SceneState) -> None:
        """Go on from what a store held."""
        self.made_with = list(state.meta.attributes.get("made_with", [])) if state.meta is not None else []
        blocks = state.blocks.all()
        if state.meta is None or not len(blocks.keys):
            return
        self.map.restore(
            tsdf.Blocks(blocks.keys, blocks.tsdf_m.astype(np.float32), blocks.weight.astype(np.float32), blocks.rgb),
            world_from_state(state),
        )
        self.earlier = Earlier.of(state)
        self.map.remember(self.earlier.places)
        self.query_epoch, self.is_settled = state.meta.epoch, False
        self._tiles.mark(MapChange(state.meta.epoch, dirty_blocks=blocks.keys))
        self._unconfirmed = {slot for slot, tile in state.tiles.items() if slot[0] in TILE_LAYERS and not tile.removed}

    def expire(self, now_ns: int) -> None:
        """Let go of keyframes of before a restart that have outlived `keyframe_ttl_s`, as the store does."""
        if (ttl_s := self.config.store.keyframe_ttl_s) is not None:
            self.earlier.expire(now_ns - int(ttl_s * 1e9))

    def export_scene(self) -> ExportScene:
        """The map as it is now, for the exporters: surface, walkable polygons of the first agent, cameras."""
        tiles = Incremental(self.map.voxels, self.config.agents[:1], self.config.tiles).step()
        starts = np.cumsum([0, *(len(mesh.vertices_m) for mesh in tiles.mesh)])
        shifted = [mesh.indices + np.uint32(n) for mesh, n in zip(tiles.mesh, starts[:-1], strict=True)]
        return ExportScene(
            vertices_m=np.concatenate([np.empty((0, 3), np.float32), *(mesh.vertices_m for mesh in tiles.mesh)]),
            indices=np.concatenate([np.empty((0, 3), np.uint32), *shifted]),
            rgb=np.concatenate([np.empty((0, 3), np.uint8), *(m.rgb for m in tiles.mesh if m.rgb is not None)]),
            cameras=(
                *self.earlier.cameras,
                *(ExportCamera(*camera) for camera in self.map.keyframe_cameras()),
            ),
            nav_polygons_m=tuple(polygon for tile in tiles.nav for polygon in polygons_m(tile)),
        )

    def knows(self, stream: StreamId) -> bool:
        """Whether anything of a phone is kept, be it of before a restart."""
        return self.map.knows(stream) or self.earlier.knows(stream)

    def note_maker(self, provenance: dict[str, str]) -> None:
        """Say what gives this map depth from here on; it is stored with the map."""
        if provenance and provenance not in self.made_with:
            self.made_with = [*self.made_with, provenance]

    def forget(self, stream: StreamId) -> tuple[list[Publication | Removal], Status]:
        """Drop what identifies a phone: its keyframes and points. The fused surface, which names nobody, stays."""
        self._seen.pop(stream, None)
        self._seen_due.pop(stream, None)
        self.earlier.forget(stream)
        points: list[Publication | Removal] = [Removal("points", (key,)) for key in self.map.forget(stream)]
        removals = [*points, *(Removal(layer, (stream,)) for layer in CAMERA_LAYERS)]
        return removals, self.map.status

    # -----------------------------------------------------------------------------------------------------------------

    def _meta(self, lineage: str, seq_ceiling: int) -> SceneMeta:
        status = self.map.status
        return SceneMeta(
            lineage=lineage,
            epoch=status.epoch,
            voxel_size_m=self.map.voxels.voxel_size_m,
            truncation_m=self.map.voxels.truncation_m,
            scale_source=status.scale_source,
            gravity_source=status.gravity_source,
            seq_ceiling=seq_ceiling,
            attributes=world_to_plain(self.map.snapshot())
            | {
                "made_with": self.made_with,
                "components": components_to_plain(self.earlier.components | self.map.components_in_world()),
            },
        )

    def _walk(self, changes: Sequence[MapChange], viewers: Viewers, seconds: dict[str, float]) -> Step:
        """Bring the NavMesh up to date with changes of the map."""
        began = time.perf_counter()
        moves = tuple(c for c in changes if c.new_from_old is not None)
        if moves:
            self._unsaved.start_afresh(self.map.voxels)
            self._clouds.start_afresh()
            for change in moves:
                if change.new_from_old is not None and (moved := self.earlier.move(change.new_from_old)):
                    self.store.append(*moved)
        change, status = _merged(changes), self.map.status
        self._unsaved.note(change.dirty_blocks)
        self._clouds.note(change.poses)
        self.is_settled = self.is_settled and not moves
        self.query_epoch = status.epoch
        self._tiles.mark(change)
        # half a volume would unbuild tiles: until it is whole, what is published serves on, moved
        tiles = TileChange() if status.is_rebuilding else self._tiles.step_nav(viewers, self.config.tile_budget_s)
        self.query.apply(tiles)
        self.num_nav_changes += len(tiles.nav)
        self.is_settled = self.is_settled or not (status.is_rebuilding or self._tiles.nav_pending)
        built = time.perf_counter()
        publications = tuple(encode.tile_change(tiles))
        self._unconfirmed -= {(item.layer, item.key) for item in publications}
        seconds = seconds | {"tiles": built - began, "encode": time.perf_counter() - built}
        return Step(status, moves, publications, self._wait_s(status), seconds)

    def _wait_s(self, status: Status) -> float | None:
        """How long until `build` has something to do; None = not before the map changes."""
        is_due = status.num_pending or self._clouds or self._seen_due or self.query.islands_pending
        return 0.0 if is_due else self._tiles.wait_s

    def _newest_views(self) -> Iterable[Publication]:
        """What each camera saw last: its picture, and how far it saw."""
        while self._seen_due:
            stream, frame = self._seen_due.popitem()
            yield encode.thumbnail(stream, frame.image.rgb)
            if (view := self.map.depth_view(KeyframeId(f"{stream}/{frame.seq}"))) is not None:
                yield encode.depth(stream, frame.seq, view)

    def _save_keyframe(self, frame: Frame, changes: list[MapChange]) -> None:
        """Where cameras were is kept; what they saw only where the store is told to."""
        poses = dict(_merged(changes).poses)
        own = KeyframeId(f"{frame.stream}/{frame.seq}")
        records: list[Record] = []
        if own in poses and frame.intrinsics is not None:
            records.append(
                StoredKeyframe(
                    id=own,
                    stream=frame.stream,
                    capture_ns=frame.capture_ns,
                    world_from_camera=np.ascontiguousarray(poses.pop(own), np.float64),
                    intrinsics=frame.intrinsics,
                    jpeg=encode.jpeg(frame.image.rgb) if self.config.store.retain_pixels else None,
                )
            )
        if poses:
            records.append(MovedKeyframes(ids=list(poses), world_from_camera=np.stack(list(poses.values()))))
        if records:
            self.store.append(*records)

    def _remember_seen(self, stream: StreamId, changes: list[MapChange]) -> None:
        seen = self._seen.setdefault(stream, set())
        if any(c.new_from_old is not None for c in changes):
            for blocks in self._seen.values():
                blocks.clear()
        for change in changes:
            seen |= as_set(change.dirty_blocks)


def _merged(changes: Sequence[MapChange]) -> MapChange:
    """Several changes of one step as one: newest poses win, dirty blocks add up."""
    if not changes:
        return MapChange(0)
    newest = changes[-1]
    move = next((c.new_from_old for c in reversed(changes) if c.new_from_old is not None), None)
    poses: dict[KeyframeId, Any] = {}
    for change in changes:
        poses |= change.poses
    dirty = np.concatenate([c.dirty_blocks for c in changes])
    return replace(newest, poses=poses, dirty_blocks=np.unique(dirty, axis=0), new_from_old=move)
