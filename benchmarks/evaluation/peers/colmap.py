"""COLMAP through pycolmap: SIFT, sequential matching, incremental mapping; offline, with all the time it wants."""

from __future__ import annotations

import importlib
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.clips import Clip
from benchmarks.evaluation.peers import Missing, PeerRun
from benchmarks.evaluation.session import Poses

_WANTED_PER_S = 3.0
"""It gets about as many frames a second as a tracker makes nodes: all of them would take it most of an hour."""


def run(clip: Clip, knows_k: bool) -> PeerRun:
    """Its incremental mapper on part of the frames; a known camera is its starting point, which it refines.

    Raises:
        Missing: pycolmap is not installed.
    """
    try:
        pycolmap = importlib.import_module("pycolmap")
    except ImportError as error:
        raise Missing("pip install pycolmap") from error
    pycolmap.logging.minloglevel = int(pycolmap.logging.ERROR)
    numbers = tuple(range(0, len(clip.images), max(1, int(clip.fps / _WANTED_PER_S))))
    began_s, began_cpu_s = time.monotonic(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        database, models = Path(folder) / "database.db", Path(folder) / "models"
        models.mkdir()
        reader = pycolmap.ImageReaderOptions()
        reader.camera_model = "SIMPLE_RADIAL"
        if knows_k:
            k = clip.intrinsics
            reader.camera_params = f"{k.fx},{k.cx},{k.cy},{k.k1}"
        pycolmap.extract_features(
            database,
            clip.folder / "rgb",
            image_names=[clip.images[i].name for i in numbers],
            camera_mode=pycolmap.CameraMode.SINGLE,
            reader_options=reader,
        )
        pycolmap.match_sequential(database)
        found = pycolmap.incremental_mapping(database, clip.folder / "rgb", models)
        number_of = {clip.images[i].name: i for i in numbers}
        pieces = [_poses(model, number_of) for model in found.values()]
    return PeerRun(
        f"COLMAP {pycolmap.__version__}, offline", numbers, pieces,
        time.monotonic() - began_s, time.process_time() - began_cpu_s,
    )  # fmt: skip


def _poses(model: Any, number_of: dict[str, int]) -> Poses:
    poses = {}
    for image in model.images.values():
        pose = np.eye(4)
        pose[:3] = image.cam_from_world().inverse().matrix()
        poses[number_of[image.name]] = pose
    return poses
