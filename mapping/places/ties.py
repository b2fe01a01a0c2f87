"""What is believed of recognised pairs: they are collected here until enough of them say the same.

Of two components that is a tie: where one lies in the other. Within one component it is a loop: its walk came back to
where it had been, and the tracker, which drifts, did not notice. A tracker that drifted says where it may be at most:
a place that looks the same but is out of reach is another one (two rooms with the same furniture).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from mapping.changes import KeyframeId
from mapping.kept import ComponentKey, Kept
from mapping.places.agreement import Agreed, Config, PoseOf, Seen, agree
from mapping.places.contradiction import contradicts
from mapping.places.lens_check import lenses_agree
from mapping.places.repetition import Repetition, repetition
from mapping.transforms import Sim3, angle_between
from streams.frame import StreamId

_GROWN = 1.5
"""Times what was known before: news."""
_MAX_DRIFT = 0.05
"""Of what was walked: a loop that moves things by more is none."""
_MAX_TURN_RAD = float(np.radians(25.0))
_MAX_GROWTH = 1.4

Walked = Callable[[KeyframeId, KeyframeId, ComponentKey], float]
"""How long a component's walk was between two of its keyframes."""

KeptOf = Callable[[KeyframeId], Kept | None]
"""What a keyframe shows; None = it is not kept."""


@dataclass(frozen=True, slots=True, eq=False)
class Tie:
    """Two components lie to each other like this."""

    a: ComponentKey
    b: ComponentKey
    b_from_a: Sim3
    num_inliers: int


@dataclass(slots=True, eq=False)
class _Known:
    """What is known of two components, or of one and itself."""

    pairs: list[Seen] = field(default_factory=list)
    """The newest."""
    num_heard: int = 0
    """Inliers of all pairs that there ever were."""
    num_refused: int = 0
    """The same when a tie was looked at and refused."""
    repeats: Repetition = field(default_factory=Repetition)
    tie: Tie | None = None

    def hear(self, found: Seen, most: int) -> None:
        self.pairs = [known for known in self.pairs if (known.a, known.b) != (found.a, found.b)]  # known better now
        self.pairs = [*self.pairs, found][-most:]
        self.num_heard += found.pair.num_inliers

    def is_news(self, num_inliers: int) -> bool:
        """Whether so many that agree are worth looking at: a refused tie is not looked at with every keyframe."""
        is_more = self.tie is None or num_inliers >= _GROWN * self.tie.num_inliers
        return is_more and self.num_heard >= _GROWN * self.num_refused


class Ties:
    """Bounded: `kept_pairs` for each two components. One caller at a time."""

    def __init__(self, config: Config = Config()) -> None:  # noqa: B008
        self._config = config
        self._known: dict[tuple[ComponentKey, ComponentKey], _Known] = {}

    def add(self, seen: Iterable[Seen], pose_of: PoseOf, walked: Walked, kept_of: KeptOf) -> list[Seen]:
        """Take in verified pairs; returns those, of now and before, that are believed because they agree."""
        touched = {}
        for found in (s if s.a_component <= s.b_component else s.swapped() for s in seen):
            key = (found.a_component, found.b_component)
            touched[key] = known = self._known.setdefault(key, _Known())
            known.hear(found, self._config.kept_pairs)
        believed: list[Seen] = []
        for (a, b), known in touched.items():
            if not known.is_news(sum(s.pair.num_inliers for s in known.pairs)):
                continue
            agreed = agree(known.pairs, pose_of, self._config)
            if agreed is None:
                continue
            if a == b:
                believed += agreed.pairs if _is_drift(agreed, walked) else ()
            elif known.is_news(agreed.num_inliers) and _is_borne_out(known, agreed, kept_of):
                known.tie = Tie(a, b, agreed.b_from_a, agreed.num_inliers)
                believed += agreed.pairs
        return believed

    def __iter__(self) -> Iterator[Tie]:
        return (known.tie for known in self._known.values() if known.tie is not None)

    def forget(self, stream: StreamId) -> None:
        """Drop all that concerns a phone."""
        self._known = {key: known for key, known in self._known.items() if stream not in (key[0][0], key[1][0])}


def _is_borne_out(known: _Known, agreed: Agreed, kept_of: KeptOf) -> bool:
    """Whether it is no mere pattern, nothing contradicts, and the sides agree about their lenses (asked once).

    A side may keep nothing (it is of before a restart) or nothing yet: then the other's pictures tell of patterns.
    """
    shown = [(pair.pair, kept_of(pair.a), kept_of(pair.b)) for pair in agreed.pairs]
    one_side = ((pair, a) if a is not None else (pair.swapped(), b) for pair, a, b in shown)
    repeats = known.repeats + repetition((pair, kept) for pair, kept in one_side if kept is not None)
    if not repeats.looked_at:
        return False
    known.repeats = repeats
    both = [(a, b) for _, a, b in shown if a is not None and b is not None]
    is_right = (
        not repeats.is_mere_pattern()
        and not contradicts(agreed.b_from_a, both)
        and (known.tie is not None or lenses_agree([pair for pair, _, _ in shown]))
    )
    if not is_right:
        known.num_refused = known.num_heard
    return is_right


def _is_drift(agreed: Agreed, walked: Walked) -> bool:
    """Whether a tracker may have gone astray by that much on its way from one end of a loop to the other."""
    off = agreed.b_from_a
    moved = float(np.median(np.linalg.norm(off.apply(agreed.points_a) - agreed.points_a, axis=1)))
    way = min(walked(pair.a, pair.b, pair.a_component) for pair in agreed.pairs)
    depth = float(np.median([pair.pair.median_depth_b for pair in agreed.pairs]))
    is_turned = angle_between(off.rotation, np.eye(3)) > _MAX_TURN_RAD
    return moved < _MAX_DRIFT * (way + depth) and not is_turned and 1 / _MAX_GROWTH < off.scale < _MAX_GROWTH
