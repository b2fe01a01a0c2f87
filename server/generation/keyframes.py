"""Posed keyframes in a folder: how the live map hands them to a provider in another process.

`keyframes.json` has the scene, the map's epoch, and for each keyframe its name, intrinsics and `world_from_camera`
(row by row, OpenCV axes, metres); beside it lie `NAME.png` (RGB) and `NAME.depth.png` (16 bits, steps of
`DEPTH_STEP_M`, 0 = unknown).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mapping.objects.mesh import F64
from mapping.objects.view import View
from mapping.transforms import quat_from_rotation, rigid, rotation_from_quat
from streams.frame import Intrinsics

DEPTH_STEP_M = 0.0005
_MANIFEST = "keyframes.json"


class KeyframesBroken(ValueError):
    """The folder is not as this file writes it."""


@dataclass(frozen=True, slots=True, eq=False)
class Keyframes:
    """Views of one scene, all in its world as of one epoch."""

    scene: str
    epoch: int
    views: Mapping[str, View]
    """By the keyframe's name, newest last."""


def write(folder: Path, keyframes: Keyframes) -> None:
    """Fill a folder that is there and empty; every view needs depth."""
    entries = []
    for number, (name, view) in enumerate(keyframes.views.items()):
        if view.depth_m is None:
            raise KeyframesBroken(f"keyframe {name} has no depth")
        file = f"{number:03d}"
        steps = np.clip(np.round(view.depth_m / DEPTH_STEP_M), 0, 65535).astype(np.uint16)
        cv2.imwrite(str(folder / f"{file}.png"), view.rgb[..., ::-1])
        cv2.imwrite(str(folder / f"{file}.depth.png"), steps)
        pose = np.asarray(view.world_from_camera).tolist()
        entries.append({"name": name, "file": file, "intrinsics": asdict(view.intrinsics), "world_from_camera": pose})
    manifest = {"scene": keyframes.scene, "epoch": keyframes.epoch, "keyframes": entries}
    (folder / _MANIFEST).write_text(json.dumps(manifest))


def read(folder: Path) -> Keyframes:
    """
    Raises:
        KeyframesBroken: something is missing or does not fit.
    """
    try:
        manifest = json.loads((folder / _MANIFEST).read_text())
        views = {entry["name"]: _view(folder, entry) for entry in manifest["keyframes"]}
        return Keyframes(str(manifest["scene"]), int(manifest["epoch"]), views)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise KeyframesBroken(f"{folder.name}: {error}") from error


def placement(given: Keyframes, world_from_mesh: F64, scale: float = 1.0) -> dict[str, Any]:
    """Where something stands (4, 4, rigid, to be applied after `scale`), as an asset's version says it."""
    quat_wxyz, at_m = quat_from_rotation(world_from_mesh[:3, :3]), world_from_mesh[:3, 3]
    where = {"position_m": at_m.tolist(), "quat_wxyz": quat_wxyz.tolist(), "scale": scale}
    return {"scene": given.scene, "epoch": given.epoch, **where}


def stands(told: Mapping[str, Any]) -> tuple[float, F64]:
    """Scale and world_from_mesh (4, 4) of what `placement` says; raises KeyError, TypeError, ValueError."""
    pose = rigid(rotation_from_quat(np.asarray(told["quat_wxyz"])), np.asarray(told["position_m"], np.float64))
    return float(told.get("scale", 1.0)), pose


def _view(folder: Path, entry: Mapping[str, object]) -> View:
    file = Path(str(entry["file"])).name
    bgr = cv2.imread(str(folder / f"{file}.png"), cv2.IMREAD_COLOR)
    steps = cv2.imread(str(folder / f"{file}.depth.png"), cv2.IMREAD_UNCHANGED)
    if bgr is None or steps is None or steps.dtype != np.uint16:
        raise KeyframesBroken(f"the pictures of keyframe {entry['name']} cannot be read")
    pose = np.asarray(entry["world_from_camera"], np.float64)
    if pose.shape != (4, 4) or not np.isfinite(pose).all():
        raise KeyframesBroken(f"the pose of keyframe {entry['name']} is no rigid transform")
    k = Intrinsics(**entry["intrinsics"])  # type: ignore[arg-type]
    depth_m = steps.astype(np.float32) * DEPTH_STEP_M
    return View(np.ascontiguousarray(bgr[..., ::-1]), pose, k, depth_m=depth_m.astype(np.float32))
