"""Peers are optional: what is said when one is not there, and how one that is there is judged."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from benchmarks.clips import Clip
from benchmarks.evaluation.peers import NAMES, PeerRun, compare, vocabulary
from benchmarks.evaluation.poses import PoseMarks
from mapping.transforms import Sim3, exp_so3

PACKAGES = {"colmap": "pycolmap", "orbslam3": "pyorbslam3"}


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_peer_says_how_to_get_it(name: str, painted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, PACKAGES[name], None)
    figures = compare(name, Clip.open(painted), PoseMarks({}, {}), knows_k=True)
    assert figures["peer"] == name
    assert f"pip install {PACKAGES[name]}" in figures["missing"]


def test_ours_is_compared_with_theirs(painted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Theirs is the truth in another frame; ours is off by 2 cm to and fro."""
    clip = Clip.open(painted)
    theirs = Sim3(3.0, exp_so3(np.array([0.1, 0.5, 0.0])), np.ones(3))
    ours = {i: pose.copy() for i, pose in clip.truth.items()}
    for i, pose in ours.items():
        pose[1, 3] += 0.02 * (-1) ** i
    peer = ModuleType("benchmarks.evaluation.peers.colmap")
    peer.__dict__["run"] = lambda clip, knows_k: PeerRun(
        "exact", tuple(clip.truth), [{i: theirs.apply_pose(pose) for i, pose in clip.truth.items()}], 1.0, 1.0
    )
    monkeypatch.setitem(sys.modules, "benchmarks.evaluation.peers.colmap", peer)
    figures = compare("colmap", clip, PoseMarks({0: ours}, {}), knows_k=True)
    assert figures["coverage"] == 1.0
    assert figures["ate_sim3_m"] == pytest.approx(0.0, abs=1e-4)
    assert figures["ours_against_it_m"] == pytest.approx(0.02, abs=2e-3)
    assert figures["ours_against_it_deg"] == pytest.approx(0.0, abs=1e-3)


def test_a_vocabulary_is_a_tree_in_the_format_of_dbow2(
    painted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vocabulary, "_PICTURES", 8)
    vocabulary.write_vocabulary(Clip.open(painted), tmp_path / "v.txt")
    first, *nodes = (tmp_path / "v.txt").read_text().splitlines()
    assert first == "10 4 0 0"
    parents = [int(node.split()[0]) for node in nodes]
    is_leaf = [node.split()[1] == "1" for node in nodes]
    assert all(len(node.split()) == 2 + 32 + 1 for node in nodes)
    assert all(parent <= i for i, parent in enumerate(parents)), "a node comes after its parent"
    assert not any(is_leaf[parent - 1] for parent in parents if parent)
    assert sum(is_leaf) > 200
