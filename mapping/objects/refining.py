"""A made thing that fits its pictures badly is made to fit better: put in its place, then painted from the pictures.

Three steps: `fitting` finds where it stands and how large it is; its picture is baked anew from the views that see it,
and stays as it was where none does; both versions are marked by the same judge, so that whoever asked can keep the
better one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mapping.objects import fitting
from mapping.objects.atlas import unwrapped
from mapping.objects.baking import WHITE, baked, texels
from mapping.objects.fitting import Fit
from mapping.objects.judging import Verdict, judged
from mapping.objects.looks import vertex_rgb
from mapping.objects.mesh import F64, Mesh, scaled
from mapping.objects.view import View
from mapping.transforms import invert

_PICTURE_PX = 1024
"""A side of the picture of what had none."""
_SHARED = 1.1
"""Triangles whose uv together take so many times what they cover lie on top of each other."""


@dataclass(frozen=True, slots=True, eq=False)
class Refined:
    """A thing after, and its marks before and after."""

    mesh: Mesh
    """In metres: the scale that was found is in it."""
    before: Verdict
    after: Verdict
    """It has the place."""

    @property
    def is_better(self) -> bool:
        return self.after.score > self.before.score


def refined(
    mesh: Mesh,
    views: Sequence[View],
    start: Fit,
    config: fitting.Config = fitting.Config(),  # noqa: B008
    between: Callable[[str], None] = lambda stage: None,
    drawn: Callable[[float], None] = lambda share: None,
) -> Refined:
    """Fit and paint a thing anew.

    Args:
        views: posed, with masks; depth in them counts, too.
        start: where it stands so far; what is found is in the neighbourhood.
        between: called before each of `fit`, `paint`, `compare`; it may take its time, or raise to give up.
        drawn: how much of `fit` is done, 0..1; may raise, too.

    Raises:
        ValueError: there is no view, or one without a mask.
        MeshError: the mesh has no triangles.
    """
    between("fit")
    before = judged(mesh, views, start.world_from_mesh, start.scale)
    fit = fitting.fitted(mesh, views, start, config, drawn)
    between("paint")
    painted = repainted(scaled(mesh, fit.scale), views, fit.world_from_mesh)
    between("compare")
    return Refined(painted, before, judged(painted, views, fit.world_from_mesh))


def repainted(mesh: Mesh, views: Sequence[View], world_from_mesh: F64) -> Mesh:
    """The same shape with a picture of what the views show of it, and of how it looked before where they do not.

    Raises:
        MeshError: the mesh has no triangles.
    """
    mesh_from_world = invert(world_from_mesh)
    seen = [replace(view, world_from_camera=mesh_from_world @ view.world_from_camera) for view in views]
    side_px = _PICTURE_PX if mesh.texture is None else max(mesh.texture.shape[:2])
    if not _has_own_texels(mesh):
        white = replace(mesh.material, rgb=WHITE)
        bare = replace(mesh, uv=None, texture=None, rgb=vertex_rgb(mesh), material=white)
        mesh = unwrapped(bare, side_px)
    return baked(mesh, seen, side_px, keeps_look=True)


def _has_own_texels(mesh: Mesh) -> bool:
    """Whether no two triangles share a place of the picture, as they do where it is repeated."""
    if mesh.uv is None or mesh.uv.min() < 0 or mesh.uv.max() > 1:
        return False
    covered = int((texels(mesh, _PICTURE_PX).face >= 0).sum())
    a, b, c = (mesh.uv[mesh.faces[:, i]].astype(np.float64) for i in range(3))
    (ux, uy), (vx, vy) = (b - a).T, (c - a).T
    area = float(np.abs(ux * vy - uy * vx).sum()) / 2
    return 0 < area * _PICTURE_PX**2 <= _SHARED * covered
