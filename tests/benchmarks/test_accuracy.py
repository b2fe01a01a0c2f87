"""The accuracy benchmark on a clip made here: figures, files, and what it says of bad input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.accuracy import main
from benchmarks.clips import Clip
from benchmarks.trajectory import score, write_tum
from mapping.transforms import F64, Sim3, exp_so3
from tests.mapping.painted_room import PaintedRoom, walk


def test_measures_a_clip_and_leaves_its_trajectory(
    painted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(painted), "--json", "--fast", "--out", str(tmp_path)]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["clip"] == "painted"
    assert figures["frames"] == 90
    assert figures["coverage"] > 0.7
    assert figures["coverage_with_backfill"] == 1.0
    assert figures["wrong_pose_rate"] == 0.0
    assert figures["ate_sim3_m"] < 0.02
    assert figures["components"] == 1
    assert figures["depth_within_10pct"] > 0.8
    assert figures["surface_within_10cm"] > 0.3
    assert 0.0 <= figures["gravity_one_sample_deg"] < 3.0
    assert figures["pose_latency_ms_p50"] is None
    rows = np.loadtxt(tmp_path / "painted_world.tum")
    assert rows.shape == (round(figures["coverage"] * 90), 8)
    page = (tmp_path / "index.html").read_text()
    assert "data:image/png;base64," in page
    assert f">{figures['ate_sim3_m']}<" in page
    assert (tmp_path / "painted.png").stat().st_size > 1000
    assert np.loadtxt(tmp_path / "painted_truth.tum").shape == (90, 8)


def test_live_playback_counts_what_it_drops(painted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(painted), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["live"]
    assert figures["pose_latency_ms_p50"] > 0
    assert figures["map_latency_ms_p50"] > figures["pose_latency_ms_p50"]
    assert figures["mapped_keyframes"] > 0
    assert figures["surface_within_10cm"] is not None
    assert sum(figures["component_frames"]) + figures["dropped"] <= figures["frames"]


def test_the_tracker_alone_maps_nothing(painted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(painted), "--json", "--fast", "--no-map", "--k", "unknown"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["k"] == "unknown"
    assert figures["coverage"] > 0.7
    assert figures["depth_absrel"] is None
    assert figures["surface_within_10cm"] is None


def test_a_measured_distance_gives_the_map_metres(painted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(painted), "--json", "--fast", "--cue", "distance"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["scale_source"] == "distance"
    assert figures["scale"] == pytest.approx(1.0, abs=0.05)
    assert figures["ate_se3_m"] < 0.1


def test_a_posed_clip_is_its_own_truth(painted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(painted), "--json", "--fast", "--posed"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["coverage"] == 1.0
    assert figures["ate_se3_m"] == pytest.approx(0.0, abs=1e-6)
    assert figures["surface_within_10cm"] > 0.95
    assert figures["surface_complete_10cm"] > 0.9
    assert figures["scale"] == pytest.approx(1.0, abs=1e-6)


def test_says_what_is_wrong_with_a_clip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "nowhere")]) == 2
    assert "is not a clip" in capsys.readouterr().err
    (tmp_path / "camera.json").write_text('{"fps": 30, "rgb": {"fx": 1}}')
    assert main([str(tmp_path)]) == 2
    assert "missing or malformed field" in capsys.readouterr().err


def test_reads_depth_in_metres(painted: Path) -> None:
    opened = Clip.open(painted)
    depth = opened.depth(0)
    assert depth is not None
    assert depth.z_m[0, 0] == pytest.approx(PaintedRoom().depth(walk(1)[0])[0, 0], abs=1e-3)
    assert opened.depth(1) is None


def poses_of(truth: list[F64], component_from_world: Sim3) -> dict[int, F64]:
    return {i: component_from_world.apply_pose(pose) for i, pose in enumerate(truth)}


def test_scale_turn_and_place_of_a_component_do_not_matter() -> None:
    truth = walk(60)
    moved = poses_of(truth, Sim3(0.4, exp_so3(np.array([0.3, 1.0, -0.2])), np.array([3.0, -1.0, 2.0])))
    scored = score(moved, dict(enumerate(truth)), 30.0)
    assert scored is not None
    assert scored.position_error_m.max() < 1e-6
    assert scored.rotation_error_deg.max() < 1e-3
    assert scored.rpe_m.max() < 1e-6
    assert scored.world_from_component.scale == pytest.approx(2.5)
    assert scored.position_error_se3_m.max() > 0.1


def test_a_wrong_pose_is_counted() -> None:
    truth = walk(60)
    poses = poses_of(truth, Sim3.identity())
    poses[30] = poses[30].copy()
    poses[30][0, 3] += 0.5
    scored = score(poses, dict(enumerate(truth)), 30.0)
    assert scored is not None
    assert scored.wrong == 1


def test_a_straight_path_is_turned_by_its_cameras() -> None:
    truth = {}
    for i in range(20):
        truth[i] = np.eye(4)
        truth[i][2, 3] = 0.1 * i
    scored = score({i: p.copy() for i, p in truth.items()}, truth, 5.0)
    assert scored is not None
    assert scored.rotation_error_deg.max() < 1e-6


def test_tum_lines_are_what_evo_reads(tmp_path: Path) -> None:
    write_tum(tmp_path / "t.tum", {3: walk(1)[0]}, 30.0)
    lines = (tmp_path / "t.tum").read_text().splitlines()
    assert lines[0].startswith("#")
    values = [float(v) for v in lines[1].split()]
    assert values[0] == pytest.approx(0.1)
    assert np.linalg.norm(values[4:]) == pytest.approx(1.0, abs=1e-6)
