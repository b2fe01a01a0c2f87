"""An hour in a few seconds: the books of a long session add up."""

import itertools
import json
from pathlib import Path

import pytest

from benchmarks import endless, long_run
from benchmarks.clips import data_folder
from benchmarks.long_run import Ground, Minute, Result


def _minute(number: int, *, keyframe_cpu_ms: float, rss_mb: float, kept: int) -> Minute:
    return Minute(number, 10.0, keyframe_cpu_ms, 50, 1.0, rss_mb, kept, 1000, 1, 0, 2.0)


def test_what_grew_is_told_by_keyframe() -> None:
    first, last = (
        _minute(1, keyframe_cpu_ms=200, rss_mb=150, kept=50),
        _minute(2, keyframe_cpu_ms=300, rss_mb=170, kept=80),
    )
    figures = Result("here", (first, last), rss_before_mb=90.0).figures()
    assert figures["keyframe_ratio"] == 1.5
    assert (figures["growth_mb"], figures["mb_per_keyframe"], figures["mb_per_kept"]) == (80.0, 0.8, 1.0)


@pytest.mark.skipif(not (data_folder() / "cabinet").exists(), reason="needs the recorded clips")
def test_a_clip_is_played_to_and_fro_without_a_jump() -> None:
    ground = long_run.open_ground(data_folder() / "cabinet", every=20)  # frames 0, 20, 40 of 58
    frames = list(itertools.islice(ground.frames(0), 6))
    assert [frame.seq for frame in frames] == list(range(6))
    assert frames[1].capture_ns == round(1e9 / ground.fps)
    pictures = [frame.image.gray.tobytes() for frame in frames]
    assert pictures[0] == pictures[4]
    assert pictures[1] == pictures[3] == pictures[5]
    assert len(set(pictures)) == 3


@pytest.mark.slow
def test_the_whole_chain_is_charged_minute_by_minute(tmp_path: Path) -> None:
    slow_motion = Ground(endless.NAME, 1.0, endless.frames)  # a "minute" of 60 frames
    told: list[Result] = []

    def tell(so_far: Result) -> None:
        told.append(so_far)
        long_run._tell(so_far, tmp_path)

    result = long_run.run(slow_motion, 2, tell)
    assert [len(so_far.minutes) for so_far in told] == [1, 2]
    lines = [json.loads(line) for line in (tmp_path / "minutes.jsonl").read_text().splitlines()]
    assert [line["minute"] for line in lines] == [1, 2]
    first, last = result.minutes
    assert first.keyframes + last.keyframes == last.kept > 10
    assert last.blocks > first.blocks > 0
    assert min(minute.keyframe_cpu_ms for minute in result.minutes) > max(m.frame_cpu_ms for m in result.minutes)
    assert last.tracked == 1.0
    assert (tmp_path / "minutes.png").stat().st_size > 0
