"""The story: keyframe -> window -> map -> tiles -> bus, for every camera of one scene.

Each camera has two loops: one poses every frame and answers the phone, the other brings keyframes into the map. They
meet at a mailbox where the newest keyframe wins, so no pose ever waits for the map. The map itself belongs to one
writer thread; what it gives is published here, on the event loop: first where one can walk. What there is to see, and
whatever else may wait, is the business of `upkeep`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from mapping.changes import KeyframeId, seq_of
from mapping.engines import WindowPrediction
from mapping.places.agreement import Seen
from mapping.places.index import LocalIndex, PlaceIndex
from mapping.places.locating import Located, Unlocated
from mapping.places.place import Place
from mapping.places.recogniser import Config as PlacesConfig
from mapping.places.recogniser import Recogniser
from mapping.tracking.tracked import Tracked
from mapping.tracking.tracker import TrackerConfig
from mapping.transforms import F64, Sim3
from mapping.volume.visibility import DepthView
from mapping.windows import Config as WindowsConfig
from mapping.windows import WindowPolicy
from server.bus import encode
from server.bus.channel import Channel
from server.film import film
from server.generation.keyframes import Keyframes
from server.late import EVENT as LATE_POSES
from server.late import pose_of_camera
from server.live import Due, LiveStream
from server.load import Load, Work
from server.recognition import Recognition
from server.upkeep import Config as UpkeepConfig
from server.upkeep import Upkeep
from server.workers.lanes import LaneFull
from server.workers.pool import NoPrediction, Pool
from server.writer import CAMERA_LAYERS, Step, Writer
from server.writer import Config as WriterConfig
from streams.cache import CacheConfig, CacheFullError, KeyframeCache
from streams.datachannel import PoseAnswer
from streams.frame import Frame, Intrinsics, SceneId, StreamId
from streams.keyframes import Keyframe, KeyframeConfig

_log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")


class Config(BaseModel):
    """One scene."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    map: WriterConfig = WriterConfig()
    tracker: TrackerConfig = TrackerConfig()
    keyframes: KeyframeConfig = KeyframeConfig()
    cache: CacheConfig = CacheConfig()
    places: PlacesConfig = PlacesConfig()
    """How hard to look for places that phones have in common."""
    postgres: SecretStr | None = None
    """`postgresql://...` of a database with pgvector that several servers share: places are looked up there, in table
    `scene_geometry`. Not set: in this process."""
    window: WindowsConfig | None = None
    """Which keyframes are inferred together; not set: as suits the engine."""
    deadline_s: float = Field(default=2.0, gt=0)
    """A keyframe whose turn has not come by then is not mapped any more."""
    upkeep: UpkeepConfig = UpkeepConfig()


class Scene:
    """One shared map and the cameras that make it."""

    def __init__(
        self,
        scene: SceneId,
        config: Config,
        writer: Writer,
        channel: Channel,
        pool: Pool,
        trackers: Executor,
        observe: Callable[[str, float], None] = lambda hop, seconds: None,
        load: Load | None = None,
    ) -> None:
        """`trackers` runs the cameras' trackers; `observe` takes the seconds each hop took; `load` is the host's."""
        self.id, self.config, self.writer, self.channel = scene, config, writer, channel
        self.streams: dict[StreamId, LiveStream] = {}
        self._pool, self._trackers, self._observe = pool, trackers, observe
        self._load = load or Load()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"writer-{scene}")
        self._cache = KeyframeCache(config.cache)
        self._windows = WindowPolicy(config.window or pool.windows)
        recogniser = Recogniser(config.places, _place_index(scene, config))
        for place in writer.earlier.places:
            recogniser.take_in(place)
        self._recognition = Recognition(recogniser, self._connect, self._keep_places, observe, self._rest, str(scene))
        self._tasks: dict[StreamId, asyncio.Task[None]] = {}
        self._newest_ns = (0, 0)
        """Capture and engine's answer of the newest keyframe in the map: of what is built later, too."""
        self.upkeep = Upkeep(str(scene), config.upkeep, writer, self.write, channel, self._build, self._rest)
        self.status = writer.map.status

    # -- cameras come and go -------------------------------------------------------------------------------------------

    def join(self, stream: LiveStream) -> asyncio.Task[None]:
        """Let a camera in; the task ends when its frames do."""
        task = asyncio.create_task(self._live(stream), name=f"stream {stream.id}")
        self.streams[stream.id], self._tasks[stream.id] = stream, task
        return task

    async def leave(self, stream: StreamId) -> None:
        """Let go of a camera; what it mapped stays."""
        if (task := self._tasks.get(stream)) is not None:
            task.cancel()
            await asyncio.wait([task])

    async def forget(self, stream: StreamId) -> None:
        """Erase what a camera left that could identify it: keyframes, points, thumbnails."""
        await self.leave(stream)
        self._cache.erase(stream)
        self._windows.forget(stream)
        await self._recognition.forget(stream)
        removals, self.status = await self.write(self.writer.forget, stream)
        now_ns = time.time_ns()
        for removal in removals:
            self.channel.publish(removal, capture_ns=now_ns, infer_ns=now_ns, now_ns=now_ns)
        await self.upkeep.save()
        await asyncio.to_thread(self.writer.store.erase_stream, stream)

    def knows(self, stream: StreamId) -> bool:
        """Whether a camera is here, or left something here."""
        return stream in self.streams or self.writer.knows(stream)

    async def locate(
        self, gray: NDArray[np.uint8], intrinsics: Intrinsics, *, is_focal_guess: bool
    ) -> Located | Unlocated:
        """Where in the world a single picture (h, w) was taken; nothing of it is kept."""
        return await self._recognition.locate(gray, intrinsics, self._in_world, is_focal_guess=is_focal_guess)

    async def film(self, params: Mapping[str, Any]) -> tuple[Keyframes, dict[str, Any]]:
        """The keyframes that show best what `params` point at; raises what `server.film.film` does."""

        def look() -> tuple[int, dict[str, DepthView]]:
            known = self.writer.map
            names = [name for name, _, _ in known.keyframe_cameras() if name in self._cache]
            views = {str(name): view for name in names if (view := known.depth_view(name)) is not None}
            return known.status.epoch, views

        epoch, looks = await self.write(look)
        with self._cache.lease(looks) as kept:
            pictures = {keyframe.id: keyframe.frame.image for keyframe in kept}

            def picture(name: str) -> NDArray[np.uint8] | None:
                return pictures[name].rgb if name in pictures else None

            return await asyncio.to_thread(film, str(self.id), epoch, looks, picture, params)

    async def close(self) -> None:
        """End every camera, finish what is being written, and let go of the disk."""
        for stream in list(self._tasks):
            await self.leave(stream)
        await self._recognition.close()
        await self.upkeep.close()
        await self.write(self.writer.store.close)
        self._thread.shutdown()

    async def write(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run something in the scene's one writer thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: work(*args, **kwargs))

    async def _live(self, stream: LiveStream) -> None:
        """Both loops of one camera, from its first frame to its last."""
        mapper = asyncio.create_task(self._map_all(stream), name=f"map {stream.id}")
        try:
            async for frame in stream.frames:
                if not self._is_too_soon(stream):
                    await self._see(stream, frame)
            stream.due.close()
            await mapper
        except Exception as error:
            stream.failure = f"{type(error).__name__}: {error}"
            _log.exception("stream failed", extra={"stream": stream.id, "scene": self.id})
        finally:
            mapper.cancel()
            del self.streams[stream.id], self._tasks[stream.id]
            self._remove_camera(stream.id)
            stream.ended.set_result(None)

    # -- first loop: every frame gets a pose ---------------------------------------------------------------------------

    async def _see(self, stream: LiveStream, frame: Frame) -> None:
        """Pose one frame, answer the phone, and put the frame before the map when it is worth it."""
        if frame.encoded_ns:
            self._observe("decode", (frame.received_ns - frame.encoded_ns) * 1e-9)
        began = stream.looked_at = time.perf_counter()
        loop = asyncio.get_running_loop()
        tracked = await loop.run_in_executor(self._trackers, stream.follow, frame)
        self._observe("track", time.perf_counter() - began)
        tracked_ns = time.time_ns()
        self._answer(stream, frame, tracked, tracked_ns)
        if not stream.is_patient:
            self._load.posed(time.perf_counter() - began, time.perf_counter())
        if not tracked.keyframe:
            return
        tracked, keyframe = await loop.run_in_executor(self._trackers, stream.take_in, frame, tracked)
        if keyframe is None:
            return
        stream.counters.keyframes += 1
        due = Due(keyframe, tracked, tracked_ns)
        if stream.is_patient:
            await self._map(stream, due)
        else:
            stream.due.put(due)

    def _is_too_soon(self, stream: LiveStream) -> bool:
        """The host is late, and this camera had its turn just now."""
        now = time.perf_counter()
        return not stream.is_patient and now - stream.looked_at < self._load.interval_s(now)

    def _answer(self, stream: LiveStream, frame: Frame, tracked: Tracked, tracked_ns: int) -> None:
        """Tell the phone and everybody where the camera was; in the phone's own frame while it is not aligned."""
        counters = stream.counters
        counters.frames += 1
        counters.dropped = max(0, frame.seq + 1 - counters.frames)
        counters.tracked += tracked.state == "tracked"
        counters.width, counters.height = frame.image.width, frame.image.height
        world_from_component = self.writer.map.world_from_component(stream.id, tracked.component, frame.seq)
        own = tracked.component_from_camera
        aligned = own is not None and world_from_component is not None
        stream.world_from_camera = None
        if own is not None and world_from_component is not None:
            stream.world_from_camera = world_from_component.apply_pose(own)
        counters.state = tracked.state if aligned or tracked.state != "tracked" else "unaligned"
        answer = stream.world_from_camera if aligned else own
        stream.send(
            PoseAnswer(
                capture_ns=str(frame.capture_ns),
                state=tracked.state,
                is_aligned=aligned,
                world_from_camera=None if answer is None else pose_of_camera(answer),
                seen_share=counters.seen_share,
                scale_source=self.status.scale_source,
                points=tracked.inliers,
            )
        )
        pose = encode.pose(
            stream.id,
            frame.seq,
            counters.state,
            stream.world_from_camera,
            tracked.intrinsics,
            self.status.scale_source,
        )
        self.channel.publish(pose, capture_ns=frame.capture_ns, infer_ns=tracked_ns, now_ns=time.time_ns())
        self._tell_late(stream, tracked, world_from_component)

    def _tell_late(self, stream: LiveStream, tracked: Tracked, world_from_component: Sim3 | None) -> None:
        """Where the camera was in frames that had been answered before its map could tell."""
        if (news := stream.late.for_phone(tracked, world_from_component)) is not None:
            stream.counters.late += len(news.poses)
            stream.send(news)
        if (poses := stream.late.for_all(tracked, world_from_component)) is not None:
            self.channel.announce(LATE_POSES, {"stream": stream.id, "epoch": self.channel.epoch, "poses": poses})

    # -- second loop: keyframes become the map -------------------------------------------------------------------------

    async def _map_all(self, stream: LiveStream) -> None:
        async for due in stream.due:
            try:
                await self._map(stream, due)
            except Exception:
                _log.exception("keyframe failed", extra={"keyframe": due.keyframe.id, "scene": self.id})

    async def _map(self, stream: LiveStream, due: Due) -> None:
        """Keyframe -> window -> engine -> map -> NavMesh -> bus. What it looks like follows by the third loop."""
        keyframe = due.keyframe
        began = time.perf_counter()
        prediction = await self._predict(stream, keyframe)
        inferred, infer_ns = time.perf_counter(), time.time_ns()
        if prediction is not None and self._pool.provenance not in self.writer.made_with:
            await self.write(self.writer.note_maker, self._pool.provenance)
        step = await self.write(self.writer.add, due.tracked, keyframe.frame, prediction, self._viewers())
        written = time.perf_counter()
        self._newest_ns = keyframe.frame.capture_ns, infer_ns
        self._publish(step)
        self.upkeep.build_soon()
        published = time.perf_counter()
        stream.counters.mapped += 1
        hops = step.seconds | {"infer": inferred - began, "publish": published - written}
        hops |= {"write_wait": written - inferred - sum(step.seconds.values()), "keyframe_to_tile": published - began}
        for hop, seconds in hops.items():
            self._observe(hop, seconds)
        stream.counters.seen_share = await self.write(self.writer.seen_share, stream.id)
        if stream.is_patient:
            await self._recognition.look(due.tracked, keyframe.frame)
        else:
            self._recognition.offer(due.tracked, keyframe.frame)
            await self._rest(Work.KEYFRAME, sum(step.seconds.values()))

    async def _predict(self, stream: LiveStream, keyframe: Keyframe) -> WindowPrediction | None:
        """Ask the engine; None when the frame brings its own depth or there is no answer in time."""
        try:
            self._cache.add(keyframe)  # also for whoever asks later what a thing looks like
        except CacheFullError:
            return None
        if keyframe.frame.depth is not None:
            return None
        walk, name = (stream.id, keyframe.component), KeyframeId(keyframe.id)
        window = stream.window(self._cache, keyframe, self._windows.choose(walk, name, self._cache.__contains__))
        with self._cache.lease([view.keyframe for view in window.views]):
            try:
                deadline_s = None if stream.is_patient else self.config.deadline_s
                prediction = await self._pool.predict(stream.id, window, deadline_s)
            except (NoPrediction, LaneFull) as error:
                _log.info("keyframe without depth", extra={"keyframe": keyframe.id, "reason": str(error)})
                return None
        if (descriptor := prediction.views[-1].descriptor) is not None:
            self._windows.describe(walk, name, descriptor)
        return prediction

    async def _connect(self, seen: list[Seen]) -> None:
        """Places were recognised: where enough of them agree, a phone's map becomes part of the world."""
        self._publish(await self.write(self.writer.recognise, seen, self._viewers()))
        self.upkeep.build_soon()

    async def _keep_places(self, places: list[Place]) -> None:
        await self.write(self.writer.keep_places, places)
        self.upkeep.save_soon()

    def _publish(self, step: Step) -> None:
        """Corrections first, then what was built in the corrected world."""
        now_ns = time.time_ns()
        capture_ns, infer_ns = self._newest_ns if self._newest_ns[0] else (now_ns, now_ns)
        self.status = step.status
        self.channel.scale_source, self.channel.gravity_source = step.status.scale_source, step.status.gravity_source
        for move in step.moves:
            if move.new_from_old is not None:
                self.channel.move(move.new_from_old, move.epoch, move.reason)
        for item in step.publications:
            if item.layer in CAMERA_LAYERS and item.key[0] not in self.streams:
                continue  # it left meanwhile
            self.channel.publish(item, capture_ns=capture_ns, infer_ns=infer_ns, now_ns=time.time_ns())

    def _in_world(self, place: Place) -> Sim3 | None:
        """world_from_camera of a place, its scale that of the place's depths."""
        stream, component = place.component
        world = self.writer.map.world_from_component(stream, component, seq_of(place.keyframe))
        return None if world is None else world @ Sim3.from_rigid(place.component_from_camera)

    def _remove_camera(self, stream: StreamId) -> None:
        now_ns = time.time_ns()
        for gone in CAMERA_LAYERS:
            self.channel.publish(encode.Removal(gone, (stream,)), capture_ns=now_ns, infer_ns=now_ns, now_ns=now_ns)

    def _viewers(self) -> list[F64]:
        return [s.world_from_camera[:3, 3] for s in self.streams.values() if s.world_from_camera is not None]

    async def _rest(self, work: Work, spent_s: float) -> None:
        """Let poses go first while they are late."""
        await asyncio.sleep(self._load.rest_s(work, spent_s, time.perf_counter()))

    async def _build(self) -> Step:
        """Build and publish a little of what waits."""
        began = time.perf_counter()
        step = await self.write(self.writer.build, self._viewers())
        self._publish(step)
        self._observe("build", time.perf_counter() - began)
        return step


def _place_index(scene: SceneId, config: Config) -> PlaceIndex:
    if config.postgres is None:
        return LocalIndex(config.places.max_places)
    from server.scene_geometry import Config as PostgresConfig  # needs the extra `postgres`
    from server.scene_geometry import PostgresIndex

    return PostgresIndex(scene, PostgresConfig(dsn=config.postgres))
