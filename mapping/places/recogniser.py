"""Keyframes in, pairs of keyframes that show one place out: described, looked up, verified, remembered.

Whoever calls it does so off the path of poses and of the map: a keyframe costs some 20 ms of one core where one phone
walks alone, some 40 ms among others. It never decides anything: what pairs mean is for `ties`. Keyframes of the same
walk are compared, too, but those that the tracker has only just left: that closes loops.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from mapping.changes import KeyframeId, stream_of
from mapping.kept import ComponentKey
from mapping.places.agreement import Seen
from mapping.places.embedding import DIMENSIONS, embed
from mapping.places.features import detect, with_depth_of
from mapping.places.index import Entry, LocalIndex, PlaceIndex
from mapping.places.links import fits
from mapping.places.locating import Located, PlaceInWorld, Unlocated, locate
from mapping.places.place import MIN_FEATURES, Place, place_of
from mapping.places.verification import Config as VerificationConfig
from mapping.places.verification import verify, verify_again
from mapping.placing import keyframe_id
from mapping.tracking.tracked import Tracked
from mapping.transforms import Sim3
from streams.frame import Frame, Intrinsics, StreamId

_MAX_SETTLING = 256
_LOOKED_UP = 4
"""Times the places a picture is matched with: those that do not lie in the world are passed over."""


class Config(BaseModel):
    """How hard to look."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    candidates: int = Field(default=4, ge=1)
    """Keyframes of other components that each new one is compared with."""
    candidates_known: int = Field(default=2, ge=0)
    """The same once its component has been recognised in `enough` pairs."""
    enough: int = Field(default=12, ge=1)
    candidates_own: int = Field(default=1, ge=0)
    """Earlier keyframes of its own walk that each new one is compared with."""
    walked_on: int = Field(default=12, ge=1)
    """Keyframes in between from which on an earlier one of the same walk is worth looking for."""
    min_likeness_own: float = Field(default=0.7, ge=0, le=1)
    """Few walks come back to where they were: what looks less alike is not compared."""
    looked_at_again: int = Field(default=4, ge=0)
    """Earlier pairs of a component, of which a side's landmarks still move, with each of its keyframes."""
    refreshed: int = Field(default=8, ge=0)
    """Earlier keyframes of the same component whose features take over the depth of new landmarks."""
    located_by: int = Field(default=6, ge=1)
    """Places that a single picture is matched with."""
    max_places: int = Field(default=1500, ge=2)
    """Keyframes remembered; when full, the one most like another of its component goes."""
    verification: VerificationConfig = VerificationConfig()


class Recogniser:
    """Remembers the places of one scene."""

    def __init__(self, config: Config = Config(), index: PlaceIndex | None = None) -> None:  # noqa: B008
        self._config = config
        self._index: PlaceIndex = index if index is not None else LocalIndex(config.max_places)
        self._places: dict[KeyframeId, Place] = {}
        self._walks: dict[ComponentKey, list[KeyframeId]] = {}
        """Each component's places, in the order of their coming."""
        self._likeness: dict[KeyframeId, float] = {}
        """How much each place looks like the one before it."""
        self._num_pairs: Counter[frozenset[ComponentKey]] = Counter()
        """Between two components, or within one."""
        self._unsettled: dict[KeyframeId, None] = {}
        self._looks = np.zeros(DIMENSIONS, np.float32)
        """Sum of all embeddings: what every place looks like says nothing about any (mean-centring)."""
        self._settling: dict[tuple[KeyframeId, KeyframeId], Sim3] = {}
        """b_from_a of pairs of which a side's landmarks still move; who was not looked at for longest comes first."""

    def __len__(self) -> int:
        return len(self._places)

    @property
    def nbytes(self) -> int:
        """Memory of what is remembered."""
        return sum(place.nbytes for place in self._places.values())

    def see(self, tracked: Tracked, frame: Frame) -> list[Seen]:
        """Take a keyframe in; returns the earlier ones in which it was recognised, not those just before it."""
        self._correct(tracked)
        place = place_of(tracked, frame)
        if place is None:
            return []
        self._remember(place)
        self._unsettled[place.keyframe] = None
        again, seen = self._look_again(place), dict[tuple[KeyframeId, KeyframeId], Seen | None]()
        own = [] if frame.pose is not None else self._own_candidates(place)
        for other in self._candidates(place) + own:
            if self._compare(place, other, seen):
                self._look_around(place, other, seen)
        found = [pair for pair in seen.values() if pair is not None]
        self._num_pairs.update(frozenset((pair.a_component, pair.b_component)) for pair in found)
        self._let_settle(again + found)
        return again + found

    def locate(
        self, gray: NDArray[np.uint8], intrinsics: Intrinsics, in_world: PlaceInWorld, *, is_focal_guess: bool = False
    ) -> Located | Unlocated:
        """Pose a single picture (h, w) in the whole map, or say why not; nothing of it is kept."""
        features = detect(gray, intrinsics)
        if len(features.descriptors) < MIN_FEATURES:
            return "too_plain"
        alike = self._index.nearest(embed(features.descriptors), _LOOKED_UP * self._config.located_by)
        places = (self._places.get(match.keyframe) for match in alike)
        known = [place for place in places if place is not None and in_world(place) is not None]
        if not known:
            return "nothing_mapped"
        known = known[: self._config.located_by]
        found = locate(features, known, in_world, self._config.verification, is_focal_guess=is_focal_guess)
        return "not_recognised" if found is None else found

    def places(self) -> Iterable[Place]:
        """All that is remembered, oldest first."""
        return self._places.values()

    def take_in(self, place: Place) -> None:
        """Remember a place of before (a restart)."""
        self._remember(place)

    def forget(self, stream: StreamId) -> None:
        """Drop all that a phone saw."""
        for keyframe in [keyframe for keyframe in self._places if stream_of(keyframe) == stream]:
            self._drop(keyframe)
        self._index.remove(stream)

    def settled(self) -> list[Place]:
        """Places that will not be known better any more, once each: to be stored."""
        recent = {keyframe for component in self._walks for keyframe in self._recent(component)}
        return self._hand_over(keyframe for keyframe in self._unsettled if keyframe not in recent)

    def rest(self) -> list[Place]:
        """All that `settled` would give some day, as it is now: for the end."""
        return self._hand_over(self._unsettled)

    def _hand_over(self, keyframes: Iterable[KeyframeId]) -> list[Place]:
        done = list(keyframes)
        for keyframe in done:
            del self._unsettled[keyframe]
        return [self._places[keyframe] for keyframe in done]

    def close(self) -> None:
        """Let go of the index."""
        self._index.close()

    def _correct(self, tracked: Tracked) -> None:
        """Poses that the tracker knows better by now, and the depth of its new landmarks for the newest places."""
        for seq, pose in tracked.corrected.items():
            known = self._places.get(keyframe_id(tracked.stream, seq))
            if known is not None and known.component[1] == tracked.component:
                known.component_from_camera = pose
        if tracked.landmarks_component is None:
            return
        for keyframe in self._recent((tracked.stream, tracked.component)):
            place = self._places[keyframe]
            place.features = with_depth_of(place.features, place.component_from_camera, tracked.landmarks_component)

    def _candidates(self, place: Place) -> list[Place]:
        c = self._config
        most = c.candidates if self._is_lonely(place.component) else c.candidates_known
        peculiar = np.asarray(place.embedding - self._looks / max(1, len(self._places)), np.float32)
        found = self._index.nearest(peculiar, most, without=place.component) if most else []
        return [known for match in found if (known := self._places.get(match.keyframe)) is not None]

    def _own_candidates(self, place: Place) -> list[Place]:
        c = self._config
        walk = self._walks[place.component][: -c.walked_on]
        if not walk or not c.candidates_own:
            return []
        alike = np.stack([self._places[keyframe].embedding for keyframe in walk]) @ place.embedding
        best = np.argsort(-alike, kind="stable")[: c.candidates_own].tolist()
        return [self._places[walk[k]] for k in best if alike[k] > c.min_likeness_own]

    def _is_lonely(self, component: ComponentKey) -> bool:
        """Whether a component still looks for company."""
        met = (num for pair, num in self._num_pairs.items() if component in pair and len(pair) == 2)
        return sum(met) < self._config.enough

    def _compare(self, a: Place, b: Place, seen: dict[tuple[KeyframeId, KeyframeId], Seen | None]) -> bool:
        """Verify a pair, once."""
        key = a.keyframe, b.keyframe
        if key not in seen:
            pair = verify(a.features, b.features, self._config.verification)
            seen[key] = None if pair is None else Seen(a.keyframe, a.component, b.keyframe, b.component, pair)
        return seen[key] is not None

    def _look_again(self, place: Place) -> list[Seen]:
        """Maps bend while they are young: pairs that a phone was recognised in change as its landmarks settle."""
        recent = set(self._recent(place.component))
        mine = list(islice((pair for pair in self._settling if recent & set(pair)), self._config.looked_at_again))
        found = []
        for pair in mine:
            before = self._settling.pop(pair)
            a, b = self._places[pair[0]], self._places[pair[1]]
            known = verify_again(a.features, b.features, before, self._config.verification)
            if known is not None:
                found.append(Seen(a.keyframe, a.component, b.keyframe, b.component, known))
        return found

    def _let_settle(self, found: Iterable[Seen]) -> None:
        for pair in found:
            recent = {*self._recent(pair.a_component), *self._recent(pair.b_component)}
            if pair.a_component != pair.b_component and recent & {pair.a, pair.b}:
                self._settling[pair.a, pair.b] = pair.pair.b_from_a
        for oldest in list(self._settling)[:-_MAX_SETTLING]:
            del self._settling[oldest]

    def _look_around(self, a: Place, b: Place, seen: dict[tuple[KeyframeId, KeyframeId], Seen | None]) -> None:
        """Where one pair was found, those beside it are soon found, too: nobody has to walk on to be believed."""
        if self._is_wanted(a, b, seen[a.keyframe, b.keyframe]):
            self._compare_beside(a, b, seen)

    def _is_wanted(self, a: Place, b: Place, pair: Seen | None) -> bool:
        """Whether a pair is to be believed that says something new."""
        if a.component != b.component:
            return self._is_lonely(a.component) or self._is_lonely(b.component)
        one, other = Sim3.from_rigid(a.component_from_camera), Sim3.from_rigid(b.component_from_camera)
        is_expected = pair is None or fits(pair.pair, one, other)
        return not is_expected and self._num_pairs[frozenset((a.component,))] < self._config.enough

    def _compare_beside(self, a: Place, b: Place, seen: dict[tuple[KeyframeId, KeyframeId], Seen | None]) -> None:
        for one, fixed, is_a in ((b, a, False), (a, b, True)):
            walk = self._walks[one.component]
            at = walk.index(one.keyframe)
            for beside in walk[max(0, at - 1) : at] + walk[at + 1 : at + 2]:
                pair = (self._places[beside], fixed) if is_a else (fixed, self._places[beside])
                self._compare(*pair, seen)

    def _recent(self, component: ComponentKey) -> list[KeyframeId]:
        walk = self._walks.get(component, [])
        return walk[max(0, len(walk) - self._config.refreshed) :]

    def _remember(self, place: Place) -> None:
        walk = self._walks.setdefault(place.component, [])
        before = self._places[walk[-1]].embedding if walk else np.zeros_like(place.embedding)
        self._likeness[place.keyframe] = float(before @ place.embedding)
        self._places[place.keyframe] = place
        self._looks += place.embedding
        walk.append(place.keyframe)
        stream, component = stream_of(place.keyframe), place.component[1]
        self._index.add(
            Entry(place.keyframe, stream, component, place.embedding, place.component_from_camera, place.intrinsics,
                  place.capture_ns)
        )  # fmt: skip
        if len(self._places) > self._config.max_places:
            recent = {keyframe for component in self._walks for keyframe in self._recent(component)}
            old = [keyframe for keyframe in self._places if keyframe not in recent] or list(self._places)[:1]
            dropped = max(old, key=self._likeness.__getitem__)
            self._drop(dropped)
            self._index.discard([dropped])

    def _drop(self, keyframe: KeyframeId) -> None:
        place = self._places.pop(keyframe)
        self._looks -= place.embedding
        del self._likeness[keyframe]
        self._settling = {pair: known for pair, known in self._settling.items() if keyframe not in pair}
        self._unsettled.pop(keyframe, None)
        walk = self._walks[place.component]
        walk.remove(keyframe)
        if not walk:
            del self._walks[place.component]
            for pair in [pair for pair in self._num_pairs if place.component in pair]:
                del self._num_pairs[pair]
