"""Phones that join the world by a printed marker: never on its word alone, for whoever prints one can print two.

A marker says at once where a phone is. That is believed when something else says so, too: what hangs around the two
prints looks the same in the pictures of those who saw them; one picture, at least, was recognised; or another marker
agrees. Where pictures contradict, there are two prints, and the phones' maps stay apart.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product

import cv2
import numpy as np

from mapping.changes import KeyframeId
from mapping.component import Component
from mapping.kept import ComponentKey, Kept, KeptKeyframes
from mapping.metric.markers import Sighting, corners_m
from mapping.places import contradiction
from mapping.sampling import evenly
from mapping.transforms import Sim3, angle_between, project

_log = logging.getLogger(__name__)

_KEYFRAMES = 3
"""Of either side are looked at."""
_SHEET = 1.8
"""The paper around a marker, in its edges: what is printed on it is the same on every print."""
_MAX_TURN_RAD, _MAX_SHIFT, _MAX_GROWTH = float(np.radians(12.0)), 0.3, 1.25
"""Two places are about the same: turn, shift in typical distances of what is seen, growth."""
_MAX_HEARD = 16


@dataclass(frozen=True, slots=True, eq=False)
class _Guess:
    """Where a marker puts a component."""

    marker: int
    world_from_component: Sim3
    sigma: float
    """Relative error of the scale."""


@dataclass(frozen=True, slots=True)
class _Joined:
    """How a component's place is known that a marker gave it."""

    sigma: float
    num_sightings: int
    """It had, when somebody looked last."""


@dataclass(slots=True)
class _Looks:
    """What the surroundings of a print were compared by. Counts news, for pictures go and are not told apart."""

    newest: tuple[KeyframeId, ...] = ()
    """Of each side."""
    num_news: int = 0
    compare_at: int = 1
    is_apart: bool = False
    """It turned out to be another print than the one in the world."""

    def is_due(self, newest: tuple[KeyframeId, ...]) -> bool:
        """Whether there is another picture; of another print, twice as many as last time."""
        self.num_news += newest != self.newest
        self.newest = newest
        if self.num_news < self.compare_at:
            return False
        self.compare_at = self.num_news * 2 if self.is_apart else self.num_news + 1
        return True


class MarkerJoins:
    """Who lies in the world by a marker, and who may. One caller at a time."""

    def __init__(self, kept: KeptKeyframes) -> None:
        self._kept = kept
        self._joined: dict[ComponentKey, _Joined] = {}
        self._heard: dict[ComponentKey, deque[tuple[ComponentKey, Sim3]]] = {}
        """For each component, other_from_component by single recognised pairs, which nobody believes by themselves."""
        self._looks: dict[tuple[ComponentKey, int], _Looks] = {}
        """For each print that a component without a place has seen."""

    def hear(self, a: ComponentKey, b: ComponentKey, b_from_a: Sim3) -> None:
        """Somebody recognised something: this is where a lies in b if he is right."""
        self._heard.setdefault(a, deque(maxlen=_MAX_HEARD)).append((b, b_from_a))
        self._heard.setdefault(b, deque(maxlen=_MAX_HEARD)).append((a, b_from_a.inverse()))

    def place(self, component: Component, hung: Mapping[int, Sim3], world: Collection[Component]) -> Sim3 | None:
        """Where a component lies by a marker that is borne out; None while there is none.

        Args:
            hung: world_from_marker of those whose place is known.
            world: the components that lie in the world.
        """
        guesses = sorted(_guesses(component, hung), key=lambda guess: guess.sigma)
        for guess in guesses:
            if self._is_borne_out(guess, guesses, component, world):
                self._joined[component.key] = _Joined(guess.sigma, component.num_sightings)
                return guess.world_from_component
        return None

    def refined(self, component: Component, hung: Mapping[int, Sim3]) -> Sim3 | None:
        """A better place for one that joined by a marker, when it has seen markers twice as often; None = none.

        A second visit after a long walk often knows less: what the tracker drifted in between is in it. And what puts
        it elsewhere is another print.
        """
        joined, before, num = self._joined.get(component.key), component.world_from_component, component.num_sightings
        if joined is None or before is None or num < 2 * joined.num_sightings:
            return None
        near = [g for g in _guesses(component, hung) if _is_near(g.world_from_component, before, component)]
        best = min(near, key=lambda guess: guess.sigma, default=None)
        if best is None or best.sigma >= joined.sigma:
            self._joined[component.key] = replace(joined, num_sightings=num)
            return None
        self._joined[component.key] = _Joined(best.sigma, num)
        return best.world_from_component

    def let_go(self, component: ComponentKey) -> None:
        """A component lies where something better than a marker put it."""
        self._joined.pop(component, None)

    def start_anew(self) -> None:
        """Nothing lies in the world any more: it begins again, with other prints."""
        self._joined.clear()
        self._looks.clear()

    def forget(self, components: Collection[ComponentKey]) -> None:
        """Drop all that is known about some components."""
        for component in components:
            self._joined.pop(component, None)
            self._heard.pop(component, None)
        for known in self._heard.values():
            kept = [(other, place) for other, place in known if other not in components]
            known.clear()
            known.extend(kept)
        self._looks = {print_: looks for print_, looks in self._looks.items() if print_[0] not in components}

    def _is_borne_out(
        self, guess: _Guess, guesses: list[_Guess], component: Component, world: Collection[Component]
    ) -> bool:
        place = guess.world_from_component
        others = (g.world_from_component for g in guesses if g.marker != guess.marker)
        if any(_is_near(place, other, component) for other in (*others, *self._recognised(component, world))):
            return True
        return self._is_one_print(guess, component, world)

    def _is_one_print(self, guess: _Guess, component: Component, world: Collection[Component]) -> bool:
        """Whether what is around the print looks alike in the pictures of both sides."""
        mine = self._pictures(component, guess.marker)
        witnesses = [(other, seen) for other in world if (seen := self._pictures(other, guess.marker))]
        if not witnesses:  # the only way back into a stored map; whoever else is in it has to bear witness
            return not world
        looks = self._looks.setdefault((component.key, guess.marker), _Looks())
        if not mine or not looks.is_due(tuple(seen[-1][0].id for seen in (mine, *(seen for _, seen in witnesses)))):
            return False
        differs = contradiction.Difference()
        for other, theirs in witnesses:
            assert other.world_from_component is not None
            b_from_a = other.world_from_component.inverse() @ guess.world_from_component
            some = (seen[evenly(len(seen), _KEYFRAMES)] for seen in (mine, theirs))
            pairs = [(_bare(*a), _bare(*b)) for a, b in product(*some)]
            differs += contradiction.difference(b_from_a, pairs)
        if differs.is_contradiction() and not looks.is_apart:
            looks.is_apart = True
            _log.warning("marker %d hangs twice: %s stays apart; print each id once", guess.marker, component.key[0])
        return differs.is_agreement()

    def _recognised(self, component: Component, world: Collection[Component]) -> Iterator[Sim3]:
        places = {other.key: place for other in world if (place := other.world_from_component) is not None}
        for other, other_from_component in self._heard.get(component.key, ()):
            if other in places:
                yield places[other] @ other_from_component

    def _pictures(self, component: Component, marker: int) -> list[tuple[Kept, Sighting]]:
        """Keyframes with depth in which a component saw a marker."""
        kept = {k.seq: k for k in self._kept.of(component.key)}
        return [(kept[seq], sighting) for seq, sighting in component.sightings(marker) if seq in kept]


def _guesses(component: Component, hung: Mapping[int, Sim3]) -> Iterator[_Guess]:
    for marker, world_from_marker in hung.items():
        if (placed := component.placed_by(marker)) is not None:
            yield _Guess(marker, world_from_marker @ placed.marker_from_component, placed.sigma)


def _is_near(a: Sim3, b: Sim3, component: Component) -> bool:
    """Whether two places of one component are about the same, where it has walked."""
    eye, reach = component.first_pose[:3, 3], _MAX_SHIFT * component.typical_distance
    growth = a.scale / b.scale
    shift = float(np.linalg.norm(a.apply(eye) - b.apply(eye)))
    is_alike = angle_between(a.rotation, b.rotation) < _MAX_TURN_RAD and 1 / _MAX_GROWTH < growth < _MAX_GROWTH
    return is_alike and shift < reach * b.scale


def _bare(kept: Kept, seen: Sighting) -> Kept:
    """The keyframe without the print: its depth is unknown where the sheet hangs."""
    corners = corners_m(_SHEET * seen.size_m) @ seen.camera_from_marker[:3, :3].T + seen.camera_from_marker[:3, 3]
    if corners[:, 2].min() <= 1e-3:
        return replace(kept, depth=np.zeros_like(kept.depth))
    sheet = np.zeros(kept.depth.shape, np.uint8)
    cv2.fillConvexPoly(sheet, np.rint(project(corners, kept.intrinsics) - 0.5).astype(np.int32), 1)
    return replace(kept, depth=np.where(sheet > 0, np.float16(0), kept.depth))
