"""The story of a scene without its processes, sockets and disk: frames in, tiles out, as fast as they compute.

The same machines in the same order as `server/scene.py`, so that what is measured here is what the server builds, minus
what it drops when it is late.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mapping.changes import KeyframeId
from mapping.engines import GeometryEngine, WindowPrediction
from mapping.places.recogniser import Recogniser
from mapping.scene_map import Config as MapConfig
from mapping.scene_map import SceneMap, StreamOptions
from mapping.tracking.tracked import Tracked
from mapping.windows import Config as WindowsConfig
from mapping.windows import WindowPolicy
from navmesh.incremental import Config as TilesConfig
from navmesh.incremental import Incremental
from navmesh.query import Query
from navmesh.recast import Agent
from navmesh.tiles import NavTile, TileChange, TileKey
from server.live import LiveStream
from streams.cache import KeyframeCache
from streams.frame import Frame, StreamId
from streams.keyframes import Keyframe


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What became of one frame."""

    tracked: Tracked
    keyframe: Keyframe | None
    prediction: WindowPrediction | None


@dataclass(slots=True, eq=False)
class Run:
    """What one camera did."""

    live: LiveStream
    frames: int = 0
    posed: int = 0
    keyframes: int = 0
    trace: list[tuple[int, int, NDArray[np.float64]]] = field(default_factory=list)
    """(capture_ns, component, component_from_camera) of every posed frame."""


class Offline:
    """One scene in this process and thread."""

    def __init__(
        self,
        engine: GeometryEngine | None,
        agent: Agent,
        map_config: MapConfig | None = None,
        windows: WindowsConfig = WindowsConfig(),  # noqa: B008
    ) -> None:
        """Without an engine only frames with their own depth are mapped."""
        self._engine = engine
        self.map = SceneMap(map_config or MapConfig())
        self.recogniser = Recogniser()
        self.agent = agent
        self._tiles = Incremental(self.map.voxels, (agent,), TilesConfig())
        self._cache, self._windows = KeyframeCache(), WindowPolicy(windows)
        self.runs: dict[StreamId, Run] = {}
        self.nav: dict[TileKey, NavTile] = {}
        self.query = Query((agent,), self.map.voxels.voxel_size_m)

    def join(self, stream: StreamId, options: StreamOptions | None = None, live: LiveStream | None = None) -> None:
        """Let a camera in. Call it inside a running event loop, which the live stream's mailbox wants."""
        self.runs[stream] = Run(live or LiveStream(stream, "replay", nothing()))
        self.map.join(stream, options or StreamOptions())

    def see(self, frame: Frame) -> Seen:
        """Frame -> pose -> keyframe -> window -> engine -> map -> tiles."""
        run = self.runs[frame.stream]
        tracked = run.live.follow(frame)
        run.frames += 1
        if tracked.component_from_camera is not None:
            run.posed += 1
            run.trace.append((frame.capture_ns, tracked.component, tracked.component_from_camera))
        if not tracked.keyframe:
            return Seen(tracked, None, None)
        tracked, keyframe = run.live.take_in(frame, tracked)
        if keyframe is None:
            return Seen(tracked, None, None)
        run.keyframes += 1
        prediction = None
        if keyframe.frame.depth is None and self._engine is not None:
            self._cache.add(keyframe)
            walk = (frame.stream, keyframe.component)
            chosen = self._windows.choose(walk, KeyframeId(keyframe.id), self._cache.__contains__)
            prediction = self._engine.predict(run.live.window(self._cache, keyframe, chosen))
            if (descriptor := prediction.views[-1].descriptor) is not None:
                self._windows.describe(walk, KeyframeId(keyframe.id), descriptor)
        if tracked.corrected:
            self._tiles.mark(self.map.correct(tracked))
        self.map.observe(tracked, keyframe.frame)
        if prediction is not None or keyframe.frame.depth is not None:
            self._tiles.mark(self.map.place(tracked, keyframe.frame, prediction))
            self._tiles.mark(self.map.fuse())
        self._tiles.mark(self.map.recognise(self.recogniser.see(tracked, keyframe.frame)))
        return Seen(tracked, keyframe, prediction)

    def settle(self) -> None:
        """Fuse what waits."""
        while self.map.status.num_pending:
            self._tiles.mark(self.map.fuse())

    def finish(self) -> None:
        """Fuse what waits and build every tile."""
        self.settle()
        while self._tiles.pending:
            self._take(self._tiles.step())

    def _take(self, change: TileChange) -> None:
        self.query.apply(change)
        for tile in change.nav:
            self.nav[tile.key] = tile


async def nothing() -> AsyncIterator[Frame]:
    """Frames of a stream that is fed by hand."""
    none: tuple[Frame, ...] = ()
    for frame in none:
        yield frame
