"""Procedural, seeded, matte materials: every one has detail from centimetres down to millimetres to track and match.

A material is a square texture that repeats (or is stretched once over a picture) and the width it covers in metres.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.synthetic.patterns import Rgb, Rng, granite, paper, patches, plain, planks, tiles, weave, wood
from benchmarks.synthetic.prints import (
    books,
    carton,
    drawers,
    fridge,
    lamp,
    leaves,
    marker_sheet,
    poster,
    rug,
    screen,
    window,
)


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    texture: NDArray[np.uint8]  # (s, s, 3) RGB, s a power of two
    width_m: float
    """Width of the square the texture covers when it repeats."""


def materials(seed: int = 0) -> dict[str, Material]:
    """Every material of the flat by name."""
    out = {}
    for index, (name, (make, side, width_m)) in enumerate(_RECIPES.items()):
        image = make(np.random.default_rng([seed, index]), side)
        out[name] = Material(np.clip(image, 0, 255).astype(np.uint8), width_m)
    return out


def _marker(_: Rng, side: int) -> Rgb:
    return marker_sheet("apriltag_36h11", 7, side).astype(np.float32)


_OAK = ((206, 160, 106), (140, 96, 58))
_WALNUT = ((142, 98, 66), (84, 54, 36))
_PATCHWORK = [(196, 80, 66), (70, 110, 140), (226, 190, 110), (96, 130, 90), (232, 224, 208)]
_QUILT = [(180, 96, 110), (100, 120, 170), (230, 210, 180), (120, 150, 130), (90, 80, 110)]
_RECIPES: dict[str, tuple[Callable[[Rng, int], Rgb], int, float]] = {
    "oak": (planks(*_OAK), 1024, 2.4),
    "walnut_floor": (planks((160, 112, 76), (92, 60, 40)), 1024, 2.4),
    "carpet": (weave([(92, 110, 128), (120, 134, 146), (76, 92, 112), (150, 156, 160)], 128), 1024, 2.5),
    "terracotta": (tiles((186, 104, 72), (160, 84, 58), 8), 1024, 2.4),
    "tiles": (tiles((222, 218, 206), (112, 140, 150), 8), 1024, 2.4),
    "plaster": (plain((226, 222, 214), 9), 512, 2.0),
    "render": (plain((170, 160, 150), 12), 256, 2.0),
    "trim": (plain((232, 228, 218), 8, 8), 256, 0.8),
    "paper_living": (paper((214, 200, 172), [(176, 96, 80), (120, 140, 96), (196, 150, 90)], "flower"), 1024, 2.6),
    "paper_study": (paper((150, 172, 164), [(70, 110, 104), (210, 214, 190), (100, 140, 150)], "leaf"), 1024, 2.6),
    "paper_corridor": (paper((220, 206, 186), [(184, 150, 110), (150, 120, 96), (200, 120, 90)], "shard"), 1024, 2.6),
    "paper_kitchen": (paper((236, 222, 170), [(220, 140, 60), (150, 170, 80), (200, 90, 60)], "ring"), 1024, 2.6),
    "paper_bedroom": (paper((176, 180, 204), [(110, 116, 160), (226, 220, 232), (150, 120, 160)], "flower"), 1024, 2.6),
    "pine": (wood((214, 174, 118), (168, 122, 72)), 512, 0.8),
    "walnut": (wood(*_WALNUT), 512, 0.8),
    "drawers": (drawers, 512, 1.2),
    "cupboard": (plain((170, 188, 178), 12), 512, 0.9),
    "granite": (granite, 512, 0.7),
    "metal": (plain((190, 194, 198), 10), 256, 0.7),
    "fridge": (fridge, 512, 1.0),
    "ceramic": (paper((232, 228, 220), [(50, 80, 150), (90, 120, 180)], "leaf"), 256, 0.5),
    "fabric_blue": (weave([(58, 88, 132), (80, 112, 150), (44, 66, 104), (160, 170, 176)], 64), 512, 0.7),
    "fabric_red": (weave([(150, 56, 52), (182, 84, 66), (112, 40, 44), (214, 170, 130)], 64), 512, 0.6),
    "patchwork": (patches(_PATCHWORK, 4), 512, 0.5),
    "quilt": (patches(_QUILT, 8), 1024, 1.9),
    "stripes": (weave([(232, 224, 206), (60, 90, 110), (200, 110, 80)], 32), 256, 0.5),
    "cardboard_a": (carton, 512, 0.5),
    "cardboard_b": (carton, 512, 0.45),
    "books_a": (books, 512, 0.5),
    "books_b": (books, 1024, 1.0),
    "books_c": (books, 1024, 1.0),
    "books_d": (books, 1024, 1.0),
    "speaker": (plain((58, 58, 62), 22, 64), 256, 0.3),
    "screen": (screen, 512, 0.7),
    "globe": (paper((70, 120, 170), [(120, 150, 80), (190, 170, 110)], "shard"), 256, 0.4),
    "leaves": (leaves, 512, 0.5),
    "shade": (plain((240, 214, 160), 10), 256, 0.3),
    "wicker": (weave([(176, 134, 86), (140, 100, 60), (204, 168, 116)], 64), 256, 0.4),
    "rug_a": (rug([(150, 48, 44), (214, 176, 120), (48, 62, 92), (230, 220, 200)]), 1024, 2.0),
    "rug_b": (rug([(62, 92, 84), (220, 206, 170), (176, 110, 70), (36, 48, 52)]), 1024, 1.6),
    "rug_c": (rug([(110, 80, 130), (228, 214, 222), (70, 100, 140), (200, 150, 110)]), 1024, 1.7),
    "window_a": (window, 512, 1.0),
    "window_b": (window, 512, 1.0),
    "lamp": (lamp, 256, 0.5),
    "marker": (_marker, 512, 0.36),
    **{f"poster_{i}": (poster, 512, 0.8) for i in range(10)},
}  # fmt: skip
