"""One core, two who want it: the real geometry engine, and a generation lane that never runs dry.

Turns of calls under each condition follow each other in random order: `held` (generation is kept parked), `again` (the
same once more), `gated` (the lane as it is shipped), `ungated` (the same work in a process as anybody would start it:
no gate, no `nice`). Some turns of each make a window, whose figures are compared with each other and no others, so that
drift of the machine falls on all alike. Pictures come at a steady pace that leaves the core idle 45 % of the time; a
call that is late makes the pictures that came meanwhile go, as the server's newest-wins lane does. Latency is from when
a picture came to its answer.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.generation.windows import CONDITIONS, Condition, Window, core_busy_s, median, pooled, used_s
from mapping.changes import KeyframeId
from mapping.engines import View
from mapping.engines import Window as Views
from mapping.transforms import rigid
from server.assets.bus import AssetBus
from server.generation.controller import Controller
from server.generation.gate import Call, GateMemory, Watch
from server.generation.opened import Config, Generation, gates, opened
from server.generation.overseer import TICK_S
from server.generation.process import Config as ProcessConfig
from server.generation.process import ProviderProcess
from server.jobs.values import Wanted
from server.workers.pool import Config as PoolConfig
from server.workers.pool import Pool
from streams.frame import Intrinsics, StreamId

TURN = 25
"""Calls."""
TURNS = 4
"""Of each condition in a window: so it has a 99th percentile of its own."""
MOST_FOREIGN = 0.02
"""A window in which others had more of the core than this says nothing."""
PATIENCE = 3
"""So many times the windows that are wanted are looked at for enough that say something."""
IDLE = 0.45
BLOCK_MS = 2.5
SIDE_PX = 128
WINDOWS = 16


@dataclass(frozen=True, slots=True)
class Shared:
    """What sharing cost. Growths are medians over windows, `pooled` ones of all calls together.

    `_low` and `_high`: where they lie in 95 of 100 cases.
    """

    calls: int
    """Of each condition, in the windows that count."""
    windows: int
    windows_disturbed: int
    """By others on the same core; they do not count, unless there is hardly another."""
    foreign_share: float
    """Of the core's time in the windows that count: what others took."""
    alone_ms_p50: float
    alone_ms_p99: float
    p99_growth: float
    p99_growth_low: float
    p99_growth_high: float
    p99_growth_ungated: float
    p99_growth_ungated_low: float
    p99_growth_ungated_high: float
    p99_growth_pooled: float
    p99_growth_pooled_low: float
    p99_growth_pooled_high: float
    p99_growth_pooled_ungated: float
    p99_noise: float
    """As much do two measurements of the same differ, in half of the windows."""
    p50_growth: float
    park_ms_p99: float
    idle_share: float
    """Processor time that generation got, of what perception left idle while it was gated."""
    stops: int
    block_ms: float
    """Processor time of one block of the generator."""
    duty: float
    """Share of the time that the lane's controller leaves generation at the end."""


async def share(calls: int, seed: int) -> Shared:
    """Measure at least `calls` calls of each condition."""
    cores = os.sched_getaffinity(0)
    core = max(cores)
    os.sched_setaffinity(0, cores - {core} or cores)  # the server itself is elsewhere, if there is an elsewhere
    config = Config.model_validate({"lane": {"workers": {"process": {"cores": [core]}}}})
    with tempfile.TemporaryDirectory() as folder, gates(("cpu",)) as gate_by_device:
        gate, root = gate_by_device["cpu"], Path(folder)
        pool = Pool(PoolConfig(), "classical", {"long_side_px": SIDE_PX}, gate_by_device)
        with AssetBus(root / "assets") as bus:
            async with opened(config, root / "jobs", bus, gate_by_device, b"") as generation:
                await pool.start()
                try:
                    pid = pool.stats()[0].pid
                    assert pid is not None
                    os.sched_setaffinity(pid, {core})
                    return await _Rig(pool, generation, gate, core, random.Random(seed)).measure(calls)
                finally:
                    await pool.close()


class _Rig:
    def __init__(self, pool: Pool, generation: Generation, gate: GateMemory, core: int, chance: random.Random) -> None:
        self._pool, self._generation, self._chance = pool, generation, chance
        self._gate, self._core = gate, core
        self._controller = generation.lanes["cpu"].overseer.controller
        self._watch, self._num_calls = Watch(gate), 0
        self._windows = [_wall(n) for n in range(WINDOWS)]
        self._names = itertools.count()

    async def measure(self, calls: int) -> Shared:
        feeding = asyncio.create_task(self._feed())
        rival = await self._rival()
        rival.pause()
        windows: list[Window] = []
        wanted = max(1, -(-calls // (TURN * TURNS)))
        try:
            await self._hold(True)
            alone_s = [await self._call() for _ in range(2 * TURN)]
            period_s = statistics.median(alone_s[TURN:]) / (1 - IDLE)
            while len(windows) < PATIENCE * wanted and len(_quiet(windows)) < wanted:
                windows.append(await self._window(rival, period_s))
                print(f"window {len(windows)}, {len(_quiet(windows))} of {wanted} quiet", file=sys.stderr, flush=True)
            overseer = self._generation.lanes["cpu"].overseer
            park_ms_p99 = float(self._figures().get("park_ms_p99", np.nan))
        finally:
            feeding.cancel()
            await rival.kill()
        quiet = _quiet(windows)
        counted = quiet if 2 * len(quiet) >= wanted else windows
        held = np.concatenate([window.latencies_s["held"] for window in counted])
        gated, ungated = (median([w.growth(condition, 0.99) for w in counted]) for condition in ("gated", "ungated"))
        together, together_ungated = (pooled(counted, condition, 0.99) for condition in ("gated", "ungated"))
        return Shared(
            calls=len(held),
            windows=len(counted),
            windows_disturbed=len(windows) - len(quiet),
            foreign_share=statistics.fmean(window.foreign_share for window in counted),
            alone_ms_p50=1e3 * float(np.median(held)),
            alone_ms_p99=1e3 * float(np.quantile(held, 0.99)),
            p99_growth=gated.value,
            p99_growth_low=gated.low,
            p99_growth_high=gated.high,
            p99_growth_ungated=ungated.value,
            p99_growth_ungated_low=ungated.low,
            p99_growth_ungated_high=ungated.high,
            p99_growth_pooled=together.value,
            p99_growth_pooled_low=together.low,
            p99_growth_pooled_high=together.high,
            p99_growth_pooled_ungated=together_ungated.value,
            p99_noise=statistics.median(abs(window.growth("again", 0.99)) for window in counted),
            p50_growth=statistics.median(window.growth("gated", 0.5) for window in counted),
            park_ms_p99=park_ms_p99,
            idle_share=sum(window.used_s for window in counted) / sum(window.idle_s for window in counted),
            stops=overseer.stops,
            block_ms=BLOCK_MS,
            duty=self._controller.duty,
        )

    async def _window(self, rival: ProviderProcess, period_s: float) -> Window:
        """Turns of all conditions in random order."""
        latencies: dict[Condition, list[float]] = {condition: [] for condition in CONDITIONS}
        idle_s = generation_s = 0.0
        began, busy_s, ours_s = time.monotonic(), core_busy_s(self._core), self._ours_s(rival)
        for condition in self._chance.sample(CONDITIONS * TURNS, TURNS * len(CONDITIONS)):
            await self._hold(condition != "gated")
            if condition == "ungated":
                rival.resume()
            used_before_s, turn_began = used_s(self._generator()), time.monotonic()
            self._busy_s()
            turn_s = await self._turn(period_s)
            if condition == "gated":
                generation_s += used_s(self._generator()) - used_before_s
                idle_s += time.monotonic() - turn_began - self._busy_s()
            rival.pause()
            latencies[condition] += turn_s
        foreign_s = core_busy_s(self._core) - busy_s - (self._ours_s(rival) - ours_s)
        return Window(latencies, generation_s, idle_s, max(0.0, foreign_s) / (time.monotonic() - began))

    def _ours_s(self, rival: ProviderProcess) -> float:
        """Processor time of all that belongs on the core."""
        pids = [self._pool.stats()[0].pid, rival.pid, *self._generator()]
        return used_s(pid for pid in pids if pid is not None)

    def _generator(self) -> list[int]:
        worker = self._generation.lanes["cpu"].worker
        return [] if worker is None else [worker.pid]

    async def _feed(self) -> None:
        """Keep the lane busy: one job runs, one waits."""
        desk = self._generation.desk
        jobs: list[str] = []
        for seed in itertools.count():
            wanted = Wanted(provider="rehearsal", seed=seed, params={"blocks": 4000, "block_ms": BLOCK_MS})
            jobs.append((await desk.submit(wanted, ()))[0].job)
            if len(jobs) > 1:
                while not (await desk.wait(jobs[0], 60.0)).is_over:
                    pass
                jobs.pop(0)

    async def _rival(self) -> ProviderProcess:
        """The same work at the same core, with a gate that nobody raises."""
        known = self._generation.registry.get("rehearsal")
        config = ProcessConfig(nice=0, cores=(self._core,))
        rival = await ProviderProcess.spawn(known, "cpu", GateMemory.create(), config)
        request = {"job": "rival", "files": {}, "seed": 1, "text": "", "output": "mesh"}
        rival.tell("run", run="rival", request=request | {"params": {"blocks": 10**9}}, spool="/nonexistent")
        return rival

    async def _turn(self, period_s: float) -> list[float]:
        """Latencies of some calls at a steady pace."""
        latencies = []
        due = time.monotonic() + period_s
        for _ in range(TURN):
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            await self._call()
            ended = time.monotonic()
            latencies.append(ended - due)
            due += period_s * max(
                1, int((ended - due) / period_s)
            )  # the newest picture that has come by now, or the next
        return latencies

    async def _call(self) -> float:
        """Seconds of one window, seen from the server."""
        n = next(self._names)
        views = tuple(
            View(KeyframeId(f"{n}/{i}"), v.rgb, v.intrinsics, v.prior_window_from_camera)
            for i, v in enumerate(self._windows[n % WINDOWS].views)
        )
        began = time.monotonic()
        await self._pool.predict(StreamId("phone"), Views(views))
        return time.monotonic() - began

    async def _hold(self, hold: bool) -> None:
        """Keep the lane's worker parked; its controller hears nothing of the calls meanwhile."""
        overseer = self._generation.lanes["cpu"].overseer
        overseer.controller = _Holding(Config().lane.control) if hold else self._controller
        await asyncio.sleep(2 * TICK_S)

    def _busy_s(self) -> float:
        """For how long perception had the core since this was asked last."""
        calls, self._num_calls = self._watch.calls_since(self._num_calls)
        return sum(call.ended_ns - call.began_ns for call in calls) / 1e9

    def _figures(self) -> dict[str, Any]:
        worker = self._generation.lanes["cpu"].worker
        return {} if worker is None else worker.figures


class _Holding(Controller):
    """Holds generation, whatever it costs."""

    def note(self, calls: list[Call]) -> None:
        pass

    def hold(self, now_s: float, has_calls: bool) -> bool:
        return True


def _quiet(windows: list[Window]) -> list[Window]:
    return [window for window in windows if window.foreign_share <= MOST_FOREIGN]


def _wall(seed: int) -> Views:
    """Three views of a textured wall, from side to side."""
    height, width = SIDE_PX * 3 // 4, SIDE_PX
    noise = np.random.default_rng(seed).integers(0, 255, (height // 4, width, 3), np.uint8)
    wall = cv2.resize(noise, (2 * width, height))
    k = Intrinsics.from_fov(width, height)
    return Views(
        tuple(
            View(
                KeyframeId(f"{i}"),
                np.ascontiguousarray(wall[:, 10 * i : 10 * i + width]),
                k,
                rigid(np.eye(3), [0.1 * i, 0, 0]),
            )
            for i in range(3)
        )
    )
