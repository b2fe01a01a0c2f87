"""How well a made thing fits the pictures it was made from: draw it as they were taken, and compare.

A thing that knows its place is drawn there. One that does not is upright, on its pivot and of unknown size: it is set
down where posed pictures see the real one stand, as high as that is, and turned about the vertical until it fits best.
One photo alone tells no place: the thing is drawn from all around, and thing and photo are laid over each other as they
fill their squares.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from mapping.objects.capture.region import NothingThere, world_points
from mapping.objects.mesh import F64, U8, Mesh, MeshError
from mapping.objects.quality import Agreement, compare
from mapping.objects.raster import picture
from mapping.objects.view import View, squared
from mapping.transforms import exp_so3, look_at, rigid
from streams.frame import Intrinsics

_SEARCH_PX, _PHOTO_PX = 128, 64
_TURNS, _PITCHES_DEG = 24, (0.0, 15.0, 30.0)
_WORST_DB, _BEST_DB = 8.0, 30.0
_FLAT = 1e-4
"""Of its largest extent: what is lower has no height."""
_DEPTH_SHARE = 0.05
"""A depth error of so much of the thing's size leaves 1/e of the mark for depth."""


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """One thing's mark, and how it had to stand for it."""

    score: float
    """0..1; comparable among things of the same pictures."""
    agreement: Agreement
    scale: float = 1.0
    world_from_mesh: F64 | None = None
    """(4, 4) rigid, to be applied after `scale`; None where a photo tells no place."""


def judged(mesh: Mesh, views: Sequence[View], world_from_mesh: F64 | None = None, scale: float = 1.0) -> Verdict:
    """Against posed pictures with masks; depth in them counts, too.

    Args:
        world_from_mesh: (4, 4) rigid, where it stands; None = to be found out.

    Raises:
        NothingThere: no place is known, and the pictures show none.
        ValueError, MeshError: there is no picture, or one without a mask; the mesh has no triangles, or no height.
    """
    if world_from_mesh is None:
        scale, world_from_mesh = _set_down(mesh, views)
    agreement = compare(standing(mesh, scale, world_from_mesh), views)
    size_m = scale * float(mesh.extents_m().max())
    return Verdict(mark(agreement, size_m), agreement, scale, world_from_mesh)


def judged_by_photo(mesh: Mesh, rgb: U8, mask: NDArray[np.bool_]) -> Verdict:
    """Against one photo (h, w, 3) with the thing's mask (h, w), seen from wherever it fits best.

    Raises:
        ValueError, MeshError: the mask is empty; the mesh has no triangles.
    """
    wanted = _fitted(rgb, mask)
    around = [(2 * np.pi * turn / _TURNS, np.radians(pitch)) for turn in range(_TURNS) for pitch in _PITCHES_DEG]
    step = 2 * np.pi / _TURNS
    best = max((_from(mesh, yaw, pitch, wanted) for yaw, pitch in around), key=lambda found: found[0])
    _, yaw, pitch, _ = best
    nearer = [(yaw + a * step / 3, pitch + b) for a in (-1, 0, 1) for b in (-0.13, 0.0, 0.13)]
    score, _, _, agreement = max((_from(mesh, *one, wanted) for one in nearer), key=lambda found: found[0])
    return Verdict(score, agreement)


def mark(agreement: Agreement, size_m: float) -> float:
    """0..1 for a thing of that size: mean of the marks for outline (twice), colour and depth, as far as known."""
    colour = float(np.clip((agreement.psnr_db - _WORST_DB) / (_BEST_DB - _WORST_DB), 0.0, 1.0))
    marks = [agreement.mask_iou, agreement.mask_iou, colour]
    if agreement.depth_error_m is not None:
        marks.append(float(np.exp(-agreement.depth_error_m / (_DEPTH_SHARE * size_m))))
    return float(np.mean(marks))


def _set_down(mesh: Mesh, views: Sequence[View]) -> tuple[float, F64]:
    """Scale and place at which it fits the pictures best; it stays upright."""
    seen = [_points(view) for view in views]
    points = np.concatenate([np.empty((0, 3)), *seen])
    if len(points) < 50:
        raise NothingThere("the pictures tell no depth of the thing: its size and place are unknown")
    extents_m = mesh.extents_m()
    if not extents_m[1] > _FLAT * extents_m.max():
        raise MeshError("it lies flat: nothing says how large it is")
    low, high = np.percentile(points, 0.5, axis=0), np.percentile(points, 99.5, axis=0)
    foot = np.array([(low[0] + high[0]) / 2, low[1], (low[2] + high[2]) / 2])
    scale = float(high[1] - low[1]) / float(extents_m[1])
    small = [shrunk(view) for view in views]
    spread = float((high - low).max())

    def tried(options: Iterable[tuple[float, float, F64]]) -> tuple[float, float, F64]:
        return max(options, key=lambda option: _fit(mesh, small, spread, *option))

    found = tried((2 * np.pi * turn / _TURNS, scale, foot) for turn in range(_TURNS))
    for step in (0.5, 0.25, 0.125):
        yaw, scale, foot = found
        turn, grow, shift = 2 * np.pi / _TURNS * step, 1 + 0.16 * step, 0.08 * spread * step
        found = tried((yaw + a * turn, scale, foot) for a in (-1, 0, 1))
        found = tried((found[0], scale * grow**a, foot) for a in (-1, 0, 1))
        for axis in (0, 2, 1):
            yaw, scale, foot = found
            found = tried((yaw, scale, foot + a * shift * np.eye(3)[axis]) for a in (-1, 0, 1))
    yaw, scale, foot = found
    return scale, rigid(exp_so3(np.array([0.0, yaw, 0.0])), foot)


def _fit(mesh: Mesh, views: Sequence[View], size_m: float, yaw_rad: float, scale: float, foot: F64) -> float:
    return mark(compare(standing(mesh, scale, rigid(exp_so3(np.array([0.0, yaw_rad, 0.0])), foot)), views), size_m)


def _points(view: View) -> F64:
    """(n, 3) what the view sees of the thing, in the world."""
    if view.depth_m is None or view.mask is None:
        return np.empty((0, 3))
    return world_points(view)[view.mask & (view.depth_m > 0)]


def shrunk(view: View, most_px: int = _SEARCH_PX) -> View:
    """The same view, which must have a mask, at a size that is quick to draw."""
    k = view.intrinsics
    factor = min(1.0, most_px / max(k.width, k.height))
    size = (max(8, round(k.width * factor)), max(8, round(k.height * factor)))
    if view.mask is None:
        raise ValueError("a picture without a mask does not tell what the thing is")
    mask = cv2.resize(view.mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST_EXACT) > 0
    depth_m = None if view.depth_m is None else cv2.resize(view.depth_m, size, interpolation=cv2.INTER_NEAREST_EXACT)
    rgb = np.asarray(cv2.resize(view.rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
    return View(rgb, view.world_from_camera, k.scaled(*size), mask, depth_m)


def standing(mesh: Mesh, scale: float, world_from_mesh: F64) -> Mesh:
    """The mesh in the world: larger or smaller first, then moved."""
    rotation, at_m = scale * world_from_mesh[:3, :3], world_from_mesh[:3, 3]
    return replace(mesh, vertices_m=(mesh.vertices_m @ rotation.T + at_m).astype(np.float32), normals=None)


def _from(
    mesh: Mesh, yaw_rad: float, pitch_rad: float, wanted: tuple[U8, NDArray[np.bool_]]
) -> tuple[float, float, float, Agreement]:
    """Mark, direction and agreement of how it looks from there; yaw 0 is its front."""
    low, high = mesh.bounds_m()
    middle, away_m = (low + high) / 2, 2.5 * float(np.linalg.norm(high - low))
    cos = np.cos(pitch_rad)
    towards = np.array([np.sin(yaw_rad) * cos, np.sin(pitch_rad), np.cos(yaw_rad) * cos])
    k = Intrinsics.from_fov(_SEARCH_PX, _SEARCH_PX, np.degrees(2 * np.arcsin(0.25)))
    rgb, depth_m = picture(mesh, look_at(middle + away_m * towards, middle), k)
    if not (depth_m > 0).any():
        return 0.0, yaw_rad, pitch_rad, Agreement(0.0, 0.0, None)
    drawn, shows = _fitted(rgb, depth_m > 0)
    photo, mask = wanted
    both = shows & mask
    error = float(((drawn[both].astype(np.float64) - photo[both]) ** 2).mean()) if both.any() else 255.0**2
    iou = float(both.sum() / max(1, (shows | mask).sum()))
    agreement = Agreement(iou, float(10 * np.log10(255.0**2 / max(error, 1e-2))), None)
    return mark(agreement, 1.0), yaw_rad, pitch_rad, agreement


def _fitted(rgb: U8, mask: NDArray[np.bool_]) -> tuple[U8, NDArray[np.bool_]]:
    """The thing filling a small square."""
    part, inside = squared(rgb, mask, 0.0)
    size = (_PHOTO_PX, _PHOTO_PX)
    small = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.uint8)
    share = cv2.resize(inside.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return small, np.asarray(share > 0.5)
