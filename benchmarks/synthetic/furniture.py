"""What stands in the rooms, box by box."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.synthetic.plan import Box, Point, Side


def furniture() -> Iterable[Box]:
    """Everything that can be carried out."""
    yield from _living()
    yield from _study()
    yield from _kitchen()
    yield from _bedroom()
    yield from _corridor()


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
