"""Where components lie when all ties are heard at once: a graph of similarities with edges that can be switched off.

A tie says that some points of one component are the same as points of another; the graph moves components until the
points meet. A tie that contradicts the others loses its say instead of bending the map (Geman-McClure weights, which is
what closed-form switchable constraints come to; Agarwal et al. 2013).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mapping.kept import ComponentKey
from mapping.transforms import F64, Sim3, exp_so3

_ITERATIONS = 15
_SURE = 0.03
"""Distance of a tie's points, as a share of how far they lie from each other, at which it begins to lose its say."""


@dataclass(frozen=True, slots=True, eq=False)
class Edge:
    """Points of component a and the same points in component b."""

    a: ComponentKey
    b: ComponentKey
    points_a: F64  # (n, 3)
    points_b: F64  # (n, 3)
    weight: float
    """How much evidence there is, in any unit."""


def settle(
    places: Mapping[ComponentKey, Sim3], free: Sequence[ComponentKey], edges: Sequence[Edge]
) -> dict[ComponentKey, Sim3]:
    """world_from_component of the `free` ones, the others held still (Gauss-Newton, reweighted).

    Args:
        places: world_from_component of all that edges speak of, near enough to start from.
    """
    found = dict(places)
    row = {key: 7 * k for k, key in enumerate(free)}
    heard = [e for e in edges if e.a in found and e.b in found and (e.a in row or e.b in row)]
    for _ in range(_ITERATIONS if heard else 0):
        hessian, gradient = 1e-9 * np.eye(7 * len(free)), np.zeros(7 * len(free))
        for edge in heard:
            at_a, at_b = found[edge.a].apply(edge.points_a), found[edge.b].apply(edge.points_b)
            off = at_a - at_b
            size = max(float(np.sqrt(np.mean(np.sum((at_b - at_b.mean(axis=0)) ** 2, axis=1)))), 1e-9)
            error2 = float(np.mean(np.sum(off * off, axis=1))) / (size * _SURE) ** 2
            weight = edge.weight / (size * size * (1.0 + error2) ** 2)
            sides = [(row[k], s * _motion(p)) for k, s, p in ((edge.a, 1, at_a), (edge.b, -1, at_b)) if k in row]
            for i, left in sides:
                gradient[i : i + 7] += weight * left.T @ off.ravel()
                for j, right in sides:
                    hessian[i : i + 7, j : j + 7] += weight * left.T @ right
        step = np.asarray(-np.linalg.solve(hessian, gradient), np.float64)
        for key, i in row.items():
            found[key] = Sim3(float(np.exp(step[i + 6])), exp_so3(step[i : i + 3]), step[i + 3 : i + 6]) @ found[key]
        if float(np.abs(step).max()) < 1e-9:
            break
    return {key: found[key] for key in free}


def _motion(points: F64) -> F64:
    """(3 n, 7) how points (n, 3) move with (turn, shift, log scale) of their frame."""
    out = np.zeros((len(points), 3, 7))
    x, y, z = points.T
    out[:, 0, 1], out[:, 0, 2] = z, -y
    out[:, 1, 0], out[:, 1, 2] = -z, x
    out[:, 2, 0], out[:, 2, 1] = y, -x
    out[:, :, 3:6] = np.eye(3)
    out[:, :, 6] = points
    return out.reshape(-1, 7)
