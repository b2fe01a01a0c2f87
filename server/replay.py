"""Recordings that play as if they were phones: each source a stream, all into one scene."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from server.api.contract import SceneSummary, StreamOptions
from server.scenes import Scenes
from streams.frame import Frame, Intrinsics, SceneId, StreamId
from streams.mailbox import Mailbox
from streams.sources import open_source
from streams.sources.play import Player

Progress = Callable[[str, int, int | None], None]
"""Told of every frame: which source, how many so far, of how many (None = unknown)."""


@dataclass(frozen=True, slots=True)
class Played:
    """What became of one source."""

    stream: str
    frames: int
    tracked: int
    late: int
    """Frames that were posed once the map could tell, after they had been answered."""
    dropped: int
    keyframes: int
    failure: str | None
    """What went wrong in mapping it, if anything."""
    ended_early: str | None
    """Where the recording broke off, if it did."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What a replay gave."""

    scene: SceneSummary
    sources: tuple[Played, ...]
    seconds: float


async def replay(
    scenes: Scenes,
    scene: SceneId,
    locations: Sequence[str],
    *,
    realtime: bool,
    intrinsics: Intrinsics | None = None,
    posed: bool = False,
    progress: Progress = lambda source, done, total: None,
) -> Summary:
    """Play every source at once, then build what is left to build.

    Raises:
        SourceError: a source cannot be opened or read.
    """
    began = time.monotonic()
    played = await asyncio.gather(
        *(_play(scenes, scene, location, realtime, intrinsics, posed, progress) for location in locations)
    )
    await scenes.settle(scene)
    return Summary(scenes.scene(scene), tuple(played), time.monotonic() - began)


async def _play(
    scenes: Scenes,
    scene: SceneId,
    location: str,
    realtime: bool,
    intrinsics: Intrinsics | None,
    posed: bool,
    progress: Progress,
) -> Played:
    name = StreamId(Path(location.rstrip("/")).name or location)
    source = await asyncio.to_thread(open_source, location, name, intrinsics, posed=posed)
    player = Player(source, realtime=realtime)
    frames = newest(player) if realtime else every(player)

    async def counted() -> AsyncIterator[Frame]:
        done = 0
        async for frame in frames:
            done += 1
            progress(location, done, source.num_frames)
            yield frame

    options = StreamOptions(world=name if posed else None)
    stream = await scenes.replay(scene, name, counted(), options, is_patient=not realtime)
    try:
        await stream.ended
    finally:
        player.close()
    counters = stream.counters
    return Played(
        name,
        counters.frames,
        counters.tracked,
        counters.late,
        counters.dropped + player.late,
        counters.keyframes,
        stream.failure,
        source.ended_early,
    )


async def every(player: Player) -> AsyncIterator[Frame]:
    """Each frame in turn, read in a thread when the one before is done with."""
    iterator = iter(player)
    while (frame := await asyncio.to_thread(next, iterator, None)) is not None:
        yield frame


async def newest(player: Player) -> AsyncIterator[Frame]:
    """Frames as a live camera delivers them: the newest waits, older ones are gone."""
    mailbox: Mailbox[Frame] = Mailbox()

    def pump() -> None:
        try:
            for frame in player:
                mailbox.put(frame)
        finally:
            mailbox.close()

    pumping = asyncio.create_task(asyncio.to_thread(pump))
    try:
        async for frame in mailbox:
            yield frame
        await pumping
    finally:
        player.close()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([pumping])
