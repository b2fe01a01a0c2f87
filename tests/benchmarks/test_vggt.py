"""The benchmark of the GPU runs unattended where nobody can look: here its every step is taken once, on a CPU."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from tests.mapping.engines.vggt.needs import needs_torch

needs_torch()

import torch  # noqa: E402

from benchmarks.vggt.__main__ import finite  # noqa: E402
from benchmarks.vggt.cost import counted, streamed  # noqa: E402
from benchmarks.vggt.gpu import BUDGET_S, PARTS_S, on_gpu, said  # noqa: E402
from benchmarks.vggt.here import (  # noqa: E402
    SMALL_VIEWS,
    cached_tokens,
    feature_storage,
    ms_by_part,
    parity,
)
from benchmarks.vggt.parts import Parts, tiny_plan  # noqa: E402
from benchmarks.vggt.plain import Plain  # noqa: E402
from benchmarks.vggt.random import random_network  # noqa: E402
from benchmarks.vggt.timing import OutOfTime, timed  # noqa: E402
from server.generation.gate import GateMemory  # noqa: E402


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def parts() -> Parts:
    return Parts(tiny_plan(), lambda: True)


def last(parts: Parts, name: str) -> Any:
    *_, known = parts.measured(name)
    return json.loads(json.dumps(known))


def test_windows_are_timed_ours_and_plain(parts: Parts) -> None:
    report = last(parts, "windows")
    assert [row["views"] for row in report["rows"]] == [1, 2]
    for row in report["rows"]:
        assert all(row[name]["seconds"] > 0 for name in ("ours", "plain", "ours_trunk", "plain_trunk"))
        assert row["ours_times_faster"] == row["plain"]["seconds"] / row["ours"]["seconds"]
    assert report["weights_gb"]["plain"] > report["weights_gb"]["ours"] > report["weights_gb"]["ours_trunk"]


def test_a_rolling_window_encodes_what_is_new(parts: Parts) -> None:
    rolling = last(parts, "rolling")
    assert rolling["max_ms"] >= rolling["p99_ms"] >= rolling["p50_ms"] > 0
    assert (rolling["keyframes"], rolling["encoded"]) == (2, 2)
    assert all(found["keyframes_s"] > 0 for found in last(parts, "together").values())


def test_ours_and_plain_are_one_network_on_a_cpu_whatever_the_factors(parts: Parts) -> None:
    for apart in last(Parts(tiny_plan(), lambda: True), "outputs").values():
        for found in apart.values():
            assert found["pose_abs"] < 1e-4
            assert found["depth_rel"]["p99"] < 1e-4


def test_thinning_changes_something(parts: Parts) -> None:
    (row,) = last(parts, "thinned")
    assert row["pose_abs"] > 0
    assert row["exact"]["seconds"] > 0
    assert row["thinned"]["seconds"] > 0


@pytest.mark.slow
def test_beside_a_load_and_behind_the_gate() -> None:
    under_load = last(Parts(tiny_plan(), lambda: True), "under_load")
    assert under_load["beside"]["p50_ms"] > 0
    assert under_load["behind_gate"]["p50_ms"] > 0


def test_a_part_that_fails_says_so_and_what_it_had() -> None:
    def no_load(gate: GateMemory | None) -> AbstractContextManager[None]:
        if gate is None:
            return nullcontext()
        raise RuntimeError("the load did not start\nand more")

    parts = Parts(tiny_plan(), lambda: True, load=no_load)
    known = last(parts, "streaming")
    assert known["rolling"]["p50_ms"] > 0
    assert known["under_load"]["beside"]["p50_ms"] > 0
    assert known["under_load_stopped"] == last(parts, "under_load")["stopped"]
    assert known["under_load_stopped"] == "not measured: RuntimeError: the load did not start"


def test_out_of_time_rows_say_so() -> None:
    (row, _) = last(Parts(tiny_plan(), lambda: False), "windows")["rows"]
    assert row["ours"] == row["plain"] == "not measured: out of time"


def test_warm_up_is_never_a_figure() -> None:
    """Two runs warm up; where the time is over after them there is no figure, however long they took."""
    runs = []
    cpu = torch.device("cpu")
    timing = timed(lambda: runs.append(0), cpu, 2, lambda: True)
    assert (len(runs), timing.runs) == (4, 2)
    runs.clear()
    with pytest.raises(OutOfTime):
        timed(lambda: runs.append(0), cpu, 2, lambda: len(runs) < 2)
    assert len(runs) == 2


def test_numbers_that_json_has_none_for_are_told_in_words() -> None:
    report = {"gpu": {"rows": [{"rel": float("nan"), "abs": -float("inf"), "ok": False, "views": 2}]}, "why": None}
    told = json.loads(json.dumps(finite(report), allow_nan=False))
    (row,) = told.pop("gpu")["rows"]
    assert row == {"rel": "not finite: nan", "abs": "not finite: -inf", "ok": False, "views": 2}
    assert told == {"why": None}


SAYS = [sys.executable, "-c"]


def test_a_process_that_crashes_hangs_or_says_nothing_leaves_a_reason() -> None:
    assert said([*SAYS, "print('{\"a\": 1}'); print('{\"a\": 2}')"], 60) == {"a": 2}
    assert said([*SAYS, "import os; print('{\"a\": 1}', flush=True); os.abort()"], 60) == {"a": 1}
    assert said([*SAYS, "raise RuntimeError('no device')"], 60) == "not measured: ended with 1: RuntimeError: no device"
    assert said([*SAYS, "import time; time.sleep(60)"], 0.5) == "not measured: out of time"


def test_every_part_is_asked_in_turn_until_the_time_is_over() -> None:
    now = itertools.count(0.0, 50.0)
    report = on_gpu(lambda part, seconds: seconds, budget_s=310.0, clock=lambda: next(now))
    assert list(report)[1:-1] == list(PARTS_S)
    assert report["streaming"] == 170.0
    assert all(
        seconds <= PARTS_S[part] for part, seconds in report.items() if isinstance(seconds, float) and part in PARTS_S
    )
    assert report["golden_1b"] == "not measured: out of time"
    assert BUDGET_S < 480


def test_plain_is_the_published_network() -> None:
    """As exact as ours is against the goldens: beside them in float32, every number agrees."""
    plan = tiny_plan()
    network = random_network(plan.architecture, torch.device("cpu"))
    images = torch.rand(3, 3, 70, 98, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        plain = Plain(network)(images)
        assert len(Plain(network).trunk(images)) == plan.architecture.depth, "it keeps every layer"
        features = network.aggregate(network.encode(images)[None], (5, 7))
        torch.testing.assert_close(plain["encodings"], network.cameras(features)[-1, 0], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(plain["depth"], network.depth(features, (5, 7), last=3).z[0], rtol=1e-3, atol=1e-4)


def test_a_plain_call_shows_every_line_or_why_not(tmp_path: Path) -> None:
    (row,) = counted((2,))
    storage = feature_storage(row)
    assert storage["times_less"] == pytest.approx(6)
    assert 0 < cached_tokens(row)["saved"] <= cached_tokens(row)["saved_with_depth_of_few"] < 1
    times = ms_by_part(threads=1)
    assert [window["views"] for window in times["windows"]] == list(SMALL_VIEWS)
    assert all(window["aggregate_ms"] > 0 for window in times["windows"])
    assert parity(1, tmp_path) == f"not measured: no goldens in {tmp_path}"
    (tmp_path / "vggt_tiny_none.npz").touch()
    (tmp_path / "vggt_1b_any.npz").touch()
    tiny, full = parity(1, tmp_path).values()  # type: ignore[union-attr]
    assert tiny.startswith("not measured: ValueError")
    assert full == f"not run: --golden {tmp_path / 'vggt_1b_any.npz'}"


def test_a_walk_round_a_room_needs_each_picture_encoded_once() -> None:
    walk = streamed(round_keyframes=2, rounds=2, sizes=tiny_plan().architecture)
    assert walk["encoded"] == 1
    assert walk["views"] == 3.5, "the third and the fourth keyframe see all before them"
    assert 0 < walk["saved"] < 1
    assert walk["tflop"] == pytest.approx((1 - walk["saved"]) * walk["all_new_tflop"])
