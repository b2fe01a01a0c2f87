"""What a client that stops reading costs the others: `python -m benchmarks.stall [--stall 60] [--pairs 3] [--json]`.

A scene of 500 tiles that rest and 50 that change (20 KB each, 50 updates a second: 1 MB/s to every client). The same
healthy clients read all the time; beside them, in turn, nobody (A) and one more that reads for a while and then not at
all (B): A B A B ... A. Each B is compared with the mean of the two A around it, so that a machine that slows down or
speeds up cancels out; A against the next A says how much of a difference is the machine's noise. A period's p99 is the
median over windows, for other work on the machine shows in some of them and a cost of the stalled client would show in
all. The growth is the median of the pairs with its interval (90 %, by resampling the pairs). Also reported: the
server's processor time for a thousand messages, its memory, with what code the stalled one was closed, and how many
tiles it was sent when it came back. `verdict` says whether all of that is as promised.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import uvloop
from numpy.typing import NDArray

from benchmarks.bus_server import BusServer, bus_server, tile
from server.protocol import CLOSE_TOO_SLOW

RESTING, CHANGING, TILE_BYTES, UPDATES_PER_S = 500, 50, 20_000, 50.0
READ_FIRST_S, SETTLE_S, ALONE_S, WINDOW_S, EVICTED_WITHIN_S = 3.0, 2.0, 20.0, 2.5, 60.0
MAX_P99_GROWTH, MAX_RSS_GROWTH_MB = 0.2, 64.0
RESAMPLINGS = 2000

Answer = Literal["yes", "no", "too noisy to tell"]
NOISY: Answer = "too noisy to tell"


@dataclass(frozen=True, slots=True)
class Period:
    """A stretch of time in which nothing was begun or ended."""

    began_s: float
    ended_s: float
    """Unix seconds."""
    cpu_s: float
    updates: int
    rss_growth_mb: float
    """Most above where it began."""


async def measure(*, num_others: int, stall_s: float, num_pairs: int) -> dict[str, Any]:
    """Alone, beside a stalled client, alone again, ..., in one run."""
    stalled: list[dict[str, Any]] = []
    async with bus_server(tls=True) as server, server.clients(clients=num_others) as others:
        for key in range(RESTING):
            server.put(tile(1000 + key, TILE_BYTES))
        publishing = asyncio.create_task(server.publish(list(range(CHANGING)), TILE_BYTES, UPDATES_PER_S))
        await asyncio.sleep(READ_FIRST_S)
        alone_s = min(stall_s, ALONE_S)
        periods = [await _watch(server, alone_s)]
        for _ in range(num_pairs):
            async with server.clients(stall_after=READ_FIRST_S) as one_more:
                periods.append(await _watch(server, stall_s))
                await server.evicted(len(stalled) + 1, EVICTED_WITHIN_S)
                stalled.append(await one_more.finish())
            await asyncio.sleep(SETTLE_S)
            periods.append(await _watch(server, alone_s))
        publishing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await publishing
        result = await others.finish()
    return report(periods, np.array(result["latencies_ms"]), stalled, num_others)


def report(
    periods: Sequence[Period], samples: NDArray[np.float64], stalled: Sequence[dict[str, Any]], num_others: int
) -> dict[str, Any]:
    """Figures and verdict of one run.

    Args:
        periods: alone, stalled, alone, ...: one more alone than stalled.
        samples: (n, 2): when the healthy clients' messages came (Unix s) and how old they were (ms).
        stalled: what the stalled clients saw (see `benchmarks.readers`).
    """
    p99s = np.array([_p99(samples, period) for period in periods])
    alone, beside = p99s[0::2], p99s[1::2]
    growth = beside / ((alone[:-1] + alone[1:]) / 2) - 1
    noise = alone[1:] / alone[:-1] - 1
    cpu = [p.cpu_s * 1e6 / max(1, p.updates * num_others) for p in periods]
    rss_growth_mb = max(p.rss_growth_mb for p in periods[1::2])
    low, high = _interval(growth)
    verdict: dict[str, Answer] = {
        "others_within_20_percent": "yes" if high <= MAX_P99_GROWTH else "no" if low > MAX_P99_GROWTH else NOISY,
        "memory_bounded": _answer(rss_growth_mb <= MAX_RSS_GROWTH_MB),
        "closed_by_4008": _answer(all(one["close_code"] == CLOSE_TOO_SLOW for one in stalled)),
        "resumed_with_what_changed": _answer(
            all(one["resumed"] and one["resume_tiles"] <= CHANGING for one in stalled)
        ),
    }
    return {
        "others": num_others,
        "stall_s": round(periods[1].ended_s - periods[1].began_s, 1),
        "others_p99_ms": {"alone": _rounded(alone), "with_stalled": _rounded(beside)},
        "p99_growth": {
            "median": round(float(np.median(growth)), 3),
            "interval": [round(low, 3), round(high, 3)],
            "pairs": _rounded(growth, 3),
        },
        "p99_noise": _rounded(noise, 3),
        "server_cpu_ms_per_1000": {
            "alone": round(float(np.median(cpu[0::2])), 1),
            "with_stalled": round(float(np.median(cpu[1::2])), 1),
        },
        "rss_growth_mb": round(rss_growth_mb, 1),
        "tiles": RESTING + CHANGING,
        "tiles_changed": CHANGING,
        "stalled": list(stalled),
        "verdict": verdict,
    }


def _answer(is_so: bool) -> Answer:
    return "yes" if is_so else "no"


def _interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """Where the median of such values lies with 90 %."""
    drawn = np.random.default_rng(0).choice(values, (RESAMPLINGS, len(values)))
    low, high = np.percentile(np.median(drawn, axis=1), [5, 95])
    return float(low), float(high)


def _p99(samples: NDArray[np.float64], period: Period) -> float:
    """Median over windows of each window's p99."""
    times, latencies = samples.T
    starts = np.arange(period.began_s, max(period.ended_s - WINDOW_S, period.began_s) + 1e-6, WINDOW_S)
    windows = [latencies[(times >= start) & (times < start + WINDOW_S)] for start in starts]
    return float(np.median([np.percentile(window, 99) for window in windows if len(window)]))


def _rounded(values: NDArray[np.float64], digits: int = 2) -> list[float]:
    return [round(float(value), digits) for value in values]


async def _watch(server: BusServer, seconds: float) -> Period:
    began_s, cpu_s, seq, rss_mb = time.time(), time.process_time(), server.channel.seq, _rss_mb()
    most_mb = rss_mb
    while time.time() < began_s + seconds:
        await asyncio.sleep(0.5)
        most_mb = max(most_mb, _rss_mb())
    return Period(began_s, time.time(), time.process_time() - cpu_s, server.channel.seq - seq, most_mb - rss_mb)


def _rss_mb() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise OSError("no VmRSS in /proc/self/status")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--others", type=int, default=20)
    parser.add_argument("--stall", type=float, default=60.0, help="seconds; it takes about 20 to be closed")
    parser.add_argument("--pairs", type=int, default=5, help="how often a client stalls")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        work = measure(num_others=options.others, stall_s=options.stall, num_pairs=options.pairs)
        result = runner.run(work)
    if options.json:
        print(json.dumps({"stall": result}))
        return
    for name, value in result.items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main()
