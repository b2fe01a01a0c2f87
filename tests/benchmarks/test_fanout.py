"""The benchmarks of the fan-out: real clients in a process of their own, and what is made of their samples."""

from __future__ import annotations

import asyncio
import contextlib

import numpy as np
import pytest

from benchmarks import fanout
from benchmarks.bus_server import bus_server, tile
from benchmarks.stall import Period, report
from server.bus.bus import Config as BusConfig
from server.bus.pace import Config as PaceConfig
from server.protocol import CLOSE_TOO_SLOW

STALLED = {"close_code": CLOSE_TOO_SLOW, "resumed": True, "resume_tiles": 50}


async def test_every_client_gets_every_update() -> None:
    result = await fanout.measure(tls=True, num_clients=3, size_bytes=70_000, per_s=50, seconds=1.0)
    assert result["received_share"] > 0.8
    assert 0 < result["latency_ms"]["p50"] <= result["latency_ms"]["p99"]
    assert result["cpu_ms_per_1000"]["server"] > 0


async def test_one_that_stops_reading_is_closed_and_resumes_with_what_changed() -> None:
    quick = BusConfig(pace=PaceConfig(slow_after_s=0.2, close_after_s=0.5))
    async with bus_server(tls=True, config=quick) as server:
        for key in range(100, 120):
            server.put(tile(key, 1000))
        publishing = asyncio.create_task(server.publish(list(range(4)), 1_000_000, 100.0))
        async with server.clients(stall_after=0.1) as stalled:
            await server.evicted(1, within_s=30.0)
            result = await stalled.finish()
        publishing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await publishing
    assert result["close_code"] == CLOSE_TOO_SLOW
    assert result["resumed"]
    assert result["resume_tiles"] <= 4
    assert result["keys_held"] == 24


@pytest.mark.parametrize(
    ("slower", "noise", "told"), [(1.05, 0.02, "yes"), (1.6, 0.02, "no"), (1.2, 0.6, "too noisy to tell")]
)
def test_the_verdict_knows_its_own_noise(slower: float, noise: float, told: str) -> None:
    rng = np.random.default_rng(3)
    periods = [Period(30.0 * i, 30.0 * i + 20, 0.1, 1000, 1.0) for i in range(9)]
    samples = []
    for i, period in enumerate(periods):
        scale = (1 + i / 20) * (slower if i % 2 else 1.0) * (1 + noise * (-1) ** (i // 2))
        samples.append(np.c_[np.linspace(period.began_s, period.ended_s, 2000), scale * rng.gamma(4.0, 1.0, 2000)])
    result = report(periods, np.concatenate(samples), [STALLED] * 4, num_others=2)
    assert result["verdict"]["others_within_20_percent"] == told
    assert result["verdict"]["closed_by_4008"] == result["verdict"]["resumed_with_what_changed"] == "yes"
    assert result["server_cpu_ms_per_1000"]["alone"] == pytest.approx(50.0)


def test_the_verdict_sees_what_went_wrong() -> None:
    periods = [Period(30.0 * i, 30.0 * i + 20, 0.1, 1000, 100.0) for i in range(3)]
    samples = np.c_[np.linspace(0, 90, 5000), np.ones(5000)]
    broken = STALLED | {"close_code": 1006, "resumed": False}
    verdict = report(periods, samples, [broken], num_others=2)["verdict"]
    assert [name for name, answer in verdict.items() if answer == "no"] == [
        "memory_bounded",
        "closed_by_4008",
        "resumed_with_what_changed",
    ]
