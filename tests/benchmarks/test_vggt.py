"""The benchmark of the GPU runs unattended where nobody can look: here its every step is taken once, on a CPU."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace

import pytest

from tests.mapping.engines.vggt.needs import needs_torch

needs_torch()

import torch  # noqa: E402

from benchmarks.vggt_cost import streamed  # noqa: E402
from benchmarks.vggt_gpu import Bench, random_network, tiny_plan  # noqa: E402
from benchmarks.vggt_plain import Plain  # noqa: E402
from server.generation.gate import GateMemory  # noqa: E402


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


NOT_MEASURED = "not measured: out of time"


def test_every_part_of_the_gpu_benchmark_is_measured() -> None:
    report = json.loads(json.dumps(Bench(tiny_plan()).run()))
    assert NOT_MEASURED not in json.dumps(report)
    for row in report["windows"]:
        assert all(row[name]["seconds"] > 0 for name in ("ours", "plain", "ours_trunk", "plain_trunk"))
    assert report["rolling"]["p99_ms"] >= report["rolling"]["p50_ms"] > 0
    assert report["under_load"]["behind_gate"]["p50_ms"] > 0
    assert report["outputs"]["pose_abs"] == report["outputs"]["depth_rel_p99"] == 0, "both are float32 on a CPU"
    (thinned,) = report["thinned"]
    assert thinned["pose_abs"] > 0


def test_out_of_time_it_reports_what_it_has() -> None:
    ticks = itertools.count()
    plan = replace(tiny_plan(), budget_s=3.0, views=(1,), thinned=())
    report = Bench(plan, clock=lambda: float(next(ticks))).run()
    assert report["rolling"]["p50_ms"] > 0
    assert report["under_load"] == NOT_MEASURED
    assert report["windows"][-1]["plain"] == NOT_MEASURED
    json.dumps(report)


def test_a_part_that_fails_says_so_and_the_others_go_on() -> None:
    def no_load(gate: GateMemory | None) -> AbstractContextManager[None]:
        raise RuntimeError("the load did not start")

    plan = replace(tiny_plan(), views=(), thinned=())
    report = Bench(plan, load=no_load).run()
    assert report["under_load"] == "not measured: RuntimeError: the load did not start"
    assert report["rolling"]["p50_ms"] > 0
    assert report["windows"] == []


def test_plain_is_the_published_network() -> None:
    """As exact as ours is against the goldens: beside them in float32, every number agrees."""
    plan = tiny_plan()
    network = random_network(plan)
    images = torch.rand(3, 3, 70, 98, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        plain = Plain(network)(images)
        assert len(Plain(network).trunk(images)) == plan.architecture.depth, "it keeps every layer"
        features = network.aggregate(network.encode(images)[None], (5, 7))
        torch.testing.assert_close(plain["encodings"], network.cameras(features)[-1, 0], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(plain["depth"], network.depth(features, (5, 7), last=3).z[0], rtol=1e-3, atol=1e-4)


def test_a_walk_round_a_room_needs_each_picture_encoded_once() -> None:
    walk = streamed(round_keyframes=2, rounds=2)
    assert walk["encoded"] == 1
    assert walk["views"] == 3.5, "the third and the fourth keyframe see all before them"
    assert 0 < walk["saved"] < 1
    assert walk["tflop"] == pytest.approx((1 - walk["saved"]) * walk["all_new_tflop"])
