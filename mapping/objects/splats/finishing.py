"""What is published of a thing made of Gaussians: at once what can be shown, then what other programs read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mapping.objects.finishing import Made, png
from mapping.objects.quality import PIVOT_TOLERANCE, SIZE_RANGE_M
from mapping.objects.splats import antimatter, gltf, ply, sog, spz
from mapping.objects.splats.cloud import COEFFICIENTS, VISIBLE, Splats
from mapping.objects.splats.drawing import thumbnail

ROLE = "splat"


def shown(splats: Splats) -> tuple[Made, ...]:
    """The whole as PLY, and a thumbnail."""
    return (
        Made(ROLE, "splats.ply", ply.encode(splats)),
        Made("thumbnail", "thumbnail.png", png(thumbnail(splats))),
    )


def rest(splats: Splats, name: str, extras: Mapping[str, Any]) -> tuple[Made, ...]:
    """The same as SPZ, SOG, `.splat`, and GLB.

    Raises:
        MeshError: it reaches farther than SPZ holds.
    """
    return (
        Made(ROLE, "splats.spz", spz.encode(splats)),
        Made(ROLE, "splats.sog", sog.encode(splats)),
        Made(ROLE, "splats.splat", antimatter.encode(splats)),
        Made(ROLE, "splats.glb", gltf.encode(splats, name, extras), extensions=(gltf.EXTENSION,)),
    )


def facts(splats: Splats) -> dict[str, Any]:
    """What goes with a version as plain JSON: `bbox_m`, `pivot_m`, `quality`."""
    low, high = splats.bounds_m()
    extents = high - low
    foot = np.array([(low[0] + high[0]) / 2, low[1], (low[2] + high[2]) / 2])
    pivot_off_m, size_m = float(np.linalg.norm(foot)), float(extents.max())
    problems = {
        "pivot": pivot_off_m > PIVOT_TOLERANCE * size_m,
        "scale": not SIZE_RANGE_M[0] <= size_m <= SIZE_RANGE_M[1],
        "invisible": not (splats.opacities >= VISIBLE).any(),
    }
    quality = {
        "splats": len(splats),
        "degree": COEFFICIENTS.index(splats.sh.shape[1]),
        "visible": int((splats.opacities >= VISIBLE).sum()),
        "extents_m": extents.tolist(),
        "pivot_off_m": pivot_off_m,
        "problems": [name for name, found in problems.items() if found],
    }
    return {"bbox_m": [low.tolist(), high.tolist()], "pivot_m": [0.0, 0.0, 0.0], "quality": quality}
