"""The figures of the asset benchmark are what they are called, and what did not happen does not look good."""

from __future__ import annotations

from pathlib import Path

from benchmarks.asset_server import asset_server
from benchmarks.asset_swap import SLOT, _delays_ms, _rollbacks_ms, _skews_ms, _to

MS = 1_000_000


def test_events_that_never_came_are_late_for_ever() -> None:
    came = [{"7": 10 * MS, "8": 25 * MS}, {"7": 12 * MS}]
    assert _delays_ms({7: 5 * MS, 8: 20 * MS}, came) == [5.0, 5.0, 7.0, float("inf")]


def test_skew_is_between_the_first_and_the_last_client() -> None:
    first = [(1 * MS, "commit", 1), (100 * MS, "commit", 2), (200 * MS, "commit", 3)]
    second = [(2 * MS, "commit", 1), (103 * MS, "commit", 2)]
    assert _skews_ms([first, second], 2) == [3.0, float("inf")]


def test_a_rollback_lasts_from_the_report_too_many_to_the_last_client() -> None:
    logs = [[(number * MS, "fail", 4), ((50 + number) * MS, "rollback", 5)] for number in range(10)]
    assert _rollbacks_ms(logs, 10) == [59.0 - 2.0]
    assert _rollbacks_ms(logs[:9], 10) == [float("inf")]


async def test_clients_of_the_benchmark_show_swap_and_roll_back(tmp_path: Path) -> None:
    async with asset_server(tmp_path) as server:
        for name in ("old", "bad"):
            await server.register(name)
            await server.publish(name, (server.model(1000),), 0)
        await _to(server, "old", watch_s=0)
        async with server.clients(4, "--slot", SLOT) as showers:
            await _to(server, "bad", watch_s=60)
            told = await showers.finish()
    assert [[what for _, what, _ in log] for log in told["logs"]].count(["commit", "commit", "rollback"]) == 3
    assert len(_rollbacks_ms(told["logs"], 4)) == 1
    assert told["gap_frames"] == 0 < told["frames"]
