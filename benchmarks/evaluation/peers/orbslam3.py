"""ORB-SLAM3 through pyorbslam3, which is GPL-3: nothing of ours depends on it, users install it themselves.

It gets every frame, as fast as it takes them, and is judged by its final trajectory. Without a vocabulary in
`PYORBSLAM3_VOCAB` one is trained on the very clip, which is in its favour.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.clips import Clip
from benchmarks.evaluation.peers import Missing, PeerRun
from benchmarks.evaluation.peers.vocabulary import write_vocabulary
from benchmarks.evaluation.session import Poses
from mapping.transforms import rigid, rotation_from_quat
from streams.frame import Intrinsics

_FEATURES = 1250


def run(clip: Clip, knows_k: bool) -> PeerRun:
    """Track every frame, one after the other. A guessed camera stands in for an unknown one.

    Raises:
        Missing: pyorbslam3 is not installed.
    """
    try:
        package: Any = importlib.import_module("pyorbslam3")
    except ImportError as error:
        raise Missing(f"pip install pyorbslam3 (GPL-3, not part of this product): {error}") from error
    k = clip.intrinsics
    camera = k if knows_k else Intrinsics.from_fov(k.width, k.height)
    with tempfile.TemporaryDirectory() as folder:
        vocabulary, settings = Path(folder) / "vocabulary.txt", Path(folder) / "settings.yaml"
        if given := os.environ.get("PYORBSLAM3_VOCAB"):
            vocabulary = Path(given)
        else:
            write_vocabulary(clip, vocabulary)
        settings.write_text(_settings(camera, clip.fps))
        with _stdout_elsewhere():
            slam = package.Slam(vocabulary, settings, package.Sensor.MONOCULAR)
            began_s, began_cpu_s = time.monotonic(), time.process_time()
            for i in range(len(clip.images)):
                slam.track_monocular(clip.rgb(i), i / clip.fps)
            wall_s, cpu_s = time.monotonic() - began_s, time.process_time() - began_cpu_s
            slam.shutdown()
            slam.save_trajectory_euroc(str(Path(folder) / "poses.txt"))
        poses = _read(Path(folder) / "poses.txt", clip.fps)
    frames = tuple(range(len(clip.images)))
    return PeerRun("ORB-SLAM3 (pyorbslam3), every frame", frames, [poses] if poses else [], wall_s, cpu_s)


def _read(path: Path, fps: float) -> Poses:
    """Its largest map's poses as they were in the end: lines `t_ns tx ty tz qx qy qz qw`."""
    if not path.exists() or not path.stat().st_size:
        return {}
    rows = np.loadtxt(path, ndmin=2)
    return {round(row[0] * 1e-9 * fps): rigid(rotation_from_quat(row[[7, 4, 5, 6]]), row[1:4]) for row in rows}


@contextlib.contextmanager
def _stdout_elsewhere() -> Iterator[None]:
    """What the library prints goes to stderr: our stdout is for figures."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _settings(k: Intrinsics, fps: float) -> str:
    camera = {"fx": k.fx, "fy": k.fy, "cx": k.cx, "cy": k.cy, "k1": k.k1, "k2": 0.0, "p1": 0.0, "p2": 0.0}
    lines = ["%YAML:1.0", 'File.version: "1.0"', 'Camera.type: "PinHole"']
    lines += [f"Camera1.{name}: {float(value):.6f}" for name, value in camera.items()]
    lines += [f"Camera.width: {k.width}", f"Camera.height: {k.height}", f"Camera.fps: {max(1, round(fps))}"]
    lines += ["Camera.RGB: 1", f"ORBextractor.nFeatures: {_FEATURES}", "ORBextractor.scaleFactor: 1.2"]
    lines += ["ORBextractor.nLevels: 8", "ORBextractor.iniThFAST: 20", "ORBextractor.minThFAST: 7"]
    sizes = ("KeyFrameSize", "KeyFrameLineWidth", "GraphLineWidth", "PointSize", "CameraSize", "CameraLineWidth")
    lines += [f"Viewer.{name}: 1.0" for name in (*sizes, "ViewpointX", "ViewpointY", "ViewpointZ", "ViewpointF")]
    return "\n".join(lines) + "\n"
