"""Recognised pairs as edges of the pose graph: all are remembered; heard are those that fit, and those believed.

A pair that lies about where the map has it needs no other witness: were it wrong, it would move things by no more than
the map is uncertain anyway. One that says otherwise is heard when `ties` believes it. Nothing is decided for good: each
time the graph is bent, all that is remembered is asked anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from mapping.changes import KeyframeId, stream_of
from mapping.places.agreement import Seen
from mapping.places.lens_errors import LensShift, lens_errors
from mapping.places.pose_graph import Edges, Poses
from mapping.places.verification import Pair
from mapping.transforms import F64, Sim3
from streams.frame import StreamId

_MAX_LINKS = 8192
_NOISE_PX = 2.0
_YOUNG_RAD, _YOUNG_SHARE = float(np.radians(0.15)), 0.01
"""What the landmarks of a pair are off by beside the noise of pixels: turn; share of their depth, and of the scale."""
_DOUBT, _DOUBT_BELIEVED = 14.0, 140.0
"""Of edges (see `Edges.doubt`): chi^2 of seven; what several agree on is given up less readily."""
_NEAR_RAD, _NEAR_SHARE = float(np.radians(5.0)), 0.1
_DUE_SHARE = 1 / 16
_NEWS = 2.0
"""chi^2 of seven by which a pair that is seen again has to have moved."""


@dataclass(frozen=True, slots=True, eq=False)
class _Known:
    """What is left of a pair: without its points it takes half a kilobyte."""

    b_from_a: Sim3
    information: F64  # (7, 7)
    depth_b: float
    lenses: LensShift | None
    is_believed: bool = False


class Links:
    """Bounded: the oldest goes. One caller at a time."""

    def __init__(self) -> None:
        self._known: dict[tuple[KeyframeId, KeyframeId], _Known] = {}
        self._num_new = 0

    def add(self, seen: Iterable[Seen]) -> None:
        """Remember verified pairs; one that is seen again is known better."""
        for found in seen:
            before = self._known.pop((found.a, found.b), None)
            self._num_new += before is None or _says_otherwise(found, before)
            known = _Known(found.pair.b_from_a, _information(found), found.pair.median_depth_b, found.pair.lenses)
            self._known[found.a, found.b] = replace(known, is_believed=before is not None and before.is_believed)
            if len(self._known) > _MAX_LINKS:
                del self._known[next(iter(self._known))]

    def believe(self, agreed: Iterable[Seen]) -> None:
        """Hear these, whatever the map says by now."""
        for found in agreed:
            for key in ((found.a, found.b), (found.b, found.a)):
                known = self._known.get(key)
                if known is not None and not known.is_believed:
                    self._known[key] = replace(known, is_believed=True)

    def is_due(self, num_keyframes: int) -> bool:
        """Whether enough is new to bend the graph for it: what that costs a keyframe does not grow with the map."""
        return self._num_new > _DUE_SHARE * num_keyframes

    def heard(self, rows: Mapping[KeyframeId, int], nodes: Poses) -> Edges:
        """What is to be heard of those between nodes (world_from_camera) that stand in these rows."""
        self._num_new = 0
        there = {pair: known for pair, known in self._known.items() if rows.keys() >= set(pair)}
        known = [(rows[a], rows[b], k) for (a, b), k in there.items()]
        edges = Edges(
            np.array([a for a, _, _ in known], np.int64),
            np.array([b for _, b, _ in known], np.int64),
            Poses.of([k.b_from_a for *_, k in known]),
            np.array([k.information for *_, k in known]).reshape(-1, 7, 7),
            np.array([_DOUBT_BELIEVED if k.is_believed else _DOUBT for *_, k in known]),
        )
        believed = np.array([k.is_believed for *_, k in known], np.bool_)
        chosen = believed | _fits(edges.errors(nodes), np.array([k.depth_b for *_, k in known]))
        heard = dict(compress(there.items(), chosen))
        return replace(edges.only(chosen), b_from_a=_through_true_lenses(heard))

    def forget(self, stream: StreamId) -> None:
        """Drop all that concerns a phone."""
        gone = [key for key in self._known if stream in map(stream_of, key)]
        for key in gone:
            del self._known[key]


def fits(pair: Pair, world_from_a: Sim3, world_from_b: Sim3) -> bool:
    """Whether a pair shows its cameras about where they are thought to be."""
    one = np.zeros(1, np.int64)
    edge = Edges(one, one + 1, Poses.of([pair.b_from_a]), pair.information[None], np.full(1, _DOUBT))
    return bool(_fits(edge.errors(Poses.of([world_from_a, world_from_b])), np.array([pair.median_depth_b]))[0])


def _says_otherwise(found: Seen, before: _Known) -> bool:
    """Whether a pair that is seen again has moved by more than it was sure of."""
    moved = Poses.of([before.b_from_a, Sim3.identity()])
    one = np.zeros(1, np.int64)
    edge = Edges(one, one + 1, Poses.of([found.pair.b_from_a]), before.information[None], np.full(1, _DOUBT))
    error = edge.errors(moved)[0]
    return bool(error @ before.information @ error > _NEWS)


def _through_true_lenses(known: Mapping[tuple[KeyframeId, KeyframeId], _Known]) -> Poses:
    """`b_from_a` of pairs, corrected for what all of them say of the phones' focal lengths."""
    of_a, of_b = ([stream_of(pair[side]) for pair in known] for side in (0, 1))
    numbers = {phone: number for number, phone in enumerate(dict.fromkeys(of_a + of_b))}
    ends = [(numbers[a], numbers[b]) for a, b in zip(of_a, of_b, strict=True)]
    said = {
        row: (a, b, k.lenses)
        for row, ((a, b), k) in enumerate(zip(ends, known.values(), strict=True))
        if k.lenses is not None and a != b  # within one walk both ends are off alike, and so is the tracker's map
    }
    errors = lens_errors(list(said.values()), len(numbers))
    moves = np.zeros((len(known), 7))
    for row, (a, b, lenses) in said.items():
        moves[row] = lenses.moves @ errors[[a, b]]
    stay = Poses.of([Sim3.identity()] * len(known))
    return stay.moved(moves) @ Poses.of([k.b_from_a for k in known.values()])


def _fits(errors: F64, depth: F64) -> NDArray[np.bool_]:
    """Whether what camera b looks at, at that depth (m,), is about where camera a has it, by errors (m, 7) of edges."""
    turn, shift, growth = errors[:, :3], errors[:, 3:6], errors[:, 6]
    looked_at = np.column_stack([np.zeros((len(depth), 2)), depth])
    off = shift + np.cross(turn, looked_at) + growth[:, None] * looked_at
    near = np.linalg.norm(off, axis=1) < _NEAR_SHARE * depth
    return np.asarray(near & (np.linalg.norm(turn, axis=1) < _NEAR_RAD) & (np.abs(growth) < _NEAR_SHARE))


def _information(found: Seen) -> F64:
    """(7, 7) of a pair, with what its landmarks may be off by all together."""
    noise = np.linalg.inv(found.pair.information + 1e-9 * np.eye(7)) * _NOISE_PX**2
    young = np.repeat([_YOUNG_RAD, _YOUNG_SHARE * found.pair.median_depth_b, _YOUNG_SHARE], [3, 3, 1])
    return np.asarray(np.linalg.inv(noise + np.diag(young**2)))
