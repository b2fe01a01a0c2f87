"""What one client that stops reading costs the others: `python -m benchmarks.stall [--stall 60] [--json]`.

A scene of 500 tiles that rest and 50 that change (20 KB each, 50 updates a second: 1 MB/s to every client). First some
clients alone, then the same with one more that reads for a while and then not at all. Reported: the others' p99 with
and without it, the server's memory, with what code it was closed, and how many tiles it was sent when it came back.
Latencies are medians over windows of 5 s: other work on the machine shows in some of them, a cost of the stalled client
would show in all.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import uvloop

from benchmarks.bus_server import BusServer, bus_server, tile

RESTING, CHANGING, TILE_BYTES, UPDATES_PER_S = 500, 50, 20_000, 50.0
READ_FIRST_S = 3.0
WINDOW_S = 5


async def measure(*, num_others: int, stall_s: float) -> dict[str, Any]:
    """Alone, stalled, alone again, in one run."""
    async with bus_server(tls=True) as server:
        for key in range(RESTING):
            server.put(tile(1000 + key, TILE_BYTES))
        publishing = asyncio.create_task(server.publish(list(range(CHANGING)), TILE_BYTES, UPDATES_PER_S))
        before = await _others(server, num_others, stall_s)
        rss = [_rss_mb()]
        watching = asyncio.create_task(_watch(rss))
        others, stalled = await asyncio.gather(
            _others(server, num_others, stall_s + READ_FIRST_S),
            server.readers(seconds=READ_FIRST_S, stall_s=stall_s),
        )
        for task in (watching, publishing):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        after_rss = rss[-1]
    return {
        "others": num_others,
        "stall_s": stall_s,
        "others_p99_ms": {"alone": before["p99"], "with_stalled": others["p99"]},
        "others_p50_ms": {"alone": before["p50"], "with_stalled": others["p50"]},
        "p99_growth": round(others["p99"] / before["p99"] - 1, 3),
        "rss_growth_mb": round(max(rss) - rss[0], 1),
        "rss_end_mb": round(after_rss, 1),
        "stalled": stalled | {"tiles": RESTING + CHANGING, "tiles_changed": CHANGING},
    }


async def _others(server: BusServer, num_clients: int, seconds: float) -> dict[str, float]:
    result = await server.readers(clients=num_clients, seconds=seconds)
    samples = np.array(result["latencies_ms"])
    times, latencies = samples[:, 0] - samples[0, 0], samples[:, 1]
    windows = range(int(READ_FIRST_S), int(times[-1] - WINDOW_S), WINDOW_S)
    p50s, p99s = zip(
        *(np.percentile(latencies[(times >= t) & (times < t + WINDOW_S)], [50, 99]) for t in windows), strict=True
    )
    return {"p50": round(float(np.median(p50s)), 2), "p99": round(float(np.median(p99s)), 2)}


async def _watch(rss_mb: list[float]) -> None:
    while True:
        await asyncio.sleep(0.5)
        rss_mb.append(_rss_mb())


def _rss_mb() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise OSError("no VmRSS in /proc/self/status")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--others", type=int, default=20)
    parser.add_argument("--stall", type=float, default=60.0, help="seconds")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        result = runner.run(measure(num_others=options.others, stall_s=options.stall))
    if options.json:
        print(json.dumps({"stall": result}))
        return
    for name, value in result.items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main()
