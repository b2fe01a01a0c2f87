"""A picture that is to be located, and the answer: the JSON of `locate`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

from streams.frame import Image, Intrinsics


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """Decoded, and its camera."""

    image: Image
    intrinsics: Intrinsics
    is_focal_guess: bool
    """Nobody told the focal length: it is looked for as well."""


class Placement(BaseModel):
    """world_from_camera, OpenCV camera axes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    t: tuple[float, float, float]
    q_wxyz: tuple[float, float, float, float]


class LocateAnswer(BaseModel):
    """Where a picture was taken, or why that is not known; in vain is no error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    found: bool
    reason: Literal["nothing_mapped", "too_plain", "not_recognised"] | None
    """`nothing_mapped`: no place like it lies in the map; `too_plain`: it shows hardly any detail; `not_recognised`:
    places look like it, but their points are not where they should be."""
    epoch: int
    """Of the coordinates."""
    scale_source: str
    """`none`: lengths are not metres."""
    world_from_camera: Placement | None = None
    num_inliers: int = 0
    """Points of the map that the picture shows where they should be."""
    confidence: float = 0.0
    """Share of the points it should show that it does, 0..1; from .2 on it counts as found."""
    focal_px: float | None = None
    """The focal length it was located with: found out where none was given, or where `lens_refuted`."""
    lens_refuted: bool = False
    """The `fx` that was given cannot be right: another one, `focal_px`, explains the picture clearly better."""
    age_s: float | None = None
    """How long ago the newest of the places that it was recognised by was filmed."""
