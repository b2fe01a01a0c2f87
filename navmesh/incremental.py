"""Which tiles to build, and when: map changes in, changed tiles out.

A changed block makes its tile dirty, and the tiles whose border it meets. Dirty tiles wait, the nearest to a viewer
first, until a step has time for them; nothing is forgotten. A tile whose bytes came out as before is not reported. When
the whole map moved (a new epoch) everything is dirty, and the tiles published so far keep serving until replaced.

What equals what, to the byte: mesh, occluder and culling tiles are functions of the voxels alone; NavMesh tiles are
functions of the latched cells (`latch`), which remember. So tiles built one by one, in any order and by any number of
threads, always equal those built at once from the same cells (`latched`). They equal those built from the voxels alone
as long as no change was shallower than the latch's hysteresis, and after `reread` whatever happened.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from itertools import islice
from typing import Annotated, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from mapping.changes import MapChange, VoxelSource, VoxelWindow
from navmesh.blocks import HeightIndex, columns_of, tiles_reached
from navmesh.build import border_blocks, build_nav_tile
from navmesh.culling import Config as CullingConfig
from navmesh.culling import build_culling_tile
from navmesh.latch import Config as LatchConfig
from navmesh.latch import LatchedCells, LatchState
from navmesh.occlusion import Config as OcclusionConfig
from navmesh.occlusion import build_surface_tiles, empty_tile, surface_window
from navmesh.paced import Paced
from navmesh.recast import Agent
from navmesh.recast import Config as RecastConfig
from navmesh.spans import Config as SpanConfig
from navmesh.tiles import TILE_BLOCKS, TILE_CELLS, NavTile, SurfaceTile, TileChange, TileKey

Layer = Literal["nav", "mesh", "occluder", "culling"]
Viewers = Sequence[NDArray[np.float64]]
"""World positions (3,) of those who look at the map."""

Job = TypeVar("Job")
Result = TypeVar("Result")

_EMPTY = b""
"""Digest of a tile with nothing in it, and of one that was never built."""


class Config(BaseModel):
    """Everything that decides what tiles look like, and how often they are built."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    latch: LatchConfig = LatchConfig()
    spans: SpanConfig = SpanConfig()
    recast: RecastConfig = RecastConfig()
    occlusion: OcclusionConfig = OcclusionConfig()
    culling: CullingConfig = CullingConfig()
    surfaces: bool = True
    """Build mesh and occluder tiles, too."""
    surface_period_s: Annotated[float, Field(ge=0)] = 0.3
    """A mesh and occluder tile is built at most this often; NavMesh tiles as often as they change."""
    calm_surface_period_s: Annotated[float, Field(ge=0)] = 1.2
    """One that stays as large as it was, down to this often: well-known ground changes by noise alone."""
    batch_tiles: Annotated[int, Field(ge=1)] = 4
    """NavMesh tiles built between two looks at the clock; of surfaces, as many as are built side by side."""


class Incremental:
    """Keeps tiles in step with a map. One thread calls; an executor, when given, only builds and changes no byte."""

    def __init__(
        self,
        voxels: VoxelSource,
        agents: Sequence[Agent],
        config: Config,
        *,
        clock: Callable[[], float] = time.monotonic,
        executor: Executor | None = None,
        latched: LatchState | None = None,
    ) -> None:
        """Start with everything the map holds dirty; `latched`: the cells of one that ended at this state of the map.

        Raises:
            ValueError: no agents, two of one name, or more than six different slope limits; or cells of other limits.
        """
        names = [agent.name for agent in agents]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"agents must be one or more profiles of different names, got {names}")
        self._voxels = voxels
        self._agents = tuple(agents)
        self._config = config
        self._clock = clock
        self._executor = executor
        self._side_by_side = config.batch_tiles if executor is not None else 1
        slopes = sorted({agent.max_slope_deg for agent in agents})
        self._slope_limit = {agent.name: slopes.index(agent.max_slope_deg) for agent in agents}
        self._widest_border = max(border_blocks(agent, voxels.voxel_size_m, config.recast) for agent in agents)
        self._border_tiles = math.ceil((self._widest_border + 1) / TILE_BLOCKS)
        self._cells = LatchedCells(slopes, voxels.voxel_size_m, config.latch)
        self._heights = HeightIndex()
        self._epoch: int | None = None
        self._unread: set[TileKey] = set()  # their TSDF changed; cells not yet read
        self._nav_dirty: set[TileKey] = set()  # their cells changed
        self._surfaces = Paced(config.surface_period_s, config.calm_surface_period_s) if config.surfaces else None
        self._culling = Paced(config.culling.period_s) if config.culling.is_built else None
        self._paced = tuple(queue for queue in (self._surfaces, self._culling) if queue is not None)
        self._digests: dict[tuple[Layer, str, TileKey], bytes] = {}
        self._versions: dict[tuple[Layer, str, TileKey], int] = {}
        if latched is None:
            self._mark_blocks(voxels.block_keys())
        else:
            self._cells.restore(latched)
            self._nav_dirty = tiles_reached(latched.keys, self._widest_border)
            self._mark_surfaces(voxels.block_keys())

    @property
    def agents(self) -> tuple[Agent, ...]:
        return self._agents

    @property
    def pending(self) -> int:
        """How many tiles still wait to be built (NavMesh, surfaces and culling counted apart)."""
        return self.nav_pending + sum(map(len, self._paced))

    @property
    def nav_pending(self) -> int:
        """How many NavMesh tiles still wait to be built, or to be looked at for changes."""
        return len(self._unread | self._nav_dirty)

    @property
    def wait_s(self) -> float | None:
        """How long until a step has something to build: 0 = now, None = not before the map changes."""
        if self.nav_pending:
            return 0.0
        now_s = self._clock()
        return min((wait_s for queue in self._paced if (wait_s := queue.wait_s(now_s)) is not None), default=None)

    def version(self, layer: Layer, key: TileKey, agent: str = "") -> int:
        """How often this tile was reported as changed; 0 = never."""
        return self._versions.get((layer, agent, key), 0)

    @property
    def latched(self) -> LatchState:
        """The cells of all that was read; together with the settings, NavMesh tiles are a function of these."""
        return self._cells.state()

    def reread(self) -> None:
        """Forget the latched cells and build everything anew; the tiles published so far keep serving until replaced.

        Afterwards every tile is what a fresh `Incremental` makes of the map, whatever happened before.
        """
        self._cells.clear()
        self._heights.clear()
        served = {key for _, _, key in self._digests}
        self._nav_dirty |= served
        for queue in self._paced:
            queue.mark(served)
            queue.hurry()
        self._mark_blocks(self._voxels.block_keys())

    def apply(self, change: MapChange, viewers: Viewers = (), budget_s: float = math.inf) -> TileChange:
        """Take note of a map change and build what the budget allows."""
        self.mark(change)
        return self.step(viewers, budget_s)

    def mark(self, change: MapChange) -> None:
        """Take note of a map change; cheap."""
        if change.new_from_old is not None or (self._epoch is not None and change.epoch != self._epoch):
            self.reread()
        self._epoch = change.epoch
        self._mark_blocks(change.dirty_blocks)

    def step(self, viewers: Viewers = (), budget_s: float = math.inf) -> TileChange:
        """Build dirty tiles until `budget_s` is used up (at least one batch); the rest waits for the next step."""
        deadline_s = self._clock() + budget_s
        nav = self._build_nav(viewers, deadline_s)
        return TileChange(tuple(nav), *self._build_all_surfaces(viewers, deadline_s))

    def step_nav(self, viewers: Viewers = (), budget_s: float = math.inf) -> TileChange:
        """`step` for NavMesh tiles alone: they are the most urgent, and take a sixth of a surface's time."""
        return TileChange(tuple(self._build_nav(viewers, self._clock() + budget_s)))

    def step_surfaces(self, viewers: Viewers = (), budget_s: float = math.inf) -> TileChange:
        """`step` for what is looked at alone: mesh, occluder and culling tiles."""
        return TileChange((), *self._build_all_surfaces(viewers, self._clock() + budget_s))

    def _mark_blocks(self, blocks: NDArray[np.int32]) -> None:
        if len(blocks) == 0:
            return
        self._unread |= self._cells.mark(blocks)
        self._mark_surfaces(blocks)

    def _mark_surfaces(self, blocks: NDArray[np.int32]) -> None:
        if self._paced:
            self._heights.add(blocks)
        for queue in self._paced:
            queue.mark(tiles_reached(blocks, 1))

    def _build_nav(self, viewers: Viewers, deadline_s: float) -> list[NavTile]:
        changed: list[NavTile] = []
        while waiting := self._unread | self._nav_dirty:
            for batch in _batches(self._nearest_first(waiting, viewers), self._config.batch_tiles):
                self._read_cells(batch)
                dirty = [key for key in batch if key in self._nav_dirty]
                jobs = [(key, agent) for key in dirty for agent in self._agents]
                built = self._map(self._build_one, jobs)
                changed.extend(tile for tile in built if self._differs("nav", tile.agent, tile.key, tile.blob))
                self._nav_dirty.difference_update(dirty)
                if self._clock() >= deadline_s:
                    return changed
        return changed

    def _read_cells(self, batch: Sequence[TileKey]) -> None:
        """Bring the cells under tiles and their borders up to date, and beyond, where what moved might reset them."""
        around = range(-self._border_tiles, self._border_tiles + 1)
        near = {TileKey(key.x + dx, key.z + dz) for key in batch for dx in around for dz in around}
        while unread := near & self._unread:
            self._unread -= unread
            read = self._cells.refresh(self._voxels, sorted(unread), self._widest_border, self._map)
            self._nav_dirty |= read.changed
            self._unread |= read.stale

    def _build_one(self, job: tuple[TileKey, Agent]) -> NavTile:
        key, agent = job
        limit, config = self._slope_limit[agent.name], self._config
        return build_nav_tile(self._cells, key, limit, agent, self._voxels.voxel_size_m, config.recast, config.spans)

    def _build_all_surfaces(self, viewers: Viewers, deadline_s: float) -> Iterable[tuple[SurfaceTile, ...]]:
        """Mesh, occluder and culling tiles."""
        meshes, occluders = self._build_surfaces(viewers, deadline_s)
        return tuple(meshes), tuple(occluders), tuple(self._build_culling(viewers, deadline_s))

    def _build_surfaces(self, viewers: Viewers, deadline_s: float) -> tuple[list[SurfaceTile], list[SurfaceTile]]:
        meshes: list[SurfaceTile] = []
        occluders: list[SurfaceTile] = []
        if self._surfaces is None:
            return meshes, occluders
        now_s = self._clock()
        due = self._nearest_first(self._surfaces.due(now_s), viewers)
        for batch in _batches(due, self._side_by_side):
            sizes: dict[TileKey, int] = {}
            for mesh, occluder in self._map(self._build_surface, batch):
                sizes[mesh.key] = len(mesh.indices)
                if self._differs("mesh", "", mesh.key, _bytes_of(mesh)):
                    meshes.append(mesh)
                if self._differs("occluder", "", occluder.key, _bytes_of(occluder)):
                    occluders.append(occluder)
            self._surfaces.built(sizes, now_s)
            if self._clock() >= deadline_s:
                break
        return meshes, occluders

    def _build_culling(self, viewers: Viewers, deadline_s: float) -> list[SurfaceTile]:
        changed: list[SurfaceTile] = []
        if self._culling is None:
            return changed
        now_s = self._clock()
        due = self._nearest_first(self._culling.due(now_s), viewers)
        for batch in _batches(due, self._side_by_side):
            built = list(self._map(self._build_culling_tile, batch))
            changed.extend(tile for tile in built if self._differs("culling", "", tile.key, _bytes_of(tile)))
            self._culling.built({tile.key: len(tile.indices) for tile in built}, now_s)
            if self._clock() >= deadline_s:
                break
        return changed

    def _build_culling_tile(self, key: TileKey) -> SurfaceTile:
        window = self._surface_window(key)
        if window is None:
            return empty_tile(key)
        return build_culling_tile(window, key, self._voxels.voxel_size_m, self._config.culling)

    def _build_surface(self, key: TileKey) -> tuple[SurfaceTile, SurfaceTile]:
        window = self._surface_window(key)
        if window is None:
            return empty_tile(key), empty_tile(key)
        return build_surface_tiles(window, key, self._voxels.voxel_size_m, self._config.occlusion)

    def _surface_window(self, key: TileKey) -> VoxelWindow | None:
        heights = self._heights.range_of(columns_of(key, 1))
        if heights is None:
            return None
        return surface_window(self._voxels, key, heights, self._config.occlusion.overlap_voxels)

    def _differs(self, layer: Layer, agent: str, key: TileKey, content: bytes) -> bool:
        """Compare a tile's bytes with those reported last, and count a new version if they differ."""
        digest = hashlib.blake2b(content, digest_size=16).digest() if content else _EMPTY
        slot = (layer, agent, key)
        if self._digests.get(slot, _EMPTY) == digest:
            return False
        self._digests[slot] = digest
        self._versions[slot] = self._versions.get(slot, 0) + 1
        return True

    def _map(self, build: Callable[[Job], Result], jobs: Iterable[Job]) -> Iterable[Result]:
        return map(build, jobs) if self._executor is None else self._executor.map(build, jobs)

    def _nearest_first(self, keys: Iterable[TileKey], viewers: Viewers) -> list[TileKey]:
        ordered = sorted(keys)
        if not viewers or not ordered:
            return ordered
        centres_m = (np.array(ordered) + 0.5) * (TILE_CELLS * self._voxels.voxel_size_m)
        eyes_m = np.array([[viewer[0], viewer[2]] for viewer in viewers])
        distance_m = np.linalg.norm(centres_m[:, None] - eyes_m[None], axis=2).min(axis=1)
        return [ordered[i] for i in np.argsort(distance_m, kind="stable")]


def _batches(items: Iterable[Job], size: int) -> Iterable[list[Job]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _bytes_of(tile: SurfaceTile) -> bytes:
    rgb = b"" if tile.rgb is None else tile.rgb.tobytes()
    return tile.vertices_m.tobytes() + tile.indices.tobytes() + rgb
