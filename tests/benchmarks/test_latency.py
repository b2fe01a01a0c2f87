"""What the latency benchmark makes of histograms and samples."""

from __future__ import annotations

import pytest

from benchmarks.latency import Samples, _report
from benchmarks.serving import Histogram, Server, histograms
from clients.http import Answer, Http
from server.metrics import Metrics

INF = float("inf")


def test_quantiles_interpolate_within_a_bucket() -> None:
    histogram = Histogram((1.0, 2.0, INF), (50.0, 100.0, 100.0))
    assert histogram.quantile(0.5) == pytest.approx(1.0)
    assert histogram.quantile(0.75) == pytest.approx(1.5)
    assert Histogram((1.0, INF), (0.0, 4.0)).quantile(0.5) == 1.0
    assert Histogram((1.0, INF), (0.0, 0.0)).quantile(0.5) is None
    assert Histogram((), ()).quantile(0.99) is None


def test_a_difference_counts_only_what_came_since() -> None:
    before, after = Histogram((1.0, INF), (10.0, 10.0)), Histogram((1.0, INF), (10.0, 30.0))
    assert (after - before).counts == (0.0, 20.0)


async def test_the_servers_own_metrics_are_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = Metrics()
    for _ in range(100):
        metrics.hop("track", 0.015)
    text, _ = metrics.exposition()

    async def request(self: Http, method: str, path: str) -> Answer:
        assert (method, path) == ("GET", "metrics")
        return Answer(200, None, text)

    monkeypatch.setattr(Http, "request", request)
    server = Server("http://localhost:1", True, None, "bench")
    found = await histograms(server, "commonground_hop_seconds", "hop")
    median = found["track"].quantile(0.5)
    assert median is not None
    assert 0.01 <= median <= 0.02
    assert "" in await histograms(server, "commonground_event_loop_lag_seconds")


def test_a_report_names_every_hop_with_its_quantiles() -> None:
    samples = Samples()
    samples.pose[0] += [40.0, 50.0, 60.0]
    samples.states["tracked"] += 3
    samples.hops["nav"]["age"] += [100.0] * 9 + [300.0]
    report = _report(samples, {"track": Histogram((0.01, INF), (5.0, 5.0))}, Histogram((), ()), 6, 1, 10.0, 1.0, 6.0)
    assert report["answered_share"] == 0.5
    assert report["pose_at_phone"]["phone_1"] == {"p50": 50.0, "p95": 59.0, "n": 3}
    assert report["map"]["nav"]["age"]["p50"] == 100.0
    assert report["server"]["track"]["n"] == 5
    assert report["server_cores"] == 0.5
    assert report["loop_lag_ms_p99"] is None
