"""The map bends: what was recognised meets what trackers say of their walks, and every keyframe in the world gives way.

Trackers go on in frames of their own; what comes out is where each component lies in the world around each keyframe.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from mapping.alignment import fit_cameras
from mapping.changes import KeyframeId
from mapping.component import Component
from mapping.placement import Placement
from mapping.places.links import Links
from mapping.places.pose_graph import Edges, Poses, joined, optimise
from mapping.placing import keyframe_id
from mapping.transforms import F64, Sim3, invert

_TURN_RAD, _SHIFT, _GROWTH = float(np.radians(0.1)), 0.004, 0.004
"""What a tracker drifts by from one keyframe to the next: turn, shift as a share of how far it sees, log scale."""
_OF_STEP = 0.02
"""And that share of the step itself."""
_POSED = 0.1
"""Of all that, what a source that brings poses drifts by."""
_NUM_FITTED = 24


@dataclass(frozen=True, slots=True, eq=False)
class _Walk:
    """One component's keyframes among the nodes."""

    component: Component
    rows: range
    seqs: tuple[int, ...]
    component_from_camera: F64  # (n, 4, 4)

    def placement(self, world_from_component: Sim3, nodes: Sequence[Sim3], seat: Sim3) -> Placement:
        """Where its keyframes as they are now (world_from_camera of all nodes, then moved by `seat`) put it."""
        around = {
            seq: seat @ nodes[row] @ Sim3.from_rigid(invert(pose))
            for seq, row, pose in zip(self.seqs, self.rows, self.component_from_camera, strict=True)
        }
        return Placement.bent(world_from_component, around)

    def on_the_whole(self, nodes: Sequence[Sim3]) -> Sim3:
        """The one similarity that comes nearest to that."""
        some = slice(None, None, max(1, len(self.seqs) // _NUM_FITTED))
        poses = self.component_from_camera[some]
        bent = np.array([nodes[row].apply_pose(np.eye(4)) for row in self.rows[some]])
        fit = fit_cameras(poses, bent)
        return fit.b_from_a if fit is not None else nodes[self.rows[0]] @ Sim3.from_rigid(invert(poses[0]))


def bend(
    standing: Sequence[Component], hung: Sequence[Component], before: Mapping[KeyframeId, F64], links: Links
) -> Iterator[tuple[Component, Placement]]:
    """Place the components in the world that recognised places link, each keyframe where all together want it.

    Args:
        standing: lie in the world by themselves. Those of them that bring poses stay as they are; where there is none,
            the first of what hangs together keeps its place on the whole.
        hung: lie where others put them.
        before: world_from_camera (4, 4) of places of before a restart, which stay.
    """
    ids, places, stays = list(before), [Sim3.from_rigid(pose) for pose in before.values()], [True] * len(before)
    walks = []
    for component in (*standing, *hung):
        if component.placement is None or not component.poses:
            continue
        around, poses = component.placement.around, component.poses
        rows = range(len(ids), len(ids) + len(poses))
        walks.append(_Walk(component, rows, tuple(poses), np.array(list(poses.values()))))
        ids += [keyframe_id(component.key[0], seq) for seq in poses]
        places += [around(seq) @ Sim3.from_rigid(pose) for seq, pose in poses.items()]
        stays += [component.is_posed and component in standing] * len(poses)
    nodes, is_fixed = Poses.of(places), np.array(stays)
    heard = links.heard({keyframe: row for row, keyframe in enumerate(ids)}, nodes)
    edges = joined([heard, *(_steps(walk) for walk in walks)])
    bent = optimise(nodes, edges, is_fixed).each()
    parts = _parts(edges, len(nodes))
    seats: dict[int, Sim3] = {part: Sim3.identity() for part in parts[is_fixed]}
    moved = set(parts[heard.a])
    for walk in walks:
        part = int(parts[walk.rows[0]])
        if part not in moved or is_fixed[walk.rows[0]]:
            continue
        place, whole = walk.component.world_from_component, walk.on_the_whole(bent)
        assert place is not None
        is_first = part not in seats
        seat = seats.setdefault(part, place @ whole.inverse())
        yield walk.component, walk.placement(place if is_first else seat @ whole, bent, seat)


def _parts(edges: Edges, num_nodes: int) -> NDArray[np.int32]:
    """(n,) numbers of what hangs together."""
    links = coo_matrix((np.ones(len(edges)), (edges.a, edges.b)), shape=(num_nodes, num_nodes))
    return np.asarray(connected_components(links, directed=False)[1])


def _steps(walk: _Walk) -> Edges:
    """From each keyframe to the next, as the tracker has it: surer the less it moved."""
    poses, distance = walk.component_from_camera, walk.component.typical_distance
    steps = np.array([invert(pose) for pose in poses[1:]]).reshape(-1, 4, 4) @ poses[:-1]
    turned = np.arccos(np.clip((np.trace(steps[:, :3, :3], axis1=1, axis2=2) - 1) / 2, -1, 1))
    moved = np.linalg.norm(steps[:, :3, 3], axis=1)
    sigma = np.empty((len(steps), 7))
    sigma[:, :3] = (_TURN_RAD + _OF_STEP * turned)[:, None]
    sigma[:, 3:6] = (_SHIFT * distance + _OF_STEP * moved)[:, None]
    sigma[:, 6] = _GROWTH
    sigma *= _POSED if walk.component.is_posed else 1.0
    rows = walk.rows.start + np.arange(len(steps))
    return Edges(
        rows, rows + 1, Poses(np.ones(len(steps)), steps[:, :3, :3], steps[:, :3, 3]),
        np.eye(7) / sigma[:, :, None] ** 2, np.ones(len(steps), np.bool_),
    )  # fmt: skip
