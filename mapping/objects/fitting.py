"""Where a thing that is nearly in its place really stands, and how large it is: draw it, compare, move it, again.

What is sought is a turn about the vertical, a scale and a way: five numbers. Drawings of triangles have no useful
derivatives, so it is a simplex that looks for the best mark (`judging.mark`: outline, colour, depth), first with wide
steps in small pictures, then with narrow ones in larger pictures. Nothing is random.

Source: Nelder, Mead: A Simplex Method for Function Minimization, The Computer Journal 7 (1965).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from scipy.optimize import minimize

from mapping.objects.judging import mark, shrunk, standing
from mapping.objects.looks import vertex_rgb
from mapping.objects.mesh import F64, Mesh
from mapping.objects.quality import compare
from mapping.objects.view import View
from mapping.transforms import exp_so3, rigid


class Round(BaseModel):
    """One search."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    picture_px: int = Field(ge=32)
    """The longer side of what is drawn."""
    turn_deg: float = Field(gt=0)
    """First steps: about the vertical,"""
    grow: float = Field(gt=0)
    """in size, relative to it,"""
    shift: float = Field(gt=0)
    """and to each side, relative to the thing's size."""
    max_drawings: int = Field(default=200, gt=0)
    """Of all views together, each."""


class Config(BaseModel):
    """How far and how finely is sought."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rounds: tuple[Round, ...] = (
        Round(picture_px=64, turn_deg=15.0, grow=0.10, shift=0.12),
        Round(picture_px=256, turn_deg=3.0, grow=0.02, shift=0.02, max_drawings=120),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """How a mesh has to be put into the world."""

    scale: float
    world_from_mesh: F64  # (4, 4) rigid, to be applied after `scale`


def fitted(
    mesh: Mesh,
    views: Sequence[View],
    start: Fit,
    config: Config = Config(),  # noqa: B008
    drawn: Callable[[float], None] = lambda share: None,
) -> Fit:
    """The best fit in the neighbourhood of `start`; the tilt stays as it is.

    Args:
        views: posed, with masks; depth in them counts, too.
        drawn: told after each drawing how much of the work is done, 0..1; may raise to give up.

    Raises:
        ValueError: there is no view, or one without a mask.
        MeshError: the mesh has no triangles.
    """
    plain = replace(mesh, uv=None, texture=None, rgb=vertex_rgb(mesh))  # quick to draw
    for number, one in enumerate(config.rounds):

        def told(share: float, before: int = number) -> None:
            drawn((before + share) / len(config.rounds))

        start = _searched(plain, views, start, one, told)
    return start


def _searched(mesh: Mesh, views: Sequence[View], start: Fit, one: Round, drawn: Callable[[float], None]) -> Fit:
    small = [shrunk(view, one.picture_px) for view in views]
    size_m = start.scale * float(mesh.extents_m().max())
    number = itertools.count(1)

    def missed(x: F64) -> float:
        drawn(min(next(number) / one.max_drawings, 1.0))
        fit = _moved(start, x)
        return 1 - mark(compare(standing(mesh, fit.scale, fit.world_from_mesh), small), size_m)

    steps = np.array([np.radians(one.turn_deg), np.log1p(one.grow), *3 * [one.shift * size_m]])
    simplex = np.vstack([np.zeros(5), np.diag(steps)])
    options = {"initial_simplex": simplex, "maxfev": one.max_drawings, "xatol": 1e-4, "fatol": 1e-5}
    found = minimize(missed, np.zeros(5), method="Nelder-Mead", options=options)
    drawn(1.0)
    return _moved(start, found.x)


def _moved(fit: Fit, x: F64) -> Fit:
    """Turned about the vertical through its pivot by x[0] rad, grown by e^x[1], shifted by x[2:] metres."""
    turn = exp_so3(np.array([0.0, x[0], 0.0]))
    rotation, at_m = fit.world_from_mesh[:3, :3], fit.world_from_mesh[:3, 3]
    return Fit(fit.scale * float(np.exp(x[1])), rigid(turn @ rotation, at_m + x[2:]))
