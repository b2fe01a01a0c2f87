"""Printed square markers (AprilTag, ArUco): seen by two phones, they tell both their scale and put them in one frame.

A marker's frame: origin in its middle, +X to its right, +Y up the print, +Z out of the paper; metres.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator

from mapping.alignment import fit_cameras
from mapping.transforms import F64, Sim3, invert, rigid
from streams.frame import Intrinsics


def _dictionary_names() -> dict[str, int]:
    """`apriltag_36h11`, `aruco_4x4_50`, ... -> OpenCV's number."""
    names = {}
    for constant in dir(cv2.aruco):
        if constant.startswith("DICT_"):
            name = constant.removeprefix("DICT_").lower()
            names[name if name.startswith(("apriltag", "aruco")) else f"aruco_{name}"] = int(
                getattr(cv2.aruco, constant)
            )
    return names


class Config(BaseModel):
    """What is printed, and when a sighting is believed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dictionary: str = "apriltag_36h11"
    """Or an ArUco dictionary, such as `aruco_4x4_50`."""
    size_m: float = Field(default=0.16, gt=0)
    """Edge of the black square, measured on the print."""
    min_side_px: float = Field(default=24.0, gt=0)
    max_error_px: float = Field(default=1.5, gt=0)
    min_ambiguity: float = Field(default=1.6, ge=1)
    """A flat square seen nearly head-on fits two poses; the better must beat the other's error by this factor."""

    @field_validator("dictionary")
    @classmethod
    def _exists(cls, name: str) -> str:
        if name not in _dictionary_names():
            raise ValueError(f"no marker dictionary {name!r}; there are {', '.join(sorted(_dictionary_names()))}")
        return name


@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """One marker in one image."""

    marker: int
    camera_from_marker: F64  # (4, 4) metres
    error_px: float
    """RMS distance between the seen corners and the model's."""


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """Where a component lies in a marker's frame."""

    marker_from_component: Sim3
    sigma: float
    """Relative error of the scale."""


class MarkerFinder:
    """Finds one kind of marker in images."""

    def __init__(self, config: Config = Config()) -> None:  # noqa: B008
        self._config = config
        parameters = cv2.aruco.DetectorParameters()
        parameters.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_SUBPIX
        dictionary = cv2.aruco.getPredefinedDictionary(_dictionary_names()[config.dictionary])
        self._detector = cv2.aruco.ArucoDetector(dictionary, parameters)
        half = config.size_m / 2
        self._corners_m = np.array([[-half, half, 0], [half, half, 0], [half, -half, 0], [-half, -half, 0]])

    def find(self, gray: NDArray[np.uint8], intrinsics: Intrinsics) -> list[Sighting]:
        """Every believable marker in an image (h, w), in camera axes."""
        corners_px, ids, _ = self._detector.detectMarkers(np.ascontiguousarray(gray))
        if ids is None:
            return []
        sightings = [
            self._pose(int(i), c.reshape(4, 2), intrinsics) for i, c in zip(ids.ravel(), corners_px, strict=True)
        ]
        return [sighting for sighting in sightings if sighting is not None]

    def _pose(self, marker: int, corners_px: NDArray[np.float32], intrinsics: Intrinsics) -> Sighting | None:
        sides = np.linalg.norm(corners_px - np.roll(corners_px, 1, axis=0), axis=1)
        if sides.min() < self._config.min_side_px:
            return None
        centred = corners_px.astype(np.float64) + 0.5  # OpenCV counts pixel centres as whole numbers
        distortion = np.array([intrinsics.k1, 0.0, 0.0, 0.0])
        _, turns, moves, errors = cv2.solvePnPGeneric(
            self._corners_m, centred, intrinsics.matrix(), distortion, flags=cv2.SOLVEPNP_IPPE_SQUARE
        )
        errors = np.ravel(errors)
        is_clear = len(errors) == 1 or errors[1] > self._config.min_ambiguity * max(float(errors[0]), 0.05)
        if errors[0] > self._config.max_error_px or not is_clear or float(moves[0][2, 0]) <= 0:
            return None
        return Sighting(marker, rigid(cv2.Rodrigues(turns[0])[0], moves[0].ravel()), float(errors[0]))


_MIN_SPREAD = 0.08
"""Cameras must stand apart by this share of their distance to the marker, or scale is noise."""
_CENTRE_NOISE_M = 0.005
"""What a camera centre seen from a marker is off by at least: two sightings always fit well and prove nothing."""


def place(sightings: Sequence[tuple[F64, F64]]) -> Placed | None:
    """Put a component into a marker's frame; None until the sightings suffice.

    Args:
        sightings: pairs (component_from_camera, camera_from_marker), both (4, 4).
    """
    if len(sightings) < 2:
        return None
    in_component = np.array([pose for pose, _ in sightings])
    in_marker = np.array([invert(camera_from_marker) for _, camera_from_marker in sightings])
    fit = fit_cameras(in_component, in_marker)
    distance_m = float(np.median(np.linalg.norm(in_marker[:, :3, 3], axis=1)))
    if fit is None or fit.num_cameras < 2 or fit.spread < _MIN_SPREAD * distance_m:
        return None
    noise_m = max(fit.residual, _CENTRE_NOISE_M)
    return Placed(fit.b_from_a, float(np.hypot(0.005, noise_m / (fit.spread * np.sqrt(fit.num_cameras)))))
