"""Phones played live: a real `server.Scene` and its worker, frames at the clips' own pace, late ones dropped."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.evaluation.options import Options
from benchmarks.evaluation.phone import Phone, Reel
from benchmarks.evaluation.resources import Meter
from benchmarks.evaluation.session import Mapped, Played, Session, WatchedStream, note_alignment
from mapping.engines import WindowPrediction
from mapping.scene_map import warm_up
from mapping.store.scene_store import Store
from mapping.tracking.tracked import Tracked
from navmesh.incremental import Viewers
from server.bus.bus import Bus
from server.replay import newest
from server.scene import Scene
from server.workers.pool import Config as PoolConfig
from server.workers.pool import Pool
from server.writer import Step, Writer
from streams.frame import Frame, SceneId, StreamId
from streams.sources.play import Player

SCENE = SceneId("evaluation")


def play_live(phones: Sequence[Phone], options: Options) -> Session:
    """All phones at once, each at its clip's frame rate; whoever is late misses frames, as with real phones."""
    return asyncio.run(_play(phones, options))


async def _play(phones: Sequence[Phone], options: Options) -> Session:
    pool = Pool(PoolConfig(), options.engine, options.engine_options)
    warm_up()
    if options.with_map:
        await pool.start()
    trackers = ThreadPoolExecutor(max(2, os.cpu_count() or 2), thread_name_prefix="tracker")
    played = {phone.name: Played(phone) for phone in phones}
    with tempfile.TemporaryDirectory() as folder, trackers:
        store = await asyncio.to_thread(Store.open, Path(folder) / SCENE, options.scene.map.store)
        writer = WatchedWriter(options, store, played)
        scene = Scene(SCENE, options.scene, writer, Bus().open(SCENE), pool, trackers)
        began_s, reels = time.perf_counter(), [Reel(phone) for phone in phones]
        with Meter() as meter:
            streams = [_join(scene, played[reel.phone.name], reel, options) for reel in reels]
            await asyncio.gather(*(stream.ended for stream in streams))
            wall_s = time.perf_counter() - began_s
            await scene.upkeep.settle()
        await scene.close()
        await pool.close()
    for reel, stream in zip(reels, streams, strict=True):
        played[reel.phone.name].decode_cpu_s, played[reel.phone.name].failure = reel.decode_cpu_s, stream.failure
    return Session(
        tuple(played.values()), writer.map, meter.cost(wall_s, sum(r.decode_cpu_s for r in reels)), live=True
    )


class WatchedWriter(Writer):
    """The scene's writer, leaving a trace of every keyframe and passing on what a person says meanwhile."""

    def __init__(self, options: Options, store: Store, played: dict[StreamId, Played]) -> None:
        super().__init__(SCENE, options.scene.map, store)
        self._options, self._played = options, played
        self._began_ns = time.time_ns()

    def add(self, tracked: Tracked, frame: Frame, prediction: WindowPrediction | None, viewers: Viewers) -> Step:
        """See `Writer.add`."""
        step = super().add(tracked, frame, prediction, viewers)
        mine, now_ns = self._played[frame.stream], time.time_ns()
        mine.mapped.append(Mapped(tracked, prediction, now_ns))
        mine.map_latency_ms.append((now_ns - mine.phone.true_time_ns(frame)) * 1e-6)
        self._options.cue(self.map, mine)
        note_alignment(self._played.values(), self.map, (now_ns - self._began_ns) * 1e-9)
        return step


def _join(scene: Scene, played: Played, reel: Reel, options: Options) -> WatchedStream:
    scene.writer.map.join(reel.phone.name, options.joining(reel.phone))
    stream = WatchedStream(played, _filmed(reel), options.scene.tracker, options.scene.keyframes)
    scene.join(stream)
    return stream


async def _filmed(reel: Reel) -> AsyncIterator[Frame]:
    """A phone's frames as they come, stamped by its own clock."""
    async for frame in newest(Player(reel, realtime=True)):
        yield reel.phone.stamped(frame)
