"""Printed square markers (AprilTag, ArUco): seen by two phones, they tell both their scale and put them in one frame.

A marker's frame: origin in its middle, +X to its right, +Y up the print, +Z out of the paper; metres.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator

from mapping.metric.twins import Twins
from mapping.transforms import F64, Sim3, rigid, umeyama
from streams.frame import Intrinsics


def dictionaries() -> dict[str, int]:
    """`apriltag_36h11`, `aruco_4x4_50`, ... -> OpenCV's number."""
    names = {}
    for constant in dir(cv2.aruco):
        if constant.startswith("DICT_"):
            name = constant.removeprefix("DICT_").lower()
            names[name if name.startswith(("apriltag", "aruco")) else f"aruco_{name}"] = int(
                getattr(cv2.aruco, constant)
            )
    return names


def known_dictionary(name: str) -> str:
    """The name itself.

    Raises:
        ValueError: OpenCV has no such dictionary.
    """
    if name not in (known := dictionaries()):
        raise ValueError(f"no marker dictionary {name!r}; there are {', '.join(sorted(known))}")
    return name


def cells(dictionary: str, marker: int) -> NDArray[np.bool_]:
    """The marker (n, n), its black border included; true = black.

    Raises:
        ValueError: there is no such dictionary, or no such marker in it.
    """
    known = cv2.aruco.getPredefinedDictionary(dictionaries()[known_dictionary(dictionary)])
    if not 0 <= marker < len(known.bytesList):
        raise ValueError(f"{dictionary} has markers 0 to {len(known.bytesList) - 1}, not {marker}")
    return np.asarray(cv2.aruco.generateImageMarker(known, marker, known.markerSize + 2) == 0)


class Config(BaseModel):
    """What is printed, and when a sighting is believed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    search: bool = True
    """Look for them in every keyframe; false = only once a cue says what hangs there."""
    dictionary: str = "apriltag_36h11"
    """Or an ArUco dictionary, such as `aruco_4x4_50`."""
    size_m: float = Field(default=0.16, gt=0)
    """Edge of the black square, measured on the print."""
    ids: tuple[int, ...] = tuple(range(10))
    """Which of them are ours; empty = all. Foreign ones may have any size, and few ids are seldom misread."""
    max_wrong_bits: int = Field(default=1, ge=0)
    """Cells that may be misread. OpenCV's own choice, 3, takes one square in a thousand for some AprilTag."""
    min_side_px: float = Field(default=24.0, gt=0)
    max_error_px: float = Field(default=1.5, gt=0)
    min_ambiguity: float = Field(default=1.6, ge=1)
    """A flat square seen nearly head-on fits two poses; the better must beat the other's error by this factor."""

    @field_validator("dictionary")
    @classmethod
    def _exists(cls, name: str) -> str:
        return known_dictionary(name)


@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """One marker in one image."""

    marker: int
    camera_from_marker: F64  # (4, 4) metres
    error_px: float
    """RMS distance between the seen corners and the model's."""
    size_m: float
    """Edge of its black square."""

    def resized(self, size_m: float) -> Sighting:
        """The same view of a marker that turns out to be of another size: it hung farther away, or nearer."""
        pose = self.camera_from_marker.copy()
        pose[:3, 3] *= size_m / self.size_m
        return replace(self, camera_from_marker=pose, size_m=size_m)


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """Where a component lies in a marker's frame."""

    marker_from_component: Sim3
    sigma: float
    """Relative error of the scale."""


_THRESHOLD_WINDOWS_PX = (5, 21)
"""OpenCV's own three windows find no more here, and cost half as much again."""
_OUTLINE_SHARE = 0.7
"""OpenCV counts the pixels of an outline: of a square that stands on its corner, so many of its perimeter."""


class MarkerFinder:
    """Finds one kind of marker in images."""

    def __init__(self, config: Config = Config()) -> None:  # noqa: B008
        self._config = config
        self._parameters = parameters = cv2.aruco.DetectorParameters()
        parameters.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_SUBPIX
        parameters.adaptiveThreshWinSizeMin, parameters.adaptiveThreshWinSizeMax = _THRESHOLD_WINDOWS_PX
        parameters.adaptiveThreshWinSizeStep = _THRESHOLD_WINDOWS_PX[1] - _THRESHOLD_WINDOWS_PX[0]
        dictionary = cv2.aruco.getPredefinedDictionary(dictionaries()[config.dictionary])
        dictionary.maxCorrectionBits = min(config.max_wrong_bits, dictionary.maxCorrectionBits)
        parameters.errorCorrectionRate = 1.0
        self._detector = cv2.aruco.ArucoDetector(dictionary, parameters)
        self._corners_m = corners_m(config.size_m)
        self._twins = Twins()

    def find(self, gray: NDArray[np.uint8], intrinsics: Intrinsics) -> list[Sighting]:
        """Every believable marker in an image (h, w), in camera axes; takes 2 to 5 ms of a 640 x 480 image.

        A marker of which there are several prints is not believed: who sees one cannot know which.
        """
        outline_px = _OUTLINE_SHARE * 4 * self._config.min_side_px
        self._parameters.minMarkerPerimeterRate = min(1.0, outline_px / max(gray.shape))
        self._detector.setDetectorParameters(self._parameters)
        corners_px, ids, _ = self._detector.detectMarkers(np.ascontiguousarray(gray))
        if ids is None:
            return []
        seen = [int(i) for i in ids.ravel()]
        ours = self._config.ids or seen
        believed = self._twins.believed([marker for marker in seen if marker in ours])
        sightings = [
            self._pose(marker, corners.reshape(4, 2), intrinsics)
            for marker, corners in zip(seen, corners_px, strict=True)
            if marker in believed
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
        pose = rigid(cv2.Rodrigues(turns[0])[0], moves[0].ravel())
        return Sighting(marker, pose, float(errors[0]), self._config.size_m)


_MIN_SPREAD_RAD = 0.08
"""The directions from which a marker was seen must differ by this much (RMS), or scale is noise."""
_RAY_NOISE_RAD = 0.001
"""What a ray to a corner is off by at least, the camera's own pose included: two rays always fit and prove nothing."""
_MAX_SIGMA = 0.03
_OUTLIER_RATIO = 3.0
_MAX_UNSQUARE = 0.08
"""RMS by which fitted corners may miss the print's, in its edges."""


def place(sightings: Sequence[tuple[F64, Sighting]]) -> Placed | None:
    """Put a component into a marker's frame; None until the sightings suffice.

    The corners are triangulated in the component: the baseline between its cameras and the directions to the corners
    are known far better than the distance that a single small square tells. What they make must be a square in front of
    every camera: of two prints taken for one it is not.

    Args:
        sightings: pairs (component_from_camera (4, 4), the marker as that camera saw it), all of one marker.
    """
    if len(sightings) < 2:
        return None
    eyes = np.array([pose[:3, 3] for pose, _ in sightings])
    rays = np.array([_rays(seen) @ pose[:3, :3].T for pose, seen in sightings])
    corners, off_rad, information = _triangulate(eyes, rays)
    if len(eyes) > 2:
        fits = off_rad <= _OUTLIER_RATIO * float(np.median(off_rad)) + 1e-9
        eyes, rays = eyes[fits], rays[fits]
        corners, off_rad, information = _triangulate(eyes, rays)
    weakest = float(np.linalg.eigvalsh(information)[:, 0].mean())  # in sightings times squared radians
    if len(eyes) < 2 or weakest < len(eyes) * _MIN_SPREAD_RAD**2:
        return None
    noise_rad = max(float(np.sqrt(np.mean(off_rad**2))), _RAY_NOISE_RAD)
    sigma = float(np.hypot(0.005, noise_rad / np.sqrt(weakest)))
    if sigma > _MAX_SIGMA:
        return None
    size_m = sightings[0][1].size_m
    marker_from_component = umeyama(corners, corners_m(size_m))
    unsquare_m = np.linalg.norm(marker_from_component.apply(corners) - corners_m(size_m), axis=1)
    is_square = float(np.sqrt(np.mean(unsquare_m**2))) <= _MAX_UNSQUARE * size_m
    return Placed(marker_from_component, sigma) if is_square else None


def corners_m(size_m: float) -> F64:
    """(4, 3) corners in the marker's frame, in OpenCV's order."""
    half = size_m / 2
    return np.array([[-half, half, 0.0], [half, half, 0.0], [half, -half, 0.0], [-half, -half, 0.0]])


def _rays(seen: Sighting) -> F64:
    """(4, 3) unit directions to the corners, in camera axes."""
    corners = corners_m(seen.size_m) @ seen.camera_from_marker[:3, :3].T + seen.camera_from_marker[:3, 3]
    return np.asarray(corners / np.linalg.norm(corners, axis=1, keepdims=True))


def _triangulate(eyes: F64, rays: F64) -> tuple[F64, F64, F64]:
    """Where the rays (n, 4, 3) from the eyes (n, 3) meet, counting errors as angles.

    Returns:
        corners (4, 3); RMS angle (n,) by which each eye's rays miss them; information (4, 3, 3) on each
        corner per squared radian, for lengths relative to its distance.
    """
    across = np.eye(3) - rays[..., :, None] * rays[..., None, :]  # (n, 4, 3, 3) what a ray says: nothing along itself
    distance = np.ones(rays.shape[:2])
    for _ in range(2):
        weighted = across / distance[..., None, None] ** 2
        normal = weighted.sum(axis=0)
        seen_from = np.einsum("nkij,nj->ki", weighted, eyes)
        corners = np.stack([np.linalg.lstsq(a, b, rcond=None)[0] for a, b in zip(normal, seen_from, strict=True)])
        to_corner = corners - eyes[:, None]
        distance = np.maximum(np.linalg.norm(to_corner, axis=-1), 1e-12)
    aside = np.linalg.norm(np.einsum("nkij,nkj->nki", across, to_corner), axis=-1)
    off = np.arctan2(aside, np.einsum("nki,nki->nk", rays, to_corner))  # near pi behind the camera
    return corners, np.sqrt(np.mean(off**2, axis=1)), across.sum(axis=0)
