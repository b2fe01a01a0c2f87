"""All scenes of a server: open them, find them, let cameras into them, answer what the HTTP layer asks."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from mapping import exporters
from mapping.engines import Window, WindowPrediction
from mapping.metric import markers
from mapping.scene_map import StreamOptions as MapStreamOptions
from mapping.store.scene_store import Store
from server import locating
from server.api.contract import (
    AgentProfile,
    Busy,
    CameraHeightCue,
    Conflict,
    Cue,
    DeviceSummary,
    DistanceCue,
    MarkerCue,
    NotFound,
    PosedOptions,
    Readiness,
    SceneSummary,
    StreamOptions,
    StreamSummary,
    Unprocessable,
)
from server.api.locate_contract import LocateAnswer, Picture
from server.api.queries_contract import BatchAnswer, Question
from server.bus.bus import Bus
from server.generation.keyframes import Keyframes
from server.live import Kind, LiveStream
from server.load import Config as LoadConfig
from server.load import Load
from server.queries import Config as QueriesConfig
from server.queries import Queries
from server.restart import restore_channel
from server.scene import Config as SceneConfig
from server.scene import Scene
from server.scene_folders import is_scene_name, load_lenses, save_lenses, stored_scenes
from server.workers.pool import Lane, LaneFull, Pool
from server.writer import Writer
from streams.frame import Frame, SceneId, StreamId
from streams.mailbox import Mailbox, MailboxClosed
from streams.turnstile import Turnstile
from streams.webrtc import WhipConfig, WhipPeer, WhipSession

_log = logging.getLogger(__name__)


class Config(BaseModel):
    """Every scene of a server is built alike."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    each: SceneConfig = SceneConfig()
    whip: WhipConfig = WhipConfig()
    queries: QueriesConfig = QueriesConfig()
    max_scenes: int = Field(default=64, gt=0)
    max_streams: int = Field(default=32, gt=0)
    """Cameras at once, all scenes together; more get 503."""
    posed_silence_s: float = Field(default=30.0, gt=0)
    """A posed stream that sends nothing for so long is ended."""
    posed_wait_s: float = Field(default=10.0, gt=0)
    """So long a frame of a stream that uses every frame waits for room."""
    load: LoadConfig = LoadConfig()
    """What gives way when the host cannot keep up."""
    tracker_threads: int = Field(default=0, ge=0)
    """0 = one per core, at least two."""


class Scenes:
    """The scenes that are open, and the cameras in them. Fulfils `server.api.contract.Scenes`."""

    def __init__(
        self,
        config: Config,
        folder: Path,
        pool: Pool,
        bus: Bus,
        observe: Callable[[str, float], None] = lambda hop, seconds: None,
    ) -> None:
        """`folder` holds one directory per scene; `observe` takes the seconds that each hop took."""
        self.bus = bus
        self._config, self._folder, self._pool, self._observe = config, folder, pool, observe
        self._open: dict[SceneId, Scene] = {}
        self._opening = asyncio.Lock()
        self._queries = Queries(config.queries)
        self._peer = WhipPeer(config.whip)
        self._whip: dict[str, WhipSession] = {}
        self._posed: dict[StreamId, Mailbox[Frame] | Turnstile[Frame]] = {}
        threads = config.tracker_threads or max(2, os.cpu_count() or 2)
        self._lenses = load_lenses(folder)
        self._trackers = ThreadPoolExecutor(threads, thread_name_prefix="tracker")
        self._host = Load(config.load)

    async def start(self, first: SceneId) -> None:
        """Open every stored scene, and `first` if there is none of that name."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for scene in dict.fromkeys([*stored_scenes(self._folder)[: self._config.max_scenes], first]):
            await self.create(scene)

    async def close(self) -> None:
        """Let go of every camera and scene; everything published is durable afterwards."""
        for session in list(self._whip.values()):
            await session.close()
        for scene in list(self._open.values()):
            await scene.close()
        self._open.clear()
        self._queries.close()
        self._trackers.shutdown(wait=False)
        await asyncio.to_thread(save_lenses, self._folder, self._lenses)

    # -- scenes --------------------------------------------------------------------------------------------------------

    def scenes(self) -> list[SceneSummary]:
        return [self.scene(scene) for scene in self._open]

    def scene(self, scene: SceneId) -> SceneSummary:
        found = self._find(scene)
        status, entries = found.status, found.channel.entries()
        return SceneSummary(
            scene=scene,
            epoch=status.epoch,
            scale_source=status.scale_source,
            scale_sigma=status.scale_sigma if np.isfinite(status.scale_sigma) else None,
            scale_contradicted_by=list(status.scale_contradicted_by),
            gravity_source=status.gravity_source,
            gravity_sigma_deg=status.gravity_sigma_deg,
            num_streams=len(found.streams),
            num_keyframes=max(status.num_keyframes, sum(entry.layer == "points" for entry in entries)),
            num_tiles=sum(entry.layer == "nav" for entry in entries),
            num_tiles_refused=found.writer.query.num_refused,
            made_with=found.writer.made_with,
            agents=[AgentProfile.model_validate(agent, from_attributes=True) for agent in found.config.map.agents],
        )

    async def create(self, scene: SceneId) -> SceneSummary:
        if not is_scene_name(scene):
            raise Unprocessable("a scene's name has 1-64 letters, digits, dots, dashes or underscores")
        async with self._opening:
            if scene in self._open:
                raise Conflict(f"scene {scene!r} exists already")
            if len(self._open) >= self._config.max_scenes:
                raise Busy(f"{self._config.max_scenes} scenes are open; delete one first", retry_after_s=60)
            self._open[scene] = await self._load(scene)
        return self.scene(scene)

    async def delete(self, scene: SceneId) -> None:
        found = self._find(scene)
        del self._open[scene]
        await found.close()
        self.bus.close(scene)
        await asyncio.to_thread(shutil.rmtree, self._folder / scene)

    def _find(self, scene: SceneId) -> Scene:
        try:
            return self._open[scene]
        except KeyError:
            raise NotFound(f"there is no scene {scene!r}") from None

    async def _load(self, scene: SceneId) -> Scene:
        each = self._config.each
        store = await asyncio.to_thread(Store.open, self._folder / scene, each.map.store)
        state = await asyncio.to_thread(store.load)
        lineage = state.meta.lineage if state.meta is not None else None
        channel = self.bus.open(scene, lineage=lineage, epoch=state.meta.epoch if state.meta is not None else 0)
        channel.agents = frozenset(agent.name for agent in each.map.agents)
        restore_channel(channel, state)
        writer = Writer(scene, each.map, store)
        if state.meta is not None:
            await asyncio.to_thread(writer.restore, state)
            channel.scale_source, channel.gravity_source = state.meta.scale_source, state.meta.gravity_source
            _log.info("scene restored", extra={"scene": scene, "blocks": len(state.blocks.all().keys)})
        return Scene(scene, each, writer, channel, self._pool, self._trackers, self._observe, self._host)

    # -- cameras -------------------------------------------------------------------------------------------------------

    def streams(self) -> list[StreamSummary]:
        return [
            StreamSummary(
                stream=stream.id,
                scene=scene.id,
                kind=stream.kind,
                state=stream.counters.state,
                num_frames=stream.counters.frames,
                num_dropped=stream.counters.dropped,
                num_keyframes=stream.counters.keyframes,
                width=stream.counters.width,
                height=stream.counters.height,
                coverage=stream.counters.seen_share,
            )
            for scene in self._open.values()
            for stream in scene.streams.values()
        ]

    async def delete_stream(self, stream: StreamId) -> bool:
        if (session := next((s for s in self._whip.values() if s.stream == stream), None)) is not None:
            await session.close()
        known = [scene for scene in self._open.values() if scene.knows(stream)]
        for scene in known:
            await scene.forget(stream)
        return session is not None or bool(known)

    async def accept_whip(self, scene: SceneId, offer_sdp: str, options: StreamOptions) -> WhipSession:
        found = self._admit(scene)
        session = await self._peer.accept(offer_sdp.encode(), StreamId(f"phone-{secrets.token_urlsafe(6)}"))
        stream = self._make(found, session.stream, "whip", session.frames, send=session.send)
        task = await self._join(found, stream, options)
        self._whip[session.id] = session
        task.add_done_callback(lambda _: self._whip.pop(session.id, None))
        return session

    def whip(self, session: str) -> WhipSession:
        if session not in self._whip:
            raise NotFound("there is no such session; it may have ended")
        return self._whip[session]

    async def end_whip(self, session: str) -> None:
        await self.whip(session).close()

    async def open_posed(self, scene: SceneId, options: PosedOptions) -> StreamId:
        found = self._admit(scene)
        frames: Mailbox[Frame] | Turnstile[Frame] = Turnstile() if options.frames == "every" else Mailbox()
        heard = _until_silent(frames, self._config.posed_silence_s)
        name = StreamId(f"posed-{secrets.token_urlsafe(9)}")
        stream = self._make(found, name, "posed", heard, is_patient=options.frames == "every")
        task = await self._join(found, stream, options)
        self._posed[stream.id] = frames
        task.add_done_callback(lambda _: self._posed.pop(stream.id, None))
        return stream.id

    async def offer_posed(self, stream: StreamId, frame: Frame) -> None:
        match self._posed.get(stream):
            case None:
                raise NotFound(f"there is no posed stream {stream!r}; open one first")
            case Mailbox() as newest:
                newest.put(frame)
            case Turnstile() as every:
                if not await every.put(frame, self._config.posed_wait_s):
                    raise Busy("the map is behind; send this frame again", retry_after_s=1)

    async def end_posed(self, stream: StreamId) -> None:
        match self._posed.pop(stream, None):
            case None:
                raise NotFound(f"there is no posed stream {stream!r}; it may have ended")
            case Mailbox() as newest:
                newest.close()
            case Turnstile() as every:
                await every.close()

    async def replay(
        self,
        scene: SceneId,
        stream: StreamId,
        frames: AsyncIterator[Frame],
        options: StreamOptions,
        *,
        is_patient: bool,
    ) -> LiveStream:
        """Let a recording play as if it were a phone; `is_patient`: it waits for the map, no keyframe is skipped."""
        found = self._admit(scene)
        live = self._make(found, stream, "replay", frames, is_patient=is_patient)
        await self._join(found, live, options)
        return live

    async def settle(self, scene: SceneId) -> None:
        """Wait until everything that was mapped is built and published."""
        await self._find(scene).upkeep.settle()

    def _make(self, scene: Scene, stream: StreamId, kind: Kind, frames: AsyncIterator[Frame], **how: Any) -> LiveStream:
        keyframes = scene.config.keyframes
        if kind == "posed" and how.get("is_patient"):  # sent as fast as they are taken: their times say little
            keyframes = keyframes.model_copy(update={"min_age_s": 0.0})
        how |= {"tracker": scene.config.tracker, "keyframes": keyframes, "lenses": self._lenses}
        return LiveStream(stream, kind, frames, **how)

    def _admit(self, scene: SceneId) -> Scene:
        found = self._find(scene)
        if sum(len(s.streams) for s in self._open.values()) >= self._config.max_streams:
            raise Busy(f"{self._config.max_streams} cameras are connected; try again later", retry_after_s=30)
        return found

    async def _join(self, scene: Scene, stream: LiveStream, options: StreamOptions) -> asyncio.Task[None]:
        known = MapStreamOptions(**options.model_dump(exclude={"label", "frames"}))
        await scene.write(scene.writer.map.join, stream.id, known)
        return scene.join(stream)

    # -- what can be asked of a map ------------------------------------------------------------------------------------

    async def ask(self, scene: SceneId, questions: Sequence[Question], epoch: int | None) -> BatchAnswer:
        return await self._queries.ask(self._find(scene), questions, epoch)

    async def locate(self, scene: SceneId, picture: Picture) -> LocateAnswer:
        return await locating.locate(self._find(scene), picture)

    async def export(self, scene: SceneId, path: Path) -> None:
        found = self._find(scene)
        await found.upkeep.rebuilt()
        content = await found.write(found.writer.export_scene)
        try:
            await asyncio.to_thread(exporters.create(path.suffix[1:]).export, content, path)
        except exporters.ExportError as error:
            raise NotFound(str(error)) from error

    async def reread_navmesh(self, scene: SceneId) -> int:
        return await self._find(scene).upkeep.reread()

    async def add_cue(self, scene: SceneId, cue: Cue) -> None:
        found = self._find(scene)
        world = found.writer.map
        match cue:
            case DistanceCue():
                await found.write(world.declare_distance, np.array(cue.a_m), np.array(cue.b_m), cue.distance_m)
            case CameraHeightCue():
                if not found.knows(stream := StreamId(cue.stream)):
                    raise NotFound(f"there is no camera {cue.stream!r} in scene {scene!r}; its `streams` lists them")
                await found.write(world.declare_camera_height, stream, cue.height_m)
            case MarkerCue():
                every = markers.Config(dictionary=cue.dictionary, size_m=cue.size_m, ids=())
                await found.write(world.declare_markers, every)

    async def film(self, scene: SceneId, params: Mapping[str, Any]) -> tuple[Keyframes, dict[str, Any]]:
        return await self._find(scene).film(params)

    async def infer(self, window: Window) -> WindowPrediction:
        try:
            return await self._pool.predict(StreamId("pictures"), window, lane=Lane.BACKGROUND)
        except LaneFull as error:
            raise Busy(str(error), retry_after_s=5) from error

    def devices(self) -> list[DeviceSummary]:
        return [
            DeviceSummary(
                device=s.device,
                state=s.state,
                engine=s.engine,
                num_waiting=sum(s.queued.values()),
                queued=s.queued,
                busy_share=s.busy_share,
                window_ms_p50=s.window_ms_p50,
                window_ms_p95=s.window_ms_p95,
                windows={"done": s.done, "failed": s.failed, "superseded": s.superseded, "expired": s.expired},
                failed_share=s.failed_share,
                last_failure=s.last_failure,
                num_quarantined=s.quarantined,
                num_restarts=s.restarts,
                rss_bytes=s.rss_bytes,
                device_bytes=s.device_bytes,
                provenance=s.provenance,
                detail=s.detail or f"busy {s.busy_share:.0%}, {s.window_ms_p50 or 0:.0f} ms per window",
            )
            for s in self._pool.stats()
        ]

    def readiness(self) -> Readiness:
        devices = self._pool.stats()
        detail = {s.device: "ok" if s.state == "ready" else f"{s.state}: {s.detail}".rstrip(": ") for s in devices}
        return Readiness(
            is_ready=any(s.state == "ready" for s in devices),
            is_saturated=self._host.is_saturated(time.perf_counter()),
            detail=detail,
        )


async def _until_silent(frames: Mailbox[Frame] | Turnstile[Frame], silence_s: float) -> AsyncIterator[Frame]:
    """What comes in, until nothing has come for so long."""
    while True:
        try:
            yield await asyncio.wait_for(frames.get(), silence_s)
        except (TimeoutError, MailboxClosed):
            return
