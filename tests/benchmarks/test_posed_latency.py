"""The posed latency benchmark: what it sends is understood by the server, and its report adds up."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import synthetic
from benchmarks.posed_latency import Samples, _parts, _report, _table, film
from benchmarks.serving import Histogram
from streams.frame import StreamId
from streams.posed import posed_frame

INF = float("inf")


def test_what_the_phone_sends_is_what_the_flat_looks_like() -> None:
    walk = synthetic.walks()[0]
    shot, *_ = film(walk, fps=1.0, seconds=1.0)
    view = synthetic.build().render(walk.at(0.0), synthetic.INTRINSICS)
    parts = _parts(shot, capture_ns=1_000)
    assert json.loads(parts["meta"])["capture_ns"] == 1_000
    frame = posed_frame(
        parts["meta"], parts["image"], parts["depth"], stream=StreamId("phone"), seq=0, received_ns=2_000
    )
    assert frame.pose is not None
    assert frame.depth is not None
    np.testing.assert_allclose(frame.pose.world_from_camera, view.world_from_camera, atol=1e-6)
    np.testing.assert_allclose(frame.depth.z_m, view.depth_m[::2, ::2], atol=6e-4)
    k, small = view.intrinsics, frame.depth.intrinsics
    column = 10  # the centre of every second pixel lies on the same ray in both pictures
    assert (column + 0.5 - small.cx) / small.fx == pytest.approx((2 * column + 0.5 - k.cx) / k.fx)


def test_a_report_says_what_lies_between_hop_by_hop() -> None:
    samples = Samples()
    samples.keyframe += [10.0, 20.0, 30.0]
    samples.posted += [50.0, 60.0, 70.0]
    samples.socket += [1.0, 1.0, 1.0]
    samples.keyframes |= {1, 2}
    two_ms = Histogram((0.002, 0.002001, INF), (0.0, 4.0, 4.0))
    report = _report(samples, dict.fromkeys(("fuse", "tiles", "encode", "publish"), two_ms), 1, 5.0)
    assert report["keyframe_to_delta"] == {"p50": 20.0, "p95": 29.0, "p99": 29.8, "n": 3}
    assert report["posted_to_delta"]["p50"] == 60.0
    assert report["integrated_to_delta"]["p50"] == pytest.approx(7.0)
    assert (report["keyframes"], report["keyframes_with_delta"]) == (4, 2)
    assert "integrated_to_delta" in _table(report)


def test_silence_is_no_good_result() -> None:
    with pytest.raises(RuntimeError, match="no NavMesh tile"):
        _report(Samples(), {}, 1, 5.0)
