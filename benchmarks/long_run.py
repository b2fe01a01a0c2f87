"""Does a long session cost what its first minute did? `python -m benchmarks.long_run CLIP|corridor [--minutes 60]`.

The whole chain at work for so many virtual minutes, every frame, as fast as it goes: a real `server.Scene` with its
tracker, engine, map, recognition, tiles and store. CLIP is played forwards and backwards in turn, so that the camera
never jumps: all ground is known after the first pass. `corridor` is a walk over ground that nobody has seen before,
which is what makes maps grow (`benchmarks.endless`).

Every minute is told on stderr and, with `--out DIR`, added to DIR/minutes.jsonl and to a picture: a run that is cut
short has its figures, too. CPU is that of the server and its workers, without the player's reading of pictures:
`frame_cpu_ms` the posing of a frame, `keyframe_cpu_ms` all the rest, by keyframe that the map took in. `rss_mb` is
that of all processes. `mb_per_keyframe` is what memory grew by since before the first frame, over the keyframes that
the map took in; `mb_per_kept` the same over those that it keeps (at most `max_keyframes`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from itertools import count
from pathlib import Path

import cv2

from benchmarks import endless
from benchmarks.clips import Clip
from benchmarks.evaluation.long_plot import plot
from benchmarks.evaluation.resources import cpu_s, resident_mb
from mapping.scene_map import warm_up
from mapping.store.scene_store import Store
from mapping.tracking import tracker
from mapping.tracking.tracked import Tracked
from server.bus.bus import Bus
from server.live import LiveStream
from server.scene import Config, Scene
from server.workers.pool import Config as PoolConfig
from server.workers.pool import Pool
from server.writer import Writer
from streams.frame import Frame, SceneId, StreamId

CORRIDOR = Path("corridor")
"""Stands for ever-new ground where the command takes a clip."""
_SCENE = SceneId("long")


@dataclass(frozen=True, slots=True)
class Minute:
    """What one minute cost, and what there was at its end."""

    minute: int
    frame_cpu_ms: float
    keyframe_cpu_ms: float
    keyframes: int
    """That the map took in, in this minute."""
    tracked: float
    """Share of frames posed."""
    rss_mb: float
    kept: int
    """Keyframes that the map holds."""
    blocks: int
    components: int
    epoch: int
    disk_mb: float


@dataclass(frozen=True, slots=True)
class Result:
    """All minutes, and what follows from them."""

    ground: str
    minutes: tuple[Minute, ...]
    rss_before_mb: float

    @property
    def keyframe_ratio(self) -> float:
        """Cost of a keyframe in the last minute over that in the first one."""
        return self.minutes[-1].keyframe_cpu_ms / max(self.minutes[0].keyframe_cpu_ms, 1e-9)

    @property
    def frame_ratio(self) -> float:
        return self.minutes[-1].frame_cpu_ms / max(self.minutes[0].frame_cpu_ms, 1e-9)

    @property
    def growth_mb(self) -> float:
        """Memory after the last minute, less that before the first frame."""
        return self.minutes[-1].rss_mb - self.rss_before_mb

    def figures(self) -> dict[str, object]:
        """For people and programs."""
        last = self.minutes[-1]
        return {
            "ground": self.ground,
            "minutes": len(self.minutes),
            "keyframes": sum(minute.keyframes for minute in self.minutes),
            "keyframe_ratio": round(self.keyframe_ratio, 3),
            "frame_ratio": round(self.frame_ratio, 3),
            "growth_mb": round(self.growth_mb, 1),
            "mb_per_keyframe": round(self.growth_mb / max(1, sum(minute.keyframes for minute in self.minutes)), 3),
            "mb_per_kept": round(self.growth_mb / max(1, last.kept), 3),
            "first": asdict(self.minutes[0]),
            "last": asdict(last),
        }


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """What is filmed."""

    name: StreamId
    fps: float
    frames: Callable[[int], Iterator[Frame]]
    """From when the first is captured (Unix ns)."""


def open_ground(clip: Path, every: int = 1) -> Ground:
    """A clip to and fro, each so-manieth frame of it, or the corridor.

    Raises:
        OSError, ValueError: there is no such clip.
    """
    if clip == CORRIDOR:
        return Ground(endless.NAME, endless.FPS, endless.frames)
    opened = Clip.open(clip)
    fps = opened.fps / every
    return Ground(StreamId(opened.name), fps, lambda start_ns: _looped(opened, every, start_ns))


def run(ground: Ground, minutes: int, told: Callable[[Result], None] = lambda so_far: None) -> Result:
    """Film it for so many virtual minutes; `told` of each."""
    return asyncio.run(_run(ground, minutes, told))


async def _run(ground: Ground, minutes: int, told: Callable[[Result], None]) -> Result:
    config = Config()
    pool = Pool(PoolConfig(), "classical")
    tracker.warm_up()
    warm_up()
    await pool.start()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as trackers:
        store = await asyncio.to_thread(Store.open, Path(folder) / _SCENE, config.map.store)
        scene = Scene(_SCENE, config, Writer(_SCENE, config.map, store), Bus().open(_SCENE), pool, trackers)
        watch = _Watch(scene, ground, Path(folder), told)
        stream = _Timed(ground.name, "replay", watch.filmed(minutes), is_patient=True)
        watch.stream = stream
        scene.join(stream)
        await stream.ended
        if stream.failure is not None:
            raise RuntimeError(stream.failure)
        await scene.close()
        await pool.close()
    return watch.result


class _Timed(LiveStream):
    """A camera's connection that knows what its poses cost."""

    posing_s = 0.0
    component = 0

    def follow(self, frame: Frame) -> Tracked:
        """See `LiveStream.follow`."""
        began_s = time.thread_time()
        tracked = super().follow(frame)
        self.posing_s += time.thread_time() - began_s
        self.component = tracked.component
        return tracked


@dataclass(slots=True, eq=False)
class _Spent:
    """Counters at the beginning of a minute."""

    cpu_s: float = 0.0
    reading_s: float = 0.0
    posing_s: float = 0.0
    frames: int = 0
    tracked: int = 0
    mapped: int = 0


@dataclass(slots=True, eq=False)
class _Watch:
    """Hands out the frames and closes the books after each minute."""

    scene: Scene
    ground: Ground
    folder: Path
    told: Callable[[Result], None]
    stream: _Timed | None = None
    result: Result = field(init=False)
    _reading_s: float = 0.0
    _before: _Spent = field(default_factory=_Spent)

    async def filmed(self, minutes: int) -> AsyncIterator[Frame]:
        """Every frame; the last one is of this moment, for the store forgets what is a day old."""
        self.result = Result(str(self.ground.name), (), resident_mb())
        self._before = self._now()
        per_minute = round(60 * self.ground.fps)
        frames = self.ground.frames(time.time_ns() - round(minutes * 60e9))
        for n in range(minutes * per_minute):
            if n and n % per_minute == 0:
                await self._close_minute()
            yield await asyncio.to_thread(self._read, frames)
        await self._close_minute()

    def _read(self, frames: Iterator[Frame]) -> Frame:
        began_s = time.thread_time()
        frame = next(frames)
        _ = frame.image.gray  # the player's work, not the tracker's
        self._reading_s += time.thread_time() - began_s
        return frame

    async def _close_minute(self) -> None:
        assert self.stream is not None
        await self.scene.upkeep.settle()
        await self.scene.upkeep.save()
        before, now, status = self._before, self._now(), self.scene.writer.map.status
        frames, mapped = now.frames - before.frames, now.mapped - before.mapped
        posing_s = now.posing_s - before.posing_s
        spent_s = now.cpu_s - before.cpu_s - (now.reading_s - before.reading_s) - posing_s
        done = Minute(
            minute=len(self.result.minutes) + 1,
            frame_cpu_ms=round(1e3 * posing_s / max(1, frames), 2),
            keyframe_cpu_ms=round(1e3 * spent_s / max(1, mapped), 1),
            keyframes=mapped,
            tracked=round((now.tracked - before.tracked) / max(1, frames), 4),
            rss_mb=round(resident_mb(), 1),
            kept=status.num_keyframes,
            blocks=status.num_blocks,
            components=self.stream.component + 1,
            epoch=status.epoch,
            disk_mb=round(sum(file.stat().st_size for file in self.folder.rglob("*") if file.is_file()) / 2**20, 1),
        )
        self.result = replace(self.result, minutes=(*self.result.minutes, done))
        self.told(self.result)
        self._before = self._now()  # telling is not the server's work

    def _now(self) -> _Spent:
        if self.stream is None:
            return _Spent(cpu_s(), self._reading_s)
        counters = self.stream.counters
        return _Spent(
            cpu_s(), self._reading_s, self.stream.posing_s, counters.frames, counters.tracked, counters.mapped
        )


def _looped(clip: Clip, every: int, start_ns: int) -> Iterator[Frame]:
    """The clip to and fro, for ever, at its own frame rate."""
    there = list(range(0, len(clip.images), every))
    way = there + there[-2:0:-1]
    for n in count():
        now_ns = start_ns + round(n * every * 1e9 / clip.fps)
        at = way[n % len(way)]
        frame = clip.frame(at, stream=StreamId(clip.name), capture_ns=now_ns, posed=False, with_intrinsics=True)
        yield replace(frame, seq=n)


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.long_run", description="Cost of a long session.")
    parser.add_argument("clip", type=Path, metavar="CLIP", help="folder with rgb/ and camera.json, or `corridor`")
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--every", type=int, default=1, help="play each so-manieth frame of the clip")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write minutes.jsonl and minutes.png there")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    if options.minutes < 1:
        parser.error("--minutes must be at least 1")
    cv2.setNumThreads(1)
    try:
        ground = open_ground(options.clip, options.every)
    except (OSError, ValueError) as error:
        print(f"{options.clip} is not a clip: {error}", file=sys.stderr)
        return 2
    result = run(ground, options.minutes, lambda so_far: _tell(so_far, options.out))
    print(json.dumps(result.figures()) if options.json else _table(result))
    return 0


def _tell(so_far: Result, out: Path | None) -> None:
    newest = json.dumps(asdict(so_far.minutes[-1]))
    print(newest, file=sys.stderr, flush=True)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        with (out / "minutes.jsonl").open("w" if len(so_far.minutes) == 1 else "a") as lines:
            lines.write(newest + "\n")
        plot(out / "minutes.png", so_far.ground, [asdict(minute) for minute in so_far.minutes])


def _table(result: Result) -> str:
    return "\n".join(f"{name:>16}  {value}" for name, value in result.figures().items())


if __name__ == "__main__":
    sys.exit(main())
