"""The painted room as a clip on disk, with exact truth and depth."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from mapping.transforms import quat_from_rotation
from tests.mapping.painted_room import CAMERA, PaintedRoom, walk

FPS, DEPTH_EVERY = 30, 5


def write_clip(folder: Path, num_frames: int) -> Path:
    """A walk around the table."""
    (folder / "rgb").mkdir(parents=True, exist_ok=True)
    (folder / "depth").mkdir(exist_ok=True)
    camera = {n: getattr(CAMERA, n) for n in ("fx", "fy", "cx", "cy", "width", "height")}
    about = {
        "name": folder.name,
        "fps": FPS,
        "rgb": camera,
        "depth": {**camera, "scale": 0.001, "invalid": [0]},
        "truth": "exact, y-up",
    }
    (folder / "camera.json").write_text(json.dumps(about))
    room, rows = PaintedRoom(), []
    for i, pose in enumerate(walk(num_frames)):
        cv2.imwrite(str(folder / "rgb" / f"{i:06d}.jpg"), room.render(pose))
        if i % DEPTH_EVERY == 0:
            cv2.imwrite(str(folder / "depth" / f"{i:06d}.png"), np.rint(room.depth(pose) * 1000).astype(np.uint16))
        w, x, y, z = quat_from_rotation(pose[:3, :3])
        rows.append(" ".join(f"{v:.9f}" for v in (i / FPS, *pose[:3, 3], x, y, z, w)))
    (folder / "groundtruth.txt").write_text("# t tx ty tz qx qy qz qw\n" + "\n".join(rows) + "\n")
    return folder
