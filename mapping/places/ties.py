"""What is believed of recognised pairs: they are collected here until enough of them say the same.

Of two components that is a tie: where one lies in the other. Within one component it is a loop: its walk came back to
where it had been, and the tracker, which drifts, did not notice. A tracker that drifted says where it may be at most:
a place that looks the same but is out of reach is another one (two rooms with the same furniture).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

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


class Ties:
    """Bounded: `kept_pairs` for each two components. One caller at a time."""

    def __init__(self, config: Config = Config()) -> None:  # noqa: B008
        self._config = config
        self._seen: dict[tuple[ComponentKey, ComponentKey], list[Seen]] = {}
        self._tie: dict[tuple[ComponentKey, ComponentKey], Tie] = {}
        self._repeats: dict[tuple[ComponentKey, ComponentKey], Repetition] = {}

    def add(self, seen: Iterable[Seen], pose_of: PoseOf, walked: Walked, kept_of: KeptOf) -> list[Seen]:
        """Take in verified pairs; returns those, of now and before, that are believed because they agree."""
        touched = {}
        for found in (s if s.a_component <= s.b_component else s.swapped() for s in seen):
            key = (found.a_component, found.b_component)
            kept = self._seen.setdefault(key, [])
            kept[:] = [known for known in kept if (known.a, known.b) != (found.a, found.b)]  # seen again: known better
            kept.append(found)
            del kept[: -self._config.kept_pairs]
            touched[key] = kept
        believed: list[Seen] = []
        for key, kept in touched.items():
            if not self._may_be_news(key, kept):
                continue
            agreed = agree(kept, pose_of, self._config)
            if agreed is None:
                continue
            if key[0] == key[1]:
                believed += agreed.pairs if _is_drift(agreed, walked) else ()
            elif self._is_news(key, agreed) and self._may_be(key, agreed, kept_of):
                self._tie[key] = Tie(*key, agreed.b_from_a, agreed.num_inliers)
                believed += agreed.pairs
        return believed

    def __iter__(self) -> Iterator[Tie]:
        return iter(self._tie.values())

    def forget(self, stream: StreamId) -> None:
        """Drop all that concerns a phone."""
        for table in (self._seen, self._tie, self._repeats):
            for key in [key for key in table if stream in (key[0][0], key[1][0])]:
                del table[key]

    def _may_be_news(self, key: tuple[ComponentKey, ComponentKey], kept: list[Seen]) -> bool:
        known = self._tie.get(key)
        return known is None or sum(s.pair.num_inliers for s in kept) >= _GROWN * known.num_inliers

    def _may_be(self, key: tuple[ComponentKey, ComponentKey], agreed: Agreed, kept_of: KeptOf) -> bool:
        """Whether the sides agree about their lenses (asked once), share no mere pattern, and nothing contradicts."""
        shown = [(pair.pair, kept_of(pair.a), kept_of(pair.b)) for pair in agreed.pairs]
        if key not in self._tie and not lenses_agree([pair for pair, _, _ in shown]):
            return False
        repeats = repetition((pair, a) for pair, a, _ in shown if a is not None)
        self._repeats[key] = self._repeats.get(key, Repetition()) + repeats
        both = [(a, b) for _, a, b in shown if a is not None and b is not None]
        return not self._repeats[key].is_mere_pattern() and not contradicts(agreed.b_from_a, both)

    def _is_news(self, key: tuple[ComponentKey, ComponentKey], agreed: Agreed) -> bool:
        known = self._tie.get(key)
        return known is None or agreed.num_inliers >= _GROWN * known.num_inliers


def _is_drift(agreed: Agreed, walked: Walked) -> bool:
    """Whether a tracker may have gone astray by that much on its way from one end of a loop to the other."""
    off = agreed.b_from_a
    moved = float(np.median(np.linalg.norm(off.apply(agreed.points_a) - agreed.points_a, axis=1)))
    way = min(walked(pair.a, pair.b, pair.a_component) for pair in agreed.pairs)
    depth = float(np.median([pair.pair.median_depth_b for pair in agreed.pairs]))
    is_turned = angle_between(off.rotation, np.eye(3)) > _MAX_TURN_RAD
    return moved < _MAX_DRIFT * (way + depth) and not is_turned and 1 / _MAX_GROWTH < off.scale < _MAX_GROWTH
