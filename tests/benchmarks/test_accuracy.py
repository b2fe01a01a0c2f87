"""The accuracy benchmark on a clip made here: figures, files, and what it says of bad input."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.accuracy import main
from benchmarks.clips import Clip
from benchmarks.trajectory import score, write_tum
from mapping.transforms import F64, Sim3, exp_so3, quat_from_rotation
from tests.mapping.painted_room import CAMERA, PaintedRoom, walk


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips") / "painted"
    (folder / "rgb").mkdir(parents=True)
    (folder / "depth").mkdir()
    camera = {n: getattr(CAMERA, n) for n in ("fx", "fy", "cx", "cy", "width", "height")}
    about = {"name": "painted", "fps": 30, "rgb": camera, "depth": {**camera, "scale": 0.001, "invalid": [0]}}
    (folder / "camera.json").write_text(json.dumps(about))
    room, rows = PaintedRoom(), []
    for i, pose in enumerate(walk(70)):
        cv2.imwrite(str(folder / "rgb" / f"{i:06d}.jpg"), room.render(pose))
        w, x, y, z = quat_from_rotation(pose[:3, :3])
        rows.append(" ".join(f"{v:.9f}" for v in (i / 30, *pose[:3, 3], x, y, z, w)))
    (folder / "groundtruth.txt").write_text("# t tx ty tz qx qy qz qw\n" + "\n".join(rows) + "\n")
    cv2.imwrite(str(folder / "depth" / "000000.png"), np.full((240, 320), 1500, np.uint16))
    return folder


def test_measures_a_clip_and_leaves_its_trajectory(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(clip), "--json", "--fast", "--out", str(tmp_path)]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["clip"] == "painted"
    assert figures["frames"] == 70
    assert figures["coverage"] > 0.7
    assert figures["wrong_pose_rate"] == 0.0
    assert figures["ate_sim3_m"] < 0.02
    assert figures["components"] == 1
    assert figures["depth_absrel"] is None
    assert figures["pose_latency_ms_p50"] is None
    rows = np.loadtxt(tmp_path / "painted_world.tum")
    assert rows.shape == (round(figures["coverage"] * 70), 8)
    assert (tmp_path / "painted.png").stat().st_size > 1000
    assert np.loadtxt(tmp_path / "painted_truth.tum").shape == (70, 8)


def test_live_playback_counts_what_it_drops(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(clip), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["live"]
    assert figures["pose_latency_ms_p50"] > 0
    assert sum(figures["component_frames"]) + figures["dropped"] <= figures["frames"]


def test_a_posed_clip_is_its_own_truth(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(clip), "--json", "--fast", "--posed"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["coverage"] == 1.0
    assert figures["ate_se3_m"] == pytest.approx(0.0, abs=1e-6)
    assert figures["scale"] == pytest.approx(1.0, abs=1e-6)


def test_says_what_is_wrong_with_a_clip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "nowhere")]) == 2
    assert "is not a clip" in capsys.readouterr().err
    (tmp_path / "camera.json").write_text('{"fps": 30, "rgb": {"fx": 1}}')
    assert main([str(tmp_path)]) == 2
    assert "missing or malformed field" in capsys.readouterr().err


def test_reads_depth_in_metres(clip: Path) -> None:
    opened = Clip.open(clip)
    depth = opened.depth(0)
    assert depth is not None
    assert depth.z_m[0, 0] == pytest.approx(1.5)
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
