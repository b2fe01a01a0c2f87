"""What hangs on the walls, lies on the floors and glows on the ceilings; nothing here is solid."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.synthetic.plan import CEILING_M, DOOR_WIDTH_M, DOORS, PICTURE_GAP_M, ROOMS, Marker, Picture, Side


def pictures(marker: Marker) -> Iterable[Picture]:
    """The marker's sheet first, then posters, windows, rugs, lamps and skirting boards."""
    yield from _hung(marker)
    yield from _skirting()


def _hung(marker: Marker) -> Iterable[Picture]:
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
