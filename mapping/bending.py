"""The map bends: what was recognised meets what trackers say of their walks, and every keyframe in the world gives way.

Trackers go on in frames of their own; what comes out is where each component lies in the world around each keyframe.
Long maps bend at stations, every so many keyframes, on which the others ride: the work is bounded.
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

_MAX_STATIONS = 400
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
    rows: NDArray[np.int64]  # (n,) nodes of its keyframes
    stations: NDArray[np.int64]  # (m,) which of those they ride on
    rides_on: NDArray[np.int64]  # (n,)
    component_from_camera: F64  # (n, 4, 4)

    @classmethod
    def of(cls, component: Component, first_row: int, stride: int) -> _Walk:
        numbers = np.arange(len(component.poses))
        rides_on = numbers // stride * stride
        return cls(component, first_row + numbers, numbers[::stride], rides_on, np.array([*component.poses.values()]))

    @property
    def own(self) -> Poses:
        """component_from_camera of all its keyframes."""
        poses = self.component_from_camera
        return Poses(np.ones(len(poses)), poses[:, :3, :3], poses[:, :3, 3])

    def steps(self) -> Edges:
        """From each station to the next, as the tracker has it: surer the less it moved."""
        way, distance = self.own[self.stations], self.component.typical_distance
        a, b = np.arange(len(way) - 1), np.arange(1, len(way))
        step = way[b].inverse() @ way[a]
        turned = np.arccos(np.clip((np.trace(step.rotation, axis1=1, axis2=2) - 1) / 2, -1, 1))
        sigma = np.empty((len(step), 7))
        sigma[:, :3] = (_TURN_RAD + _OF_STEP * turned)[:, None]
        sigma[:, 3:6] = (_SHIFT * distance + _OF_STEP * np.linalg.norm(step.position, axis=1))[:, None]
        sigma[:, 6] = _GROWTH
        sigma *= np.sqrt(len(self.rows) / len(way)) * (_POSED if self.component.is_posed else 1.0)
        rows = self.rows[self.stations]
        return Edges(rows[a], rows[b], step, np.eye(7) / sigma[:, :, None] ** 2, np.full(len(step), np.inf))

    def on_the_whole(self, nodes: Poses) -> Sim3:
        """The one similarity that comes nearest to where its stations are now (world_from_camera of all nodes)."""
        some = self.stations[:: max(1, len(self.stations) // _NUM_FITTED)]
        poses, now = self.component_from_camera[some], nodes[self.rows[some]].each()
        fit = fit_cameras(poses, np.array([place.apply_pose(np.eye(4)) for place in now]))
        return fit.b_from_a if fit is not None else now[0] @ Sim3.from_rigid(invert(poses[0]))

    def placement(self, world_from_component: Sim3, nodes: Poses, seat: Sim3) -> Placement:
        """Where its stations as they are now, then all moved by `seat`, put it."""
        around = (nodes[self.rows[self.stations]] @ self.own[self.stations].inverse()).each()
        seqs = np.array(list(self.component.poses))[self.stations].tolist()
        return Placement.bent(world_from_component, {s: seat @ place for s, place in zip(seqs, around, strict=True)})


def bend(
    standing: Sequence[Component], hung: Sequence[Component], before: Mapping[KeyframeId, Sim3], links: Links
) -> Iterator[tuple[Component, Placement]]:
    """Place the components in the world that recognised places link, each keyframe where all together want it.

    Args:
        standing: lie in the world by themselves. Those of them that bring poses stay as they are; where there is none,
            the first of what hangs together keeps its place on the whole.
        hung: lie where others put them.
        before: world_from_camera of places of before a restart, which stay, in the unit of their depths.
    """
    here = [component for component in (*standing, *hung) if component.placement is not None and component.poses]
    stride = -(-sum(len(component.poses) for component in here) // _MAX_STATIONS)
    ids, places, walks = list(before), list(before.values()), []
    for component in here:
        walks.append(_Walk.of(component, len(ids), stride))
        ids += [keyframe_id(component.key[0], seq) for seq in component.poses]
        places += [camera for seq in component.poses if (camera := component.camera(seq)) is not None]
    nodes, is_fixed = Poses.of(places), np.arange(len(ids)) < len(before)
    rides_on, node_from_camera = np.arange(len(ids)), Poses.of([Sim3.identity()] * len(ids))
    for walk in walks:
        rides_on[walk.rows] = walk.rows[walk.rides_on]
        node_from_camera[walk.rows] = walk.own[walk.rides_on].inverse() @ walk.own
        is_fixed[walk.rows] = walk.component.is_posed and walk.component in standing
    heard = links.heard({keyframe: row for row, keyframe in enumerate(ids)}, nodes)
    heard = heard.told_by(rides_on, node_from_camera)
    edges = joined([heard, *(walk.steps() for walk in walks)])
    nodes = optimise(nodes, edges, is_fixed | (rides_on != np.arange(len(ids))))
    yield from _seated(walks, nodes, edges, is_fixed, np.unique(heard.a))


def _seated(
    walks: Sequence[_Walk], nodes: Poses, edges: Edges, is_fixed: NDArray[np.bool_], linked: NDArray[np.int64]
) -> Iterator[tuple[Component, Placement]]:
    """What hangs together floats: each such part is put back to where its first walk was on the whole."""
    links = coo_matrix((np.ones(len(edges)), (edges.a, edges.b)), shape=(len(nodes), len(nodes)))
    parts = connected_components(links, directed=False)[1]
    seats: dict[int, Sim3] = {part: Sim3.identity() for part in parts[is_fixed].tolist()}
    moved = set(parts[linked].tolist())
    for walk in walks:
        first = int(walk.rows[0])
        part, place = int(parts[first]), walk.component.world_from_component
        if place is None or part not in moved or is_fixed[first]:
            continue
        whole, is_first = walk.on_the_whole(nodes), part not in seats
        seat = seats.setdefault(part, place @ whole.inverse())
        yield walk.component, walk.placement(place if is_first else seat @ whole, nodes, seat)
