"""Phones played into a scene in one thread, every frame, as fast as it goes: the same result every time."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Sequence

from benchmarks.evaluation.options import Options
from benchmarks.evaluation.phone import Phone, Reel
from benchmarks.evaluation.resources import Meter
from benchmarks.evaluation.session import Mapped, Played, Session, WatchedStream, note_alignment
from benchmarks.offline import Offline, nothing
from mapping import engines
from navmesh.recast import Agent

START_NS = 1_700_000_000_000_000_000


def play_fast(phones: Sequence[Phone], options: Options) -> Session:
    """Frames of all phones in the order of their capture; the map is waited for, nothing is dropped."""
    return asyncio.run(_play(phones, options))


async def _play(phones: Sequence[Phone], options: Options) -> Session:
    engine = engines.create(options.engine, options.engine_options) if options.with_map else None
    if engine is not None:
        engine.warm_up()
    offline = Offline(engine, Agent(), options.scene.map.map, options.scene.window or engines.windows(options.engine))
    played = {phone.name: Played(phone) for phone in phones}
    for phone in phones:
        live = WatchedStream(played[phone.name], nothing(), options.scene.tracker, options.scene.keyframes)
        offline.join(phone.name, options.joining(phone), live)
    reels = [Reel(phone, START_NS) for phone in phones]
    began_s = time.perf_counter()
    with Meter() as meter:
        for frame in heapq.merge(*(reel.frames() for reel in reels), key=lambda frame: frame.capture_ns):
            mine = played[frame.stream]
            seen = offline.see(mine.phone.stamped(frame))
            if seen.keyframe is None:
                continue
            mine.mapped.append(Mapped(seen.tracked, seen.prediction, time.time_ns()))
            options.cue(offline.map, mine)
            note_alignment(played.values(), offline.map, (frame.capture_ns - START_NS) * 1e-9)
        offline.settle()
    for reel in reels:
        played[reel.phone.name].decode_cpu_s = reel.decode_cpu_s
    cost = meter.cost(time.perf_counter() - began_s, sum(reel.decode_cpu_s for reel in reels))
    return Session(tuple(played.values()), offline.map, cost, live=False)
