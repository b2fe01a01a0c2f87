"""The flat as data: axis-aligned boxes, flat pictures on them, doors and the marker, in world metres (+Y up).

The origin lies on the floor in the middle of the flat, 9 m along x and 7 m along z inside its outer walls. Everything
solid is a box; a picture (poster, rug, window) is a rectangle a few millimetres in front of one and is not solid.
"""

from __future__ import annotations

from collections.abc import Iterable
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
    """A printed ArUco marker. Its axes: +X right and +Y up for who looks at it, +Z out of the wall."""

    dictionary: str
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


def plan() -> Plan:
    """Lay out the flat: five rooms, six doors, furniture and a marker on the living room's north wall."""
    at_marker = np.eye(4)
    at_marker[:3, 3] = (-2.6, 1.42, -3.5 + PICTURE_GAP_M)
    marker = Marker("DICT_4X4_50", 7, 0.24, at_marker)
    boxes = (*_shell(), *_living(), *_study(), *_kitchen(), *_bedroom(), *_corridor())
    lamps = tuple(((x0 + x1) / 2, 2.45, (z0 + z1) / 2) for x0, z0, x1, z1 in ROOMS.values())
    return Plan(boxes, (*_pictures(marker), *_skirting()), DOORS, marker, ROOMS, lamps)


def _shell() -> Iterable[Box]:
    """Floors, ceilings and walls; each room brings its own materials."""
    floors = {
        "living": ("oak", -4.5, -3.5, 0.9, -0.62),
        "study": ("carpet", 0.9, -3.5, 4.5, -0.62),
        "corridor": ("terracotta", -4.5, -0.62, 4.5, 0.70),
        "kitchen": ("tiles", -4.5, 0.70, -0.70, 3.5),
        "bedroom": ("walnut_floor", -0.70, 0.70, 4.5, 3.5),
    }
    for room, (material, x0, z0, x1, z1) in floors.items():
        yield Box(f"{room} floor", (x0, -0.1, z0), (x1, 0.0, z1), material)
        yield Box(f"{room} ceiling", (x0, CEILING_M, z0), (x1, CEILING_M + 0.1, z1), "plaster")

    paper = {room: f"paper_{room}" for room in ROOMS}
    yield from _wall_along_x(-3.7, -3.5, -4.7, 0.9, "render", paper["living"])
    yield from _wall_along_x(-3.7, -3.5, 0.9, 4.7, "render", paper["study"])
    yield from _wall_along_x(3.5, 3.7, -4.7, -0.7, paper["kitchen"], "render")
    yield from _wall_along_x(3.5, 3.7, -0.7, 4.7, paper["bedroom"], "render")
    yield from _wall_along_z(-4.7, -4.5, -3.5, -0.62, "render", paper["living"])
    yield from _wall_along_z(-4.7, -4.5, -0.62, 0.7, "render", paper["corridor"])
    yield from _wall_along_z(-4.7, -4.5, 0.7, 3.5, "render", paper["kitchen"])
    yield from _wall_along_z(4.5, 4.7, -3.5, -0.62, paper["study"], "render")
    yield from _wall_along_z(4.5, 4.7, -0.62, 0.7, paper["corridor"], "render")
    yield from _wall_along_z(4.5, 4.7, 0.7, 3.5, paper["bedroom"], "render")

    living, study, kitchen, bedroom, between_north, between_south = DOORS
    yield from _wall_along_x(-0.68, -0.56, -4.5, 0.9, paper["living"], paper["corridor"], living)
    yield from _wall_along_x(-0.68, -0.56, 0.9, 4.5, paper["study"], paper["corridor"], study)
    yield from _wall_along_x(0.64, 0.76, -4.5, -0.7, paper["corridor"], paper["kitchen"], kitchen)
    yield from _wall_along_x(0.64, 0.76, -0.7, 4.5, paper["corridor"], paper["bedroom"], bedroom)
    yield from _wall_along_z(0.84, 0.96, -3.5, -0.68, paper["living"], paper["study"], between_north)
    yield from _wall_along_z(-0.76, -0.64, 0.76, 3.5, paper["kitchen"], paper["bedroom"], between_south)


def _wall_along_x(
    z0: float, z1: float, x0: float, x1: float, north: str, south: str, door: Door | None = None
) -> Iterable[Box]:
    """A wall between z0 and z1, its opening left free and topped by a lintel."""
    sides: dict[Side, str] = {"-z": north, "+z": south}
    for name, a, b, foot in _pieces(x0, x1, door):
        yield Box(name, (a, foot, z0), (b, CEILING_M, z1), "trim", sides)
    if door:
        a, b = door.center[0] - DOOR_WIDTH_M / 2, door.center[0] + DOOR_WIDTH_M / 2
        for face, back in ((z0 - 0.012, z0), (z1, z1 + 0.012)):
            yield Box("door frame", (a - 0.07, 0.0, face), (a, DOOR_HEIGHT_M, back), "trim")
            yield Box("door frame", (b, 0.0, face), (b + 0.07, DOOR_HEIGHT_M, back), "trim")
            yield Box("door frame", (a - 0.07, DOOR_HEIGHT_M, face), (b + 0.07, DOOR_HEIGHT_M + 0.07, back), "trim")


def _wall_along_z(
    x0: float, x1: float, z0: float, z1: float, west: str, east: str, door: Door | None = None
) -> Iterable[Box]:
    sides: dict[Side, str] = {"-x": west, "+x": east}
    for name, a, b, foot in _pieces(z0, z1, door):
        yield Box(name, (x0, foot, a), (x1, CEILING_M, b), "trim", sides)
    if door:
        a, b = door.center[1] - DOOR_WIDTH_M / 2, door.center[1] + DOOR_WIDTH_M / 2
        for face, back in ((x0 - 0.012, x0), (x1, x1 + 0.012)):
            yield Box("door frame", (face, 0.0, a - 0.07), (back, DOOR_HEIGHT_M, a), "trim")
            yield Box("door frame", (face, 0.0, b), (back, DOOR_HEIGHT_M, b + 0.07), "trim")
            yield Box("door frame", (face, DOOR_HEIGHT_M, a - 0.07), (back, DOOR_HEIGHT_M + 0.07, b + 0.07), "trim")


def _pieces(start: float, end: float, door: Door | None) -> list[tuple[str, float, float, float]]:
    """Name, start, end and foot height of the boxes that make one wall."""
    if door is None:
        return [("wall", start, end, 0.0)]
    middle = door.center[0] if door.along == "x" else door.center[1]
    a, b = middle - DOOR_WIDTH_M / 2, middle + DOOR_WIDTH_M / 2
    return [("wall", start, a, 0.0), ("wall", b, end, 0.0), ("lintel", a, b, DOOR_HEIGHT_M)]


def _table(name: str, x0: float, z0: float, x1: float, z1: float, top_m: float, material: str) -> Iterable[Box]:
    """A table top that overhangs four legs."""
    yield Box(name, (x0, top_m - 0.05, z0), (x1, top_m, z1), material)
    for x in (x0 + 0.06, x1 - 0.12):
        for z in (z0 + 0.06, z1 - 0.12):
            yield Box(f"{name} leg", (x, 0.0, z), (x + 0.06, top_m - 0.05, z + 0.06), material)


def _chair(x: float, z: float, facing: Side, material: str) -> Iterable[Box]:
    """A chair of 42 cm centred on (x, z), its back on the side away from `facing`."""
    yield from _table("chair", x - 0.21, z - 0.21, x + 0.21, z + 0.21, 0.46, material)
    low, high = (0.46, 0.92)
    if facing == "-z":
        yield Box("chair back", (x - 0.21, low, z + 0.16), (x + 0.21, high, z + 0.21), material)
    elif facing == "+z":
        yield Box("chair back", (x - 0.21, low, z - 0.21), (x + 0.21, high, z - 0.16), material)
    elif facing == "+x":
        yield Box("chair back", (x - 0.21, low, z - 0.21), (x - 0.16, high, z + 0.21), material)
    else:
        yield Box("chair back", (x + 0.16, low, z - 0.21), (x + 0.21, high, z + 0.21), material)


def _shelf(name: str, lo: Point, hi: Point, front: Side, books: str) -> Iterable[Box]:
    """A full bookcase: wood all around, rows of books in front."""
    yield Box(name, lo, hi, "pine", {front: books}, frozenset({front}))


def _living() -> Iterable[Box]:
    yield Box("sideboard", (-3.55, 0.0, -3.5), (-1.65, 0.72, -3.08), "walnut", {"+z": "drawers"}, frozenset({"+z"}))
    yield Box("box on sideboard", (-3.4, 0.72, -3.42), (-3.08, 0.94, -3.2), "cardboard_a")
    yield Box("books on sideboard", (-2.2, 0.72, -3.4), (-1.9, 0.82, -3.18), "books_a")
    yield Box("vase", (-1.82, 0.72, -3.36), (-1.7, 1.0, -3.24), "ceramic")
    yield from _shelf("bookcase west", (-4.5, 0.0, -3.2), (-4.2, 1.95, -1.9), "+x", "books_b")
    yield Box("sofa seat", (-4.3, 0.0, -1.5), (-2.65, 0.42, -0.9), "fabric_blue")
    yield Box("sofa back", (-4.3, 0.0, -0.9), (-2.65, 0.84, -0.68), "fabric_blue")
    yield Box("sofa arm", (-4.48, 0.0, -1.5), (-4.3, 0.6, -0.68), "fabric_blue")
    yield Box("sofa arm", (-2.65, 0.0, -1.5), (-2.5, 0.6, -0.68), "fabric_blue")
    yield Box("cushion", (-4.1, 0.42, -1.02), (-3.68, 0.78, -0.9), "patchwork")
    yield Box("cushion", (-3.2, 0.42, -1.02), (-2.8, 0.76, -0.9), "stripes")
    yield from _table("dining table", -1.15, -3.2, 0.25, -2.4, 0.75, "pine")
    yield Box("bowl", (-0.6, 0.75, -2.95), (-0.3, 0.85, -2.65), "ceramic")
    yield Box("cereal", (-0.95, 0.75, -3.0), (-0.76, 1.03, -2.92), "poster_4", {}, frozenset({"+z", "-z"}))
    yield from _chair(-0.8, -2.28, "-z", "walnut")
    yield from _chair(-0.1, -2.28, "-z", "walnut")
    yield from _shelf("bookcase south", (-1.05, 0.0, -0.96), (0.45, 1.2, -0.68), "-z", "books_c")
    yield Box("radio", (-0.75, 1.2, -0.92), (-0.4, 1.42, -0.74), "speaker")
    yield Box("plant pot", (0.44, 0.0, -3.42), (0.76, 0.4, -3.1), "terracotta")
    yield Box("plant", (0.5, 0.4, -3.36), (0.7, 1.25, -3.16), "leaves")


def _study() -> Iterable[Box]:
    yield from _table("desk", 3.8, -3.05, 4.5, -1.55, 0.75, "pine")
    yield Box("screen", (4.25, 0.87, -2.65), (4.3, 1.25, -1.95), "speaker", {"-x": "screen"}, frozenset({"-x"}))
    yield Box("screen foot", (4.24, 0.75, -2.35), (4.38, 0.87, -2.2), "speaker")
    yield Box("paper", (3.9, 0.75, -2.95), (4.25, 0.84, -2.73), "books_a")
    yield from _chair(3.4, -2.3, "+x", "fabric_red")
    yield from _shelf("bookcase north", (1.5, 0.0, -3.5), (2.95, 2.05, -3.18), "+z", "books_d")
    yield Box("carton", (3.95, 0.0, -1.2), (4.48, 0.45, -0.72), "cardboard_a")
    yield Box("carton", (4.0, 0.45, -1.15), (4.4, 0.8, -0.76), "cardboard_b")
    yield Box("chest", (1.0, 0.0, -3.4), (1.4, 0.55, -2.75), "walnut")
    yield Box("globe", (1.08, 0.55, -3.2), (1.32, 0.82, -2.96), "globe")


def _kitchen() -> Iterable[Box]:
    yield Box("counter", (-4.5, 0.0, 0.95), (-3.9, 0.88, 3.5), "cupboard", {"+x": "drawers"})
    yield Box("worktop", (-4.5, 0.88, 0.93), (-3.86, 0.92, 3.5), "granite")
    yield Box("wall cupboard", (-4.5, 1.5, 1.5), (-4.15, 2.15, 3.2), "cupboard")
    yield Box("microwave", (-4.42, 0.92, 1.1), (-4.05, 1.2, 1.6), "speaker", {"+x": "screen"}, frozenset({"+x"}))
    yield Box("jar", (-4.3, 0.92, 2.0), (-4.18, 1.15, 2.12), "ceramic")
    yield Box("jar", (-4.3, 0.92, 2.2), (-4.15, 1.1, 2.35), "terracotta")
    yield Box("cereal", (-4.25, 0.92, 2.7), (-4.05, 1.2, 2.78), "poster_5", {}, frozenset({"+z", "-z", "+x"}))
    yield Box("fridge", (-1.42, 0.0, 0.76), (-0.8, 1.82, 1.38), "metal", {"+z": "fridge"}, frozenset({"+z"}))
    yield from _table("kitchen table", -2.75, 2.65, -1.85, 3.45, 0.75, "pine")
    yield Box("fruit", (-2.45, 0.75, 2.95), (-2.2, 0.86, 3.2), "patchwork")
    yield from _chair(-2.95, 3.1, "+x", "walnut")
    yield Box("stool", (-2.5, 0.0, 2.3), (-2.15, 0.46, 2.6), "fabric_red")


def _bedroom() -> Iterable[Box]:
    yield Box("bed", (2.5, 0.0, 1.5), (4.42, 0.48, 3.0), "walnut", {"+y": "quilt"})
    yield Box("headboard", (4.42, 0.0, 1.45), (4.5, 1.05, 3.05), "walnut")
    yield Box("pillow", (3.98, 0.48, 1.6), (4.38, 0.6, 2.2), "stripes")
    yield Box("pillow", (3.98, 0.48, 2.3), (4.38, 0.6, 2.9), "patchwork")
    yield Box("nightstand", (4.05, 0.0, 3.08), (4.5, 0.5, 3.5), "pine")
    yield Box("lamp", (4.2, 0.5, 3.2), (4.36, 0.88, 3.36), "shade")
    yield Box("wardrobe", (-0.2, 0.0, 2.92), (1.5, 2.05, 3.5), "pine", {"-z": "drawers"}, frozenset({"-z"}))
    yield Box("dresser", (-0.62, 0.0, 0.76), (0.85, 0.85, 1.2), "walnut", {"+z": "drawers"}, frozenset({"+z"}))
    yield Box("carton", (-0.5, 0.85, 0.82), (-0.15, 1.1, 1.1), "cardboard_b")
    yield Box("books", (0.3, 0.85, 0.85), (0.6, 1.0, 1.1), "books_a")
    yield Box("basket", (1.65, 0.0, 3.1), (2.05, 0.5, 3.45), "wicker")


def _corridor() -> Iterable[Box]:
    yield from _shelf("shoe shelf", (-4.5, 0.0, -0.4), (-4.2, 1.0, 0.5), "+x", "books_c")
    yield Box("console", (0.05, 0.0, -0.56), (0.95, 0.8, -0.36), "walnut", {"+z": "drawers"}, frozenset({"+z"}))
    yield Box("bag", (0.3, 0.8, -0.54), (0.6, 1.05, -0.4), "patchwork")
    yield Box("umbrella stand", (4.2, 0.0, 0.3), (4.46, 0.55, 0.6), "wicker")


def _pictures(marker: Marker) -> Iterable[Picture]:
    """Posters, windows and rugs, and the marker's sheet."""
    gap = PICTURE_GAP_M
    x, y, z = (float(v) for v in marker.world_from_marker[:3, 3])
    sheet = marker.size_m * 1.5
    yield Picture("marker", "+z", (x, y, z), (sheet, sheet), "marker")

    north, south, west, east = -3.5 + gap, 3.5 - gap, -4.5 + gap, 4.5 - gap
    yield Picture("poster", "+z", (-3.45, 1.6, north), (0.6, 0.85), "poster_0")
    yield Picture("poster", "+z", (-1.85, 1.65, north), (0.7, 0.5), "poster_1")
    yield Picture("poster", "+z", (-0.55, 1.6, north), (0.9, 0.65), "poster_2")
    yield Picture("poster", "-z", (-3.5, 1.6, -0.68 - gap), (1.1, 0.7), "poster_3")
    yield Picture("poster", "-x", (0.84 - gap, 1.55, -2.75), (0.7, 0.9), "poster_4")
    yield Picture("poster", "-z", (0.1, 1.75, -0.68 - gap), (0.5, 0.4), "poster_6")
    yield Picture("window", "+x", (west, 1.6, -1.3), (0.9, 1.1), "window_a")
    yield Picture("poster", "+x", (0.96 + gap, 1.6, -2.75), (0.8, 0.6), "poster_5")
    yield Picture("window", "-x", (east, 1.75, -2.3), (1.4, 0.9), "window_b")
    yield Picture("poster", "+z", (3.7, 1.6, north), (0.9, 0.7), "poster_7")
    yield Picture("poster", "-z", (1.75, 1.55, -0.68 - gap), (0.8, 1.0), "poster_8")
    yield Picture("poster", "+z", (-3.6, 1.55, -0.56 + gap), (0.9, 0.6), "poster_9")
    yield Picture("poster", "+z", (-0.6, 1.55, -0.56 + gap), (0.6, 0.8), "poster_2")
    yield Picture("poster", "+z", (1.75, 1.55, -0.56 + gap), (0.8, 0.6), "poster_0")
    yield Picture("poster", "-z", (-1.5, 1.5, 0.64 - gap), (0.7, 0.9), "poster_7")
    yield Picture("poster", "-z", (0.3, 1.6, 0.64 - gap), (1.0, 0.6), "poster_8")
    yield Picture("poster", "-z", (3.4, 1.5, 0.64 - gap), (0.9, 0.7), "poster_1")
    yield Picture("poster", "+x", (west, 1.65, 0.05), (0.7, 0.9), "poster_5")
    yield Picture("poster", "-x", (east, 1.5, 0.05), (0.8, 1.1), "poster_3")
    yield Picture("window", "-z", (-2.6, 1.6, south), (1.4, 1.0), "window_a")
    yield Picture("poster", "-x", (-0.76 - gap, 1.6, 1.62), (0.35, 0.5), "poster_9")
    yield Picture("poster", "+z", (-1.85, 1.6, 0.76 + gap), (0.6, 0.45), "poster_6")
    yield Picture("poster", "-x", (-0.76 - gap, 1.5, 3.2), (0.4, 0.6), "poster_0")
    yield Picture("poster", "+z", (0.1, 1.6, 0.76 + gap), (0.9, 0.7), "poster_4")
    yield Picture("poster", "+z", (3.4, 1.55, 0.76 + gap), (1.0, 0.7), "poster_2")
    yield Picture("window", "-x", (east, 1.75, 2.25), (1.3, 0.95), "window_b")
    yield Picture("poster", "-z", (2.75, 1.6, south), (0.8, 0.9), "poster_1")
    yield Picture("poster", "+x", (-0.64 + gap, 1.55, 1.5), (0.5, 0.65), "poster_8")

    for material, cx, cz, width, depth in (
        ("rug_a", -3.05, -2.15, 2.0, 1.1),
        ("rug_b", 2.3, -2.0, 1.6, 1.2),
        ("rug_c", 1.3, 2.1, 1.7, 1.2),
        ("rug_b", -1.4, 0.04, 2.2, 0.75),
    ):
        yield Picture("rug", "+y", (cx, gap, cz), (width, depth), material)
    for cx, lamp_y, cz in (((r[0] + r[2]) / 2, CEILING_M - gap, (r[1] + r[3]) / 2) for r in ROOMS.values()):
        yield Picture("ceiling lamp", "-y", (cx, lamp_y, cz), (0.5, 0.5), "lamp")


def _skirting() -> Iterable[Picture]:
    """A skirting board along every wall, interrupted by the doors."""
    for x0, z0, x1, z1 in ROOMS.values():
        sides: tuple[tuple[Side, float, float, float, bool], ...] = (
            ("+z", z0, x0, x1, True),
            ("-z", z1, x0, x1, True),
            ("+x", x0, z0, z1, False),
            ("-x", x1, z0, z1, False),
        )
        for side, wall, start, end, runs_in_x in sides:
            out = 0.5 * PICTURE_GAP_M * (1 if side[0] == "+" else -1)
            for a, b in _between_doors(wall, start, end, runs_in_x):
                middle = (a + b) / 2
                center = (middle, 0.045, wall + out) if runs_in_x else (wall + out, 0.045, middle)
                yield Picture("skirting", side, center, (b - a, 0.09), "trim")


def _between_doors(wall: float, start: float, end: float, runs_in_x: bool) -> list[tuple[float, float]]:
    """Stretches of a wall face at coordinate `wall` that no door interrupts."""
    openings = sorted(
        (c - DOOR_WIDTH_M / 2 - 0.07, c + DOOR_WIDTH_M / 2 + 0.07)
        for door in DOORS
        for c, across in [(door.center[0], door.center[1]) if runs_in_x else (door.center[1], door.center[0])]
        if (door.along == "x") == runs_in_x and abs(across - wall) < 0.1 and start < c < end
    )
    edges = [start, *(e for opening in openings for e in opening), end]
    return list(zip(edges[::2], edges[1::2], strict=True))
