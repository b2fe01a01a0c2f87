"""Floors, ceilings and walls of the flat; each room brings its own materials."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.synthetic.plan import CEILING_M, DOOR_HEIGHT_M, DOOR_WIDTH_M, DOORS, ROOMS, Box, Door, Side


def shell() -> Iterable[Box]:
    """All that is built in."""
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
