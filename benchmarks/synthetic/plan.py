"""The flat as data: axis-aligned boxes, flat pictures on them, doors and the marker, in world metres (+Y up).

The origin lies on the floor in the middle of the flat, 9 m along x and 7 m along z inside its outer walls. Everything
solid is a box; a picture (poster, rug, window) is a rectangle a few millimetres in front of one and is not solid.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Side = Literal["-x", "+x", "-y", "+y", "-z", "+z"]
Point = tuple[float, float, float]

CEILING_M = 2.6
DOOR_HEIGHT_M = 2.05
DOOR_WIDTH_M = 0.95
PICTURE_GAP_M = 0.003


@dataclass(frozen=True, slots=True)
class Box:
    """A solid axis-aligned box with one material a side."""

    name: str
    lo: Point
    hi: Point
    material: str
    side_materials: dict[Side, str] = field(default_factory=dict)
    """Sides that differ from `material`."""
    fitted: frozenset[Side] = frozenset()
    """Sides whose texture is stretched to the side once, instead of repeated at its own size."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A rectangle in front of a box; `center` is its middle, `size` its width and height as a viewer sees it."""

    name: str
    side: Side
    center: Point
    size: tuple[float, float]
    material: str


@dataclass(frozen=True, slots=True)
class Door:
    """An opening of `DOOR_WIDTH_M` in a wall; walking from `before` to `behind` (x, z) passes through it."""

    name: str
    center: tuple[float, float]
    along: Literal["x", "z"]
    before: tuple[float, float]
    behind: tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Marker:
    """A printed square marker. Its axes: +X right and +Y up for who looks at it, +Z out of the wall."""

    dictionary: str
    """As `mapping.metric.markers` names it."""
    id: int
    size_m: float
    """Side of the black square."""
    world_from_marker: NDArray[np.float64]  # (4, 4)

    def corners_world(self) -> NDArray[np.float64]:
        """(4, 3) top left, top right, bottom right, bottom left: the order in which OpenCV reports them."""
        half = self.size_m / 2
        corners = np.array([[-half, half, 0.0], [half, half, 0.0], [half, -half, 0.0], [-half, -half, 0.0]])
        return np.asarray(corners @ self.world_from_marker[:3, :3].T + self.world_from_marker[:3, 3])


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """All that stands in the flat."""

    boxes: tuple[Box, ...]
    pictures: tuple[Picture, ...]
    doors: tuple[Door, ...]
    marker: Marker
    rooms: dict[str, tuple[float, float, float, float]]
    """x_min, z_min, x_max, z_max between the walls."""
    lamps: tuple[Point, ...]


ROOMS = {
    "living": (-4.5, -3.5, 0.84, -0.68),
    "study": (0.96, -3.5, 4.5, -0.68),
    "corridor": (-4.5, -0.56, 4.5, 0.64),
    "kitchen": (-4.5, 0.76, -0.76, 3.5),
    "bedroom": (-0.64, 0.76, 4.5, 3.5),
}
DOORS = (
    Door("living-corridor", (-1.875, -0.62), "x", (-1.875, -1.4), (-1.875, 0.05)),
    Door("study-corridor", (3.075, -0.62), "x", (3.075, -1.4), (3.075, 0.05)),
    Door("kitchen-corridor", (-2.825, 0.70), "x", (-2.825, 1.5), (-2.825, 0.05)),
    Door("bedroom-corridor", (1.975, 0.70), "x", (1.6, 1.5), (1.975, 0.05)),
    Door("living-study", (0.90, -1.525), "z", (0.1, -1.6), (1.7, -1.6)),
    Door("kitchen-bedroom", (-0.70, 2.375), "z", (-1.5, 2.3), (0.1, 2.3)),
)
