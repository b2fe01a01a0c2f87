"""What is known about how components lie to each other: pairs are collected here until enough of them agree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mapping.kept import ComponentKey
from mapping.places.agreement import Agreed, Config, PoseOf, Seen, agree
from mapping.places.graph import Edge
from mapping.transforms import F64, Sim3
from streams.frame import StreamId

_GROWN = 1.5


@dataclass(frozen=True, slots=True, eq=False)
class Tie:
    """Two components lie to each other like this."""

    a: ComponentKey
    b: ComponentKey
    b_from_a: Sim3
    points_a: F64  # (n, 3) some of the points of a that it rests on
    num_inliers: int

    @property
    def edge(self) -> Edge:
        """The tie as the graph takes it."""
        return Edge(self.a, self.b, self.points_a, self.b_from_a.apply(self.points_a), float(self.num_inliers))


class Ties:
    """Bounded: `kept_pairs` for each two components. One caller at a time."""

    def __init__(self, config: Config = Config()) -> None:  # noqa: B008
        self._config = config
        self._seen: dict[tuple[ComponentKey, ComponentKey], list[Seen]] = {}
        self._tie: dict[tuple[ComponentKey, ComponentKey], Tie] = {}

    def add(self, seen: Iterable[Seen], pose_of: PoseOf) -> bool:
        """Take in verified pairs; returns whether components are tied anew, or noticeably better than before."""
        touched = {}
        for found in (s if s.a_component < s.b_component else s.swapped() for s in seen):
            key = (found.a_component, found.b_component)
            kept = self._seen.setdefault(key, [])
            kept[:] = [known for known in kept if (known.a, known.b) != (found.a, found.b)]  # seen again: known better
            kept.append(found)
            del kept[: -self._config.kept_pairs]
            touched[key] = kept
        changed = False
        for key, kept in touched.items():
            if not self._may_be_news(key, kept):
                continue
            agreed = agree(kept, pose_of, self._config)
            if agreed is not None and self._is_news(key, agreed):
                self._tie[key] = Tie(*key, agreed.b_from_a, agreed.points_a, agreed.num_inliers)
                changed = True
        return changed

    def __iter__(self) -> Iterator[Tie]:
        return iter(self._tie.values())

    def forget(self, stream: StreamId) -> None:
        """Drop all that concerns a phone."""
        for table in (self._seen, self._tie):
            for key in [key for key in table if stream in (key[0][0], key[1][0])]:
                del table[key]

    def _may_be_news(self, key: tuple[ComponentKey, ComponentKey], kept: list[Seen]) -> bool:
        known = self._tie.get(key)
        return known is None or sum(s.pair.num_inliers for s in kept) >= _GROWN * known.num_inliers

    def _is_news(self, key: tuple[ComponentKey, ComponentKey], agreed: Agreed) -> bool:
        known = self._tie.get(key)
        return known is None or agreed.num_inliers >= _GROWN * known.num_inliers
