"""The shapes themselves: solids of exact size, standing on their pivot.

Sizes that a text leaves out follow from those it names, by what such things usually measure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from mapping.objects import solid
from mapping.objects.creases import creased
from mapping.objects.mesh import Mesh, from_arrays, on_its_pivot
from mapping.objects.prims.grammar import Wanted

_TYPICAL_M: dict[str, tuple[float, float, float]] = {
    "cube": (0.2, 0.2, 0.2), "box": (0.3, 0.2, 0.2), "brick": (0.24, 0.071, 0.115), "slab": (0.6, 0.05, 0.6),
    "sphere": (0.2, 0.2, 0.2), "cylinder": (0.2, 0.3, 0.2), "pillar": (0.3, 2.4, 0.3), "pole": (0.04, 2.0, 0.04),
    "disc": (0.3, 0.02, 0.3), "cone": (0.2, 0.3, 0.2), "capsule": (0.2, 0.5, 0.2), "torus": (0.3, 0.08, 0.3),
    "pyramid": (0.3, 0.3, 0.3), "wedge": (0.6, 0.3, 0.9), "table": (1.2, 0.74, 0.8), "chair": (0.45, 0.9, 0.48),
    "stool": (0.36, 0.46, 0.36), "bench": (1.4, 0.45, 0.4), "stairs": (0.9, 0.9, 1.4), "shelf": (0.8, 1.8, 0.3),
}  # fmt: skip
"""Width, height, depth."""
_EVEN = {"cube", "sphere"}
_FURNITURE = {"table", "chair", "stool", "bench", "stairs", "shelf"}
"""Made for people: a longer bench is not higher, unless it is a toy's or a giant's."""
_RUNNING = {"stairs", "wedge"}
_UPRIGHT = {"pole", "pillar", "cylinder", "capsule"}
"""What is called their length is along these axes."""
_ROUND = {"cylinder", "pillar", "pole", "disc", "cone", "capsule", "torus", "stool"}


def built(wanted: Wanted) -> Mesh:
    """The thing, with normals and its material."""
    width, height, depth = extents_m(wanted)
    shape = on_its_pivot(_MAKERS[wanted.shape](width, height, depth, wanted))
    return replace(creased(shape), material=wanted.material)


def extents_m(wanted: Wanted) -> tuple[float, float, float]:
    """Width, height and depth of what a text asks for."""
    typical = np.array(_TYPICAL_M[wanted.shape]) * wanted.scale
    named = dict(wanted.sizes_m)
    order = ("width", "height", "depth")
    if "radius" in named:
        named["diameter"] = 2 * named.pop("radius")
    if "diameter" in named:
        named["width"] = named["depth"] = named.pop("diameter")
    if "length" in named:
        free = "depth" if "width" in named or wanted.shape in _RUNNING else "width"
        named.setdefault("height" if wanted.shape in _UPRIGHT else free, named.pop("length"))
    if "thickness" in named:
        named.setdefault("depth" if "height" in named else "height", named.pop("thickness"))
    if "size" in named:
        # Beside named sides a bare size is the next one that is free; alone it is the longest side of all.
        size = named.pop("size")
        if named:
            named.setdefault(next((n for n in ("width", "depth", "height") if n not in named), "width"), size)
        elif wanted.shape in _FURNITURE:
            named[order[int(typical.argmax())]] = size
        else:
            typical = typical * size / typical.max()
    known = [named.get(name) for name in order]
    ratios = [value / usual for value, usual in zip(known, typical, strict=True) if value is not None]
    factor = float(np.exp(np.mean(np.log(ratios)))) if ratios else 1.0
    if wanted.shape in _FURNITURE and 0.5 <= factor <= 2:
        factor = 1.0
    if wanted.shape in _EVEN:
        # One side is all of them; a cube of different sides is the box that is meant.
        side = next((value for value in known if value is not None), float(typical[0]))
        width, height, depth = (side if value is None else value for value in known)
        return width, height, depth
    out = [float(usual) * factor if value is None else value for value, usual in zip(known, typical, strict=True)]
    if wanted.shape in _ROUND and (known[0] is None) != (known[2] is None):
        out[0] = out[2] = known[0] if known[0] is not None else out[2]
    return out[0], out[1], out[2]


def _stretched(mesh: Mesh, width: float, height: float, depth: float) -> Mesh:
    factors = np.array([width, height, depth]) / mesh.extents_m()
    return replace(mesh, vertices_m=(mesh.vertices_m * factors).astype(np.float32))


def _box(width: float, height: float, depth: float, wanted: Wanted) -> Mesh:
    return solid.box(width, height, depth)


def _sphere(width: float, height: float, depth: float, wanted: Wanted) -> Mesh:
    angles = np.linspace(-np.pi / 2, np.pi / 2, solid.SEGMENTS // 2 + 1)
    return _stretched(solid.turned([(np.cos(a), np.sin(a)) for a in angles]), width, height, depth)


def _cylinder(width: float, height: float, depth: float, wanted: Wanted) -> Mesh:
    return _stretched(solid.turned([(0, 0), (1, 0), (1, 1), (0, 1)]), width, height, depth)


def _cone(width: float, height: float, depth: float, wanted: Wanted) -> Mesh:
    return _stretched(solid.turned([(0, 0), (1, 0), (0, 1)]), width, height, depth)


def _capsule(width: float, height: float, depth: float, wanted: Wanted) -> Mesh:
    radius = width / 2
    straight = max(height - width, 0.0)
    low = [(radius * np.cos(a), radius * np.sin(a)) for a in np.linspace(-np.pi / 2, 0, solid.SEGMENTS // 4 + 1)]
    high = [(r, -h + straight) for r, h in reversed(low)]
    profile = low + (high if straight > 0 else high[1:])
    return _stretched(solid.turned(profile), width, height, depth)


def _torus(width: float, height: float, depth: float, wanted: Wanted) -> Mesh:
    tube = min(height, 0.45 * width) / 2
    turn = np.linspace(0, 2 * np.pi, solid.SEGMENTS // 2, endpoint=False)
    ring = [(width / 2 - tube + tube * np.cos(a), tube * np.sin(a)) for a in turn]
    return _stretched(solid.turned(ring), width, height, depth)


def _pyramid(width: float, height: float, depth: float, wanted: Wanted) -> Mesh:
    base = [(sx * width / 2, 0.0, sz * depth / 2) for sx, sz in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    faces = np.array([(0, 1, 2), (0, 2, 3), (4, 1, 0), (4, 2, 1), (4, 3, 2), (4, 0, 3)])
    return from_arrays(np.array([*base, (0.0, height, 0.0)]), faces)


def _wedge(width: float, height: float, depth: float, wanted: Wanted) -> Mesh:
    return solid.extruded([(0, 0), (depth, 0), (0, height)], width)


def _stairs(width: float, height: float, depth: float, wanted: Wanted) -> Mesh:
    """Rising towards -Z, so that somebody who comes from the front walks up."""
    count = wanted.count or max(1, round(height / 0.18))
    rise, run = height / count, depth / count
    outline = [(0.0, 0.0), (depth, 0.0)]
    for step in range(count):
        outline += [(depth - step * run, (step + 1) * rise), (depth - (step + 1) * run, (step + 1) * rise)]
    return solid.extruded(outline, width)


def _on_legs(width: float, top_m: float, depth: float, board_m: float, leg_m: float) -> list[Mesh]:
    x, z, under = (width - leg_m) / 2, (depth - leg_m) / 2, top_m - board_m
    legs = [solid.box(leg_m, under, leg_m, (sx * x, 0.0, sz * z)) for sx in (-1, 1) for sz in (-1, 1)]
    return [solid.box(width, board_m, depth, (0.0, under, 0.0)), *legs]


def _table(width: float, height: float, depth: float, wanted: Wanted) -> Mesh:
    return solid.united(_on_legs(width, height, depth, 0.045 * height, 0.06 * min(width, depth)))


def _bench(width: float, height: float, depth: float, wanted: Wanted) -> Mesh:
    return solid.united(_on_legs(width, height, depth, 0.1 * height, 0.15 * min(width, depth)))


def _chair(width: float, height: float, depth: float, wanted: Wanted) -> Mesh:
    seat_m, board_m = 0.5 * height, 0.035 * height
    back_m = 0.08 * depth
    back = solid.box(width, height - seat_m, back_m, (0.0, seat_m, -(depth - back_m) / 2))
    return solid.united([*_on_legs(width, seat_m, depth, board_m, 0.09 * width), back])


def _stool(width: float, height: float, depth: float, wanted: Wanted) -> Mesh:
    board_m = 0.08 * height
    seat = _stretched(solid.turned([(0, 0), (1, 0), (1, 1), (0, 1)]), width, board_m, depth)
    seat = replace(seat, vertices_m=seat.vertices_m + np.array([0, height - board_m, 0], np.float32))
    legs = _on_legs(0.66 * width, height, 0.66 * depth, board_m, 0.1 * width)[1:]
    return solid.united([seat, *legs])


def _shelf(width: float, height: float, depth: float, wanted: Wanted) -> Mesh:
    board_m = min(0.02, 0.05 * min(width, height))
    boards = (wanted.count or max(2, round(height / 0.36))) + 1
    sides = [solid.box(board_m, height, depth, (side * (width - board_m) / 2, 0.0, 0.0)) for side in (-1, 1)]
    levels = np.linspace(0.0, height - board_m, max(2, boards))
    return solid.united([*sides, *(solid.box(width, board_m, depth, (0.0, float(level), 0.0)) for level in levels)])


_MAKERS: dict[str, Callable[[float, float, float, Wanted], Mesh]] = {
    "cube": _box, "box": _box, "brick": _box, "slab": _box, "sphere": _sphere, "cylinder": _cylinder,
    "pillar": _cylinder, "pole": _cylinder, "disc": _cylinder, "cone": _cone, "capsule": _capsule, "torus": _torus,
    "pyramid": _pyramid, "wedge": _wedge, "table": _table, "chair": _chair, "stool": _stool, "bench": _bench,
    "stairs": _stairs, "shelf": _shelf,
}  # fmt: skip
