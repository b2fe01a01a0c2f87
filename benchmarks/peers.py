"""What others make of the same frames: COLMAP, offline and with all the time it wants."""

from __future__ import annotations

import importlib
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.clips import Clip
from benchmarks.trajectory import score

_WANTED_PER_S = 3.0  # COLMAP gets about as many frames a second as a tracker makes nodes


def colmap(clip: Clip) -> dict[str, Any]:
    """COLMAP's incremental mapper (SIFT, sequential matching, known K) on part of the frames, scored as ours is.

    Returns figures, or under `missing` how to get the package.
    """
    try:
        pycolmap = importlib.import_module("pycolmap")
    except ImportError:
        return {"name": "COLMAP", "missing": "pip install pycolmap"}
    step = max(1, round(clip.fps / _WANTED_PER_S))
    names = [p.name for p in clip.images[::step]]
    k = clip.intrinsics
    began_s, began_cpu_s = time.monotonic(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        database, models = Path(folder) / "database.db", Path(folder) / "models"
        models.mkdir()
        reader = pycolmap.ImageReaderOptions()
        reader.camera_model = "SIMPLE_RADIAL"
        reader.camera_params = f"{k.fx},{k.cx},{k.cy},{k.k1}"
        pycolmap.extract_features(
            database,
            clip.folder / "rgb",
            image_names=names,
            camera_mode=pycolmap.CameraMode.SINGLE,
            reader_options=reader,
        )
        pycolmap.match_sequential(database)
        found = pycolmap.incremental_mapping(database, clip.folder / "rgb", models)
        pieces = []
        for reconstruction in found.values():
            poses = {}
            for image in reconstruction.images.values():
                pose = np.eye(4)
                pose[:3] = image.cam_from_world().inverse().matrix()
                poses[int(Path(image.name).stem)] = pose
            pieces.append(poses)
    scored = [s for p in pieces if (s := score(p, clip.truth, clip.fps)) is not None]
    largest = max(scored, key=lambda s: len(s.frames), default=None)
    return {
        "name": f"COLMAP {pycolmap.__version__}, offline, {len(names)} frames",
        "coverage": round(len(set().union(*pieces)) / max(1, len(names)), 4),
        "largest": len(largest.frames) if largest else 0,
        "components": len(pieces),
        "ate_largest_m": round(float(np.sqrt(np.mean(largest.position_error_m**2))), 4) if largest else None,
        "wall_s": round(time.monotonic() - began_s, 1),
        "cpu_ms_per_frame": round((time.process_time() - began_cpu_s) * 1e3 / max(1, len(names)), 1),
    }
