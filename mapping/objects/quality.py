"""What can be measured of a mesh: on its own, and against the pictures that it was made from. Nothing is a constant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mapping.objects.cleaning import components
from mapping.objects.mesh import Mesh, face_areas_m2, floor_centre_m, volume_m3, welded
from mapping.objects.raster import picture
from mapping.objects.solid import is_manifold
from mapping.objects.view import View

PIVOT_TOLERANCE = 0.01
"""Of the mesh's size."""
SIZE_RANGE_M = (0.005, 50.0)
"""Outside of it a scale is taken for a mistake: millimetres or feet read as metres."""


@dataclass(frozen=True, slots=True)
class Quality:
    """Facts about one mesh."""

    vertices: int
    faces: int
    bodies: int
    is_manifold: bool
    volume_m3: float | None
    """None where it bounds no solid."""
    area_m2: float
    extents_m: tuple[float, float, float]
    pivot_off_m: float
    """From the origin to the middle of its bottom."""
    problems: tuple[str, ...]
    """`open`, `inside_out`, `over_budget`, `pivot`, `scale`: what keeps it from being as a game expects."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How well drawings of a mesh fit the pictures it was made from; means over the views."""

    mask_iou: float
    psnr_db: float
    """Over the pixels in both masks."""
    depth_error_m: float | None
    """Median over the same pixels; None where no view has depth."""


def measure(mesh: Mesh, max_faces: int) -> Quality:
    """Measure a mesh against a budget of triangles.

    Raises:
        MeshError: it has no triangles.
    """
    width, height, depth = (float(v) for v in mesh.extents_m())
    size_m = max(width, height, depth)
    bare = welded(mesh)
    closed = is_manifold(mesh)
    volume = volume_m3(bare) if closed else None
    pivot_off_m = float(np.linalg.norm(floor_centre_m(mesh)))
    problems = {
        "open": not closed,
        "inside_out": volume is not None and volume < 0,
        "over_budget": len(mesh.faces) > max_faces,
        "pivot": pivot_off_m > PIVOT_TOLERANCE * size_m,
        "scale": not SIZE_RANGE_M[0] <= size_m <= SIZE_RANGE_M[1],
    }
    return Quality(
        len(mesh.vertices_m), len(mesh.faces), int(components(bare).max()) + 1, closed, volume,
        float(face_areas_m2(mesh).sum()), (width, height, depth), pivot_off_m,
        tuple(name for name, found in problems.items() if found),
    )  # fmt: skip


def compare(mesh: Mesh, views: Sequence[View]) -> Agreement:
    """Draw the mesh where each view (with a mask) was taken from, and compare.

    Raises:
        ValueError: a view has no mask, or there is no view.
    """
    if not views:
        raise ValueError("there is no view to compare with")
    ious, errors, off_m = [], [], []
    for view in views:
        if view.mask is None:
            raise ValueError("a view without a mask cannot be compared with")
        rgb, depth_m = picture(mesh, view.world_from_camera, view.intrinsics)
        drawn = depth_m > 0
        both = drawn & view.mask
        ious.append(both.sum() / max(1, (drawn | view.mask).sum()))
        errors.append(((rgb[both].astype(np.float64) - view.rgb[both]) ** 2).mean() if both.any() else 255.0**2)
        if view.depth_m is not None:
            known = both & (view.depth_m > 0)
            off_m.append(np.abs(depth_m[known] - view.depth_m[known]))
    of_depth = np.concatenate(off_m) if off_m else np.empty(0)
    psnr_db = float(np.mean([10 * np.log10(255.0**2 / max(error, 1e-2)) for error in errors]))
    return Agreement(float(np.mean(ious)), psnr_db, float(np.median(of_depth)) if len(of_depth) else None)
