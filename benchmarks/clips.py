"""Recorded clips with truth: `rgb/NNNNNN.jpg`, `depth/NNNNNN.png`, `camera.json` and `groundtruth.txt` (TUM format)."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mapping.metric.markers import Config as MarkerConfig
from mapping.transforms import F64, rigid, rotation_from_quat
from streams.frame import DepthMap, Frame, GivenPose, Image, Intrinsics, StreamId


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """A folder of frames; frame i was captured at i / fps seconds."""

    folder: Path
    name: str
    fps: float
    intrinsics: Intrinsics
    depth_intrinsics: Intrinsics | None
    depth_scale: float
    depth_invalid: tuple[int, ...]
    images: tuple[Path, ...]
    truth: dict[int, F64]
    """Frame number -> world_from_camera (4, 4)."""
    world: str = ""
    """Clips that name the same world have their truth in one frame."""
    up_world: F64 | None = None
    """(3,) unit, against gravity in the truth's world; None = the clip does not say."""
    marker: MarkerConfig | None = None
    """The printed marker that hangs there, if one does."""
    camera_height_m: float | None = None
    """How high above the floor the camera was carried, where that is known."""

    @classmethod
    def open(cls, folder: Path) -> Clip:
        """Read a clip's description, not its pixels.

        Raises:
            FileNotFoundError: the folder lacks camera.json or rgb/.
            ValueError: camera.json lacks a field or holds the wrong kind of value.
        """
        about = json.loads((folder / "camera.json").read_text())
        try:
            fps = float(about["fps"])
            depth = about.get("depth")
            return cls(
                folder,
                str(about.get("name", folder.name)),
                fps,
                _intrinsics(about["rgb"]),
                _intrinsics(depth) if depth else None,
                float(depth["scale"]) if depth else 1.0,
                tuple(depth.get("invalid", [0])) if depth else (0,),
                tuple(sorted((folder / "rgb").iterdir())),
                _truth(folder / "groundtruth.txt", fps),
                str(about.get("world", about.get("name", folder.name))),
                _up(about),
                _marker(about),
                about.get("camera_height_m"),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"{folder / 'camera.json'}: missing or malformed field {error}") from error

    def rgb(self, index: int) -> NDArray[np.uint8]:
        """Pixels (h, w, 3) of a frame."""
        image = cv2.imread(str(self.images[index]), cv2.IMREAD_COLOR)
        if image is None:
            raise ValueError(f"cannot decode {self.images[index]}")
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)

    def depth(self, index: int) -> DepthMap | None:
        """The sensor's depth of a frame, if it was recorded."""
        path = self._depth_path(index)
        if self.depth_intrinsics is None or not path.exists():
            return None
        raw = np.asarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED))
        if raw.ndim != 2:
            raise ValueError(f"cannot decode {path}")
        z_m = (raw * self.depth_scale).astype(np.float32)
        z_m[np.isin(raw, self.depth_invalid)] = 0.0
        return DepthMap(z_m, self.depth_intrinsics)

    def has_depth(self, index: int) -> bool:
        """Whether the sensor's depth of a frame was recorded."""
        return self.depth_intrinsics is not None and self._depth_path(index).exists()

    def frame(self, index: int, *, stream: StreamId, capture_ns: int, posed: bool, with_intrinsics: bool) -> Frame:
        """A frame as a phone would deliver it; `posed` adds the recorded pose and depth."""
        known = self.truth.get(index) if posed else None
        return Frame(
            stream,
            index,
            capture_ns,
            capture_ns,
            Image(rgb=self.rgb(index)),
            intrinsics=self.intrinsics if with_intrinsics else None,
            pose=GivenPose(known) if known is not None else None,
            depth=self.depth(index) if posed else None,
        )

    def _depth_path(self, index: int) -> Path:
        return self.folder / "depth" / f"{index:06d}.png"


def data_folder() -> Path:
    """Where the recorded clips lie: `COMMONGROUND_DATA`, or ../shared/data beside the checkout."""
    return Path(os.environ.get("COMMONGROUND_DATA", Path(__file__).parents[2] / "shared" / "data"))


def _intrinsics(about: dict[str, Any]) -> Intrinsics:
    names = ("fx", "fy", "cx", "cy")
    fx, fy, cx, cy = (float(about[n]) for n in names)
    return Intrinsics(fx, fy, cx, cy, int(about["width"]), int(about["height"]), float(about.get("k1", 0.0)))


def _truth(path: Path, fps: float) -> dict[int, F64]:
    """Poses by frame number from lines `t tx ty tz qx qy qz qw`; an absent file means no truth."""
    if not path.exists():
        return {}
    poses = {}
    for row in np.loadtxt(path, ndmin=2):
        poses[round(float(row[0]) * fps)] = rigid(rotation_from_quat(row[[7, 4, 5, 6]]), row[1:4])
    return poses


_UP_IN_WORDS = {"y-up": (0.0, 1.0, 0.0), "z-up": (0.0, 0.0, 1.0)}


def _up(about: dict[str, Any]) -> F64 | None:
    """From `gravity_down_world`, or where the description of the truth says it in words."""
    if (down := about.get("gravity_down_world")) is not None:
        return np.asarray(-np.asarray(down, np.float64) / np.linalg.norm(down))
    words = [up for name, up in _UP_IN_WORDS.items() if name in str(about.get("truth", ""))]
    return np.array(words[0]) if words else None


def _marker(about: dict[str, Any]) -> MarkerConfig | None:
    marker = about.get("marker")
    return MarkerConfig(dictionary=marker["dictionary"], size_m=marker["size_m"]) if marker else None
