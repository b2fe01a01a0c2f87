"""What recognised places do to the world: components come to lie in it, walks that return are closed.

Pairs come in one by one; `places.ties` says which are believed, `places.links` which are heard when the map bends.
"""

from __future__ import annotations

from collections.abc import Iterable

from mapping.changes import KeyframeId, seq_of, stream_of
from mapping.kept import ComponentKey, KeptKeyframes
from mapping.places.agreement import Config, Seen
from mapping.places.links import Links, fits
from mapping.places.place import Place
from mapping.places.storing import BEFORE
from mapping.places.ties import Ties
from mapping.transforms import F64, Sim3, invert
from mapping.world import World
from streams.frame import StreamId


class Connections:
    """Between the components of one world, and within them. One caller at a time."""

    def __init__(self, config: Config, world: World, kept: KeptKeyframes) -> None:
        self._world, self._kept = world, kept
        self._ties, self._links = Ties(config), Links()
        self._poses_before: dict[KeyframeId, F64] = {}
        """(4, 4) of places of before a restart, in the frame and unit that the world had then: that of `BEFORE`."""
        self._is_urgent = False
        """Something is believed that the map does not show yet."""

    def remember(self, places: Iterable[Place]) -> None:
        """Let phones be recognised in places of before a restart (`BEFORE`), which lie in the restored world."""
        self._poses_before = {place.keyframe: place.component_from_camera for place in places}
        if self._poses_before:
            self._world.enter(BEFORE, is_posed=False).world_from_component = Sim3.identity()

    def hear(self, seen: Iterable[Seen]) -> None:
        """Take in verified pairs; nothing moves yet."""
        seen = list(seen)
        self._links.add(seen)
        self._tell_marker_joins(seen)
        news = (found for found in seen if not self._is_explained(found))
        believed = self._ties.add(news, self._pose, self._walked, self._kept.get)
        self._links.believe(believed)
        self._is_urgent |= bool(believed)

    def is_due(self, num_keyframes: int) -> bool:
        """Whether enough was heard to move things."""
        return self._is_urgent or self._links.is_due(num_keyframes)

    def hang(self) -> None:
        """Place components that do not lie in the world, if they are tied to one that does."""
        self._world.hang(self._ties)

    def move(self) -> None:
        """Do that, and let all that lies in the world give way to what was heard."""
        self._is_urgent = False
        self.hang()
        earlier = self._world.components.get(BEFORE)
        world = earlier.world_from_component if earlier is not None else None
        before = {} if world is None else {k: world @ Sim3.from_rigid(p) for k, p in self._poses_before.items()}
        self._world.bend(self._links, before)

    def forget(self, stream: StreamId) -> None:
        """Drop all that concerns a phone."""
        self._ties.forget(stream)
        self._links.forget(stream)
        before = self._poses_before.items()
        self._poses_before = {key: pose for key, pose in before if stream_of(key) != stream}

    def _is_explained(self, seen: Seen) -> bool:
        """Whether one component came back to where the map has it anyway."""
        component = self._world.components.get(seen.a_component)
        if component is None or seen.a_component != seen.b_component:
            return False
        cameras = component.camera(seq_of(seen.a)), component.camera(seq_of(seen.b))
        return cameras[0] is not None and cameras[1] is not None and fits(seen.pair, cameras[0], cameras[1])

    def _tell_marker_joins(self, seen: Iterable[Seen]) -> None:
        """One pair alone is not believed, but may bear out what a marker says."""
        for found in (s for s in seen if s.a_component != s.b_component):
            a, b = self._pose(found.a, found.a_component), self._pose(found.b, found.b_component)
            if a is not None and b is not None:
                b_from_a = Sim3.from_rigid(b) @ found.pair.b_from_a @ Sim3.from_rigid(invert(a))
                self._world.marker_joins.hear(found.a_component, found.b_component, b_from_a)

    def _pose(self, keyframe: KeyframeId, key: ComponentKey) -> F64 | None:
        """component_from_camera (4, 4)."""
        if key == BEFORE:
            return self._poses_before.get(keyframe)
        component = self._world.components.get(key)
        return component.pose(seq_of(keyframe)) if component is not None else None

    def _walked(self, a: KeyframeId, b: KeyframeId, key: ComponentKey) -> float:
        return self._world.components[key].walked(seq_of(a), seq_of(b))
