"""Keyframes as nodes, relative poses as edges: the graph bends until all edges agree as well as they can.

A node is a similarity, world_from_camera with the unit that its tracker had there, for units drift as poses do
(Strasdat et al. 2010). What a tracker says of neighbours is believed; what was recognised loses its say where it
contradicts the rest (Geman-McClure weights, which is what closed-form switchable constraints come to; Agarwal et al.
2013). Levenberg-Marquardt with sparse normal equations (SuperLU): about linear in the length of the walk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csc_matrix, diags
from scipy.sparse.linalg import splu

from mapping.transforms import F64, Sim3

_ITERATIONS = 20
_CONVERGED = 1e-4
_MAX_DAMPING = 1e6
_FLOATING = 1e-12
"""Of the stiffest direction: what holds a graph of which no node stays."""


@dataclass(frozen=True, slots=True, eq=False)
class Poses:
    """n similarities, column by column."""

    scale: F64  # (n,)
    rotation: F64  # (n, 3, 3)
    position: F64  # (n, 3)

    def __len__(self) -> int:
        return len(self.scale)

    @classmethod
    def of(cls, sims: Sequence[Sim3]) -> Poses:
        return cls(
            np.array([s.scale for s in sims]).reshape(-1),
            np.array([s.rotation for s in sims]).reshape(-1, 3, 3),
            np.array([s.translation for s in sims]).reshape(-1, 3),
        )

    def __getitem__(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Poses:
        return Poses(self.scale[rows], self.rotation[rows], self.position[rows])

    def __setitem__(self, rows: NDArray[np.int64], those: Poses) -> None:
        self.scale[rows], self.rotation[rows], self.position[rows] = those.scale, those.rotation, those.position

    def __matmul__(self, other: Poses) -> Poses:
        there = self.position + self.scale[:, None] * np.einsum("nij,nj->ni", self.rotation, other.position)
        return Poses(self.scale * other.scale, self.rotation @ other.rotation, there)

    def inverse(self) -> Poses:
        turned = self.rotation.transpose(0, 2, 1)
        return Poses(1 / self.scale, turned, -np.einsum("nij,nj->ni", turned, self.position) / self.scale[:, None])

    def each(self) -> list[Sim3]:
        return [Sim3(float(s), r, p) for s, r, p in zip(self.scale, self.rotation, self.position, strict=True)]

    def moved(self, step: F64) -> Poses:
        """Each by (n, 7) turn, shift, log scale in its own axes and unit."""
        shift = self.scale[:, None] * np.einsum("nij,nj->ni", self.rotation, step[:, 3:6])
        return Poses(self.scale * np.exp(step[:, 6]), self.rotation @ _turns(step[:, :3]), self.position + shift)


@dataclass(frozen=True, slots=True, eq=False)
class Edges:
    """m times: camera a lies to camera b like this; each camera in the unit of its own node. Column by column."""

    a: NDArray[np.int64]  # (m,) rows of nodes
    b: NDArray[np.int64]
    b_from_a: Poses
    information: F64  # (m, 7, 7) of (turn, shift, log scale) in the axes and unit of camera b
    doubt: F64
    """(m,) squared error, in its own sigmas, at which an edge has lost three quarters of its say; inf = never."""

    def __len__(self) -> int:
        return len(self.a)

    def only(self, chosen: NDArray[np.bool_]) -> Edges:
        return Edges(
            self.a[chosen], self.b[chosen], self.b_from_a[chosen], self.information[chosen], self.doubt[chosen]
        )  # fmt: skip

    def told_by(self, row: NDArray[np.int64], node_from_camera: Poses) -> Edges:
        """The same between other nodes: camera k rides on node `row[k]`. Edges within one node say nothing."""
        on_a, on_b = node_from_camera[self.a], node_from_camera[self.b]
        back = adjoints(on_b.inverse())
        told = Edges(
            row[self.a], row[self.b], on_b @ self.b_from_a @ on_a.inverse(),
            back.transpose(0, 2, 1) @ self.information @ back, self.doubt,
        )  # fmt: skip
        return told.only(told.a != told.b)

    def errors(self, nodes: Poses) -> F64:
        """(m, 7) turn, shift and log scale from where b wants a to where a is, in the axes and unit of b."""
        off = nodes[self.b].inverse() @ nodes[self.a] @ self.b_from_a.inverse()
        return np.concatenate([_turn_vectors(off.rotation), off.position, np.log(off.scale)[:, None]], axis=1)


def joined(parts: Sequence[Edges]) -> Edges:
    """All edges of several parts, which speak of the same nodes."""
    return Edges(
        np.concatenate([p.a for p in parts]), np.concatenate([p.b for p in parts]),
        Poses(
            np.concatenate([p.b_from_a.scale for p in parts]), np.concatenate([p.b_from_a.rotation for p in parts]),
            np.concatenate([p.b_from_a.position for p in parts]),
        ),
        np.concatenate([p.information for p in parts]), np.concatenate([p.doubt for p in parts]),
    )  # fmt: skip


def optimise(nodes: Poses, edges: Edges, stays: NDArray[np.bool_]) -> Poses:
    """world_from_camera of all nodes, bent.

    Args:
        nodes: where they are by now, near enough to start from.
        stays: (n,) nodes that do not move. What hangs together without one of them may float off as a whole.
    """
    if not len(edges) or stays.all():
        return nodes
    system, errors, damping = _System(edges), edges.errors(nodes), 1e-4
    for _ in range(_ITERATIONS):
        is_last = system.doubt_more(errors)
        cost = system.cost(errors)
        hessian, gradient = system.normal_equations(errors, len(nodes))
        while True:
            trial = nodes.moved(_step(hessian, gradient, damping, stays))
            trial_errors = edges.errors(trial)
            trial_cost = system.cost(trial_errors)
            if trial_cost <= cost:
                break
            damping *= 10.0
            if damping > _MAX_DAMPING:
                return nodes
        gain, damping = cost - trial_cost, max(0.2 * damping, 1e-9)
        nodes, errors = trial, trial_errors
        if is_last and gain <= _CONVERGED * cost:
            break
    return nodes


def _step(hessian: csc_matrix, gradient: F64, damping: float, stays: NDArray[np.bool_]) -> F64:
    """(n, 7) motion of every node in its own camera's axes."""
    free = np.flatnonzero(np.repeat(~stays, 7))
    step = np.zeros(7 * len(stays))
    diagonal = hessian.diagonal()[free]
    held = diags(damping * diagonal + _FLOATING * float(diagonal.max()))
    system = csc_matrix(hessian[free][:, free] + held)
    factors = splu(system, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    step[free] = -factors.solve(gradient[free])
    return step.reshape(-1, 7)


class _System:
    """The least-squares problem that edges make."""

    def __init__(self, edges: Edges) -> None:
        self._edges = edges
        self._moves = adjoints(edges.b_from_a)
        self._least = np.inf

    def doubt_more(self, errors: F64) -> bool:
        """Believe all at first, then less and less what does not fit; returns whether that is done.

        So a loop is closed that long drift left wide open (graduated non-convexity: Blake & Zisserman 1987).
        """
        doubtful = np.isfinite(self._edges.doubt)
        self._least = min(self._least / 4, float(self._squared(errors)[doubtful].max(initial=0.0)))
        return self._least <= float(self._edges.doubt.min())

    def cost(self, errors: F64) -> float:
        squared = self._squared(errors)
        return float(np.sum(squared / (1.0 + squared / self._doubt)))

    @property
    def _doubt(self) -> F64:
        return np.maximum(self._edges.doubt, self._least)

    def normal_equations(self, errors: F64, num_nodes: int) -> tuple[csc_matrix, F64]:
        """Gauss-Newton Hessian (7 n, 7 n) and gradient (7 n,), edges weighted by the say they have."""
        a, b, moves = self._edges.a, self._edges.b, self._moves
        say = 1.0 / (1.0 + self._squared(errors) / self._doubt) ** 2
        weighted = self._edges.information * say[:, None, None]
        from_a = moves.transpose(0, 2, 1) @ weighted
        gradient = np.zeros((num_nodes, 7))
        np.add.at(gradient, a, np.einsum("nij,nj->ni", from_a, errors))
        np.add.at(gradient, b, -np.einsum("nij,nj->ni", weighted, errors))
        blocks = (a, a, from_a @ moves), (b, b, weighted), (a, b, -from_a), (b, a, -from_a.transpose(0, 2, 1))
        seven = np.arange(7)
        rows = [np.broadcast_to(7 * r[:, None, None] + seven[:, None], h.shape).ravel() for r, _, h in blocks]
        columns = [np.broadcast_to(7 * c[:, None, None] + seven, h.shape).ravel() for _, c, h in blocks]
        entries = np.concatenate([h.ravel() for *_, h in blocks]), (np.concatenate(rows), np.concatenate(columns))
        return csc_matrix(coo_matrix(entries, shape=(7 * num_nodes, 7 * num_nodes))), gradient.ravel()

    def _squared(self, errors: F64) -> F64:
        """(m,) in their own sigmas."""
        return np.asarray(np.einsum("ni,nij,nj->n", errors, self._edges.information, errors))


def adjoints(b_from_a: Poses) -> F64:
    """(m, 7, 7) how a small motion (turn, shift, log scale) of camera a appears from camera b."""
    out = np.zeros((len(b_from_a), 7, 7))
    out[:, :3, :3] = b_from_a.rotation
    out[:, 3:6, :3] = _skew(b_from_a.position) @ b_from_a.rotation
    out[:, 3:6, 3:6] = b_from_a.scale[:, None, None] * b_from_a.rotation
    out[:, 3:6, 6] = -b_from_a.position
    out[:, 6, 6] = 1.0
    return out


def _skew(vectors: F64) -> F64:
    x, y, z = vectors.T
    upper = np.zeros((len(vectors), 3, 3))
    upper[:, 0, 1], upper[:, 0, 2], upper[:, 1, 2] = -z, y, -x
    return upper - upper.transpose(0, 2, 1)


def _turns(vectors: F64) -> F64:
    """Rotations (n, 3, 3) of rotation vectors (n, 3) (Rodrigues)."""
    skew, angle = _skew(vectors), np.linalg.norm(vectors, axis=1)
    first, second = np.sinc(angle / np.pi), 0.5 * np.sinc(0.5 * angle / np.pi) ** 2
    return np.asarray(np.eye(3) + first[:, None, None] * skew + second[:, None, None] * (skew @ skew))


def _turn_vectors(rotations: F64) -> F64:
    """Rotation vectors (n, 3) of rotations (n, 3, 3), well short of half a turn."""
    cosine = np.clip((np.trace(rotations, axis1=1, axis2=2) - 1.0) / 2.0, -1.0, 1.0)
    axis = rotations[:, [2, 0, 1], [1, 2, 0]] - rotations[:, [1, 2, 0], [2, 0, 1]]
    return np.asarray(0.5 * axis / np.maximum(np.sinc(np.arccos(cosine) / np.pi), 1e-3)[:, None])
