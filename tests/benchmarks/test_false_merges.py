"""Pairs of pieces: what they have in common by the truth, and how merges are counted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.clips import Clip
from benchmarks.evaluation.shared_view import SharedViews
from benchmarks.false_merges import Verdict, cut, kind_of, main, summary


def test_pieces_know_what_they_share(painted: Path) -> None:
    clip = Clip.open(painted)
    other = replace(clip, name="elsewhere", world="elsewhere")
    a = cut(clip)[0]
    views = SharedViews([clip])
    assert kind_of(a, a, views) == "together"
    assert kind_of(a, cut(other)[0], views) == "elsewhere"


def test_false_and_missed_merges_are_counted() -> None:
    verdicts = [
        Verdict("elsewhere", "a", "b", False, False, None, None),
        Verdict("elsewhere", "a", "c", True, True, None, None),
        Verdict("apart", "a", "d", True, True, 2.0, 40.0),
        Verdict("together", "a", "e", True, False, 0.02, 0.5),
        Verdict("together", "a", "f", False, False, None, None),
    ]
    figures = summary(verdicts, 0)
    assert figures["pairs"] == 5
    assert figures["false_merges"] == 2
    assert figures["missed_merges"] == 1
    assert [pair["second"] for pair in figures["false"]] == ["c", "d"]


def test_runs_on_one_clip(painted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(painted), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["false_merges"] == 0
