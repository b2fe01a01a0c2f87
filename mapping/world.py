"""One world and the tracker components in it: who founds it, who joins it how, and when it is moved.

The first component founds the world, upright and scaled as well as is known by then. Another one joins when it shares
a named world, has seen a marker that hangs in it, or starts where the first one started; place recognition and people
come in through `World.put`. When the founder learns better where up is or how long a unit is, the world moves, and
everything in it moves along.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Literal

import numpy as np

from mapping.bending import bend
from mapping.changes import KeyframeId
from mapping.component import Component, StreamOptions
from mapping.kept import ComponentKey, Kept, KeptKeyframes
from mapping.marker_joins import MarkerJoins
from mapping.metric import anchor, clicks, scale
from mapping.metric.anchor import Anchor
from mapping.metric.markers import Config as MarkerConfig
from mapping.placement import Placement
from mapping.places.links import Links
from mapping.places.ties import Tie
from mapping.settled import Settled, told_by
from mapping.transforms import F64, Sim3, invert
from mapping.world_state import WorldState
from streams.frame import StreamId

_HAS_SCALE = (
    "this map has its scale ({source}), and nobody carries it any more who could learn it better: it was restored, or "
    "the phones that made it were deleted"
)
_MIN_FOUNDING = 4
"""A component with fewer keyframes than this may lose the world once its phone has begun another."""


class World:
    """The common frame."""

    def __init__(self, kept: KeptKeyframes) -> None:
        self.state = WorldState()
        self.components: dict[ComponentKey, Component] = {}
        self.marker_joins = MarkerJoins(kept)
        self._kept = kept
        self._options: dict[StreamId, StreamOptions] = {}
        self._founder: Component | None = None
        self._anchor: Anchor | None = None
        self._hung: set[ComponentKey] = set()
        """Components that lie where ties to others put them."""
        self._news: Literal["merge", "loop"] | None = None
        """What is to be told of by a new epoch."""
        self._settled: Settled | None = None
        """None = somebody carries it, or will."""
        self._looked_at_cues = -1

    def join(self, stream: StreamId, options: StreamOptions) -> None:
        """Take in what is known about a phone beforehand."""
        self._options[stream] = options

    def enter(self, key: ComponentKey, *, is_posed: bool) -> Component:
        """The component of that key, made now if it is new."""
        if key not in self.components:
            self.components[key] = Component(key, self._options.get(key[0], StreamOptions()), is_posed=is_posed)
        return self.components[key]

    def around(self, kept: Kept) -> Sim3 | None:
        """Where a keyframe's component lies in the world around it; None while it does not."""
        known = self.components.get(kept.component)
        return known.world_around(kept.seq) if known is not None else None

    def settle(self, state: WorldState) -> None:
        """Take over a stored world: nobody founds another, nothing moves it."""
        self.state, self._settled = state, Settled()

    def forget(self, stream: StreamId) -> None:
        """Drop all that is known about a phone; if it founded the world, another in it carries that on, else it stays
        as it stands."""
        self.marker_joins.forget([key for key in self.components if key[0] == stream])
        self.components = {key: c for key, c in self.components.items() if key[0] != stream}
        self._hung &= self.components.keys()
        self._options.pop(stream, None)
        if not any(component.world_name == stream for component in self.components.values()):  # it names the phone
            named = {name: place for name, place in self.state.named_worlds.items() if name != stream}
            self.state = replace(self.state, named_worlds=named)
        if self._founder is not None and self._founder.key[0] == stream:
            self._founder = self._heir()
            if self._founder is None:
                self._settled = Settled()
                self._hung.clear()  # what hung on it stands by itself from now on
            else:
                self._inherit(self._founder)

    def try_to_align(self, component: Component) -> None:
        """Let a component found the world or join it, if it can by now."""
        name = component.world_name
        if self._founder is None and self._settled is None:
            self._found(component)
        elif component.is_posed and name in self.state.named_worlds:
            component.world_from_component = self.state.named_worlds[name]
        elif (by_marker := self.marker_joins.place(component, self.state.markers, self._in_world())) is not None:
            component.world_from_component = by_marker
        elif component.options.start == "shared" and self.state.world_from_start is not None:
            component.world_from_component = self._by_start(component, self.state.world_from_start)
        self.learn_from(component)

    def refine(self, component: Component) -> bool:
        """Place a component that joined by a marker anew where it knows better by now; returns whether it moved."""
        if (found := self.marker_joins.refined(component, self.state.markers)) is None:
            return False
        component.world_from_component = found
        return True

    def put(self, component: Component, world_from_component: Sim3) -> None:
        """Let somebody else (place recognition, a person) say where a component lies.

        Raises:
            ValueError: the world stands on this very component.
        """
        if component is self._founder:
            raise ValueError(f"component {component.key} carries the world itself; align the others to it")
        component.placement = Placement(world_from_component)
        self.marker_joins.let_go(component.key)
        self._hung.discard(component.key)
        self.learn_from(component)

    def hang(self, ties: Iterable[Tie]) -> list[Component]:
        """Place components that do not lie in the world by their strongest ties to those that do; returns them."""
        places = {key: p for key, component in self.components.items() if (p := component.world_from_component)}
        ordered = sorted((t for t in ties if {t.a, t.b} <= self.components.keys()), key=lambda t: -t.num_inliers)
        hung = []
        while (tie := next((t for t in ordered if (t.a in places) != (t.b in places)), None)) is not None:
            if tie.b in places:
                key, place = tie.a, places[tie.b] @ tie.b_from_a
            else:
                key, place = tie.b, places[tie.a] @ tie.b_from_a.inverse()
            places[key] = place
            self._hung.add(key)
            self.marker_joins.let_go(key)
            self.components[key].placement = Placement(place)
            hung.append(self.components[key])
        for component in hung:
            self.learn_from(component)
        if hung:
            self._news = "merge"
            self._look_again()  # they may know scale
        return hung

    def bend(self, links: Links, before: Mapping[KeyframeId, Sim3]) -> None:
        """Let all keyframes in the world give way to what was recognised.

        Args:
            before: world_from_camera of places of before a restart, which stay, in the unit of their depths.
        """
        hung = [component for key, component in self.components.items() if key in self._hung]
        standing = [component for key, component in self.components.items() if key not in self._hung]
        for component, placement in bend(standing, hung, before, links):
            component.placement = placement

    def tell_of_loop(self) -> None:
        """What lies in the world has moved noticeably, as a whole or in part: that is a new state of things."""
        self._news = self._news or "loop"

    def learn_from(self, component: Component) -> None:
        """Once a component lies in the world, so do its named world and the markers it has seen.

        The first component to place a marker decides where it hangs; the founder may do better later.
        """
        place = component.world_from_component
        if place is None:
            return
        if component.is_posed and component.world_name not in self.state.named_worlds:
            named = {**self.state.named_worlds, component.world_name: place}
            self.state = replace(self.state, named_worlds=named)
        for marker in component.marker_ids():
            if marker in self.state.markers and component is not self._founder:
                continue
            placed = component.placed_by(marker)
            if placed is not None:
                hung = {**self.state.markers, marker: place @ placed.marker_from_component.inverse()}
                self.state = replace(self.state, markers=hung)

    def declare_distance(self, a_world: F64, b_world: F64, distance_m: float, point_sigma_m: float) -> None:
        """Take a measured distance for a scale cue; the ends are as uncertain as the depth they lie on.

        Raises:
            ValueError: the distance is not positive, the points coincide, there is no map, it brings its own scale, or
                it has one and nobody carries it.
        """
        founder = self._founder
        if self._settled is not None and self.state.scale_source != "none":
            raise ValueError(_HAS_SCALE.format(source=self.state.scale_source))
        if self._settled is None and (founder is None or founder.world_from_component is None):
            raise ValueError("there is no map yet to measure in; film first")
        if founder is not None and founder.is_posed:
            raise ValueError("this map is in metres already, by the poses that its first phone brought along")
        views = [(kept, world) for kept in self._kept if (world := self.around(kept)) is not None]
        length_sigma_m = float(np.hypot(clicks.length_sigma_m(a_world, b_world, views), np.sqrt(2.0) * point_sigma_m))
        length_m, unit_m = float(np.linalg.norm(b_world - a_world)), 1.0
        if founder is not None and founder.world_from_component is not None:
            unit_m = founder.world_from_component.scale
        cue = scale.from_distance(length_m / unit_m, length_sigma_m / unit_m, distance_m)
        holder = founder if founder is not None else self._settled
        assert holder is not None
        holder.distances.append(cue)
        self._look_again()

    def declare_markers(self, declared: MarkerConfig, was_size_m: float) -> None:
        """Take all markers to be of this kind, those seen before, too; where they hang stays."""
        ratio = declared.size_m / was_size_m
        hung = {marker: replace(place, scale=place.scale / ratio) for marker, place in self.state.markers.items()}
        self.state = replace(self.state, declared=declared, markers=hung)
        for component in self.components.values():
            component.resize_markers(declared.size_m)
        now = self._anchor
        if now is not None and now.scale.source == "marker" and ratio != 1:  # the claim rested on another size
            self._anchor = replace(now, scale=replace(now.scale, sigma=float("inf")))
        self._look_again()

    def declare_camera_height(self, stream: StreamId, height_m: float) -> None:
        """A phone is carried that high above the floor: a scale cue for what it sees, before and after."""
        known = self._options.get(stream, StreamOptions())
        self._options[stream] = known.model_copy(update={"camera_height_m": height_m})
        for key, component in self.components.items():
            if key[0] == stream:
                component.options = self._options[stream]
        self._look_again()

    def reconsider(self) -> tuple[Sim3, str] | None:
        """Move the world if that is worth it: `new_from_old` and why. The volume has to follow."""
        return (
            self._give_up_false_start()
            or self._move_to_better_anchor()
            or self._learn_scale_when_settled()
            or self._tell_news()
        )

    def _tell_news(self) -> tuple[Sim3, str] | None:
        """Components joined the world, or it bent: it stays where it is, but what lies in it is another state."""
        if self._news is None:
            return None
        reason, self._news = self._news, None
        self.state = self.state.moved(Sim3.identity())
        return Sim3.identity(), reason

    def _found(self, founder: Component) -> None:
        gravity = founder.gravity(self._kept.of(founder.key))
        size = founder.scale(self._kept.of(founder.key), gravity.up)
        made = anchor.given(gravity, size) if founder.is_posed else anchor.first(gravity, size, founder.first_pose)
        self._founder = founder
        self._stand_on(made)
        start = made.world_from_component.apply_pose(founder.first_pose)
        self.state = replace(self.state, world_from_start=start)

    def _stand_on(self, made: Anchor) -> None:
        assert self._founder is not None
        self._anchor = made
        self._founder.world_from_component = made.world_from_component
        self.state = replace(
            self.state,
            scale_source=made.scale.source, scale_sigma=made.scale.sigma,
            scale_contradicted_by=made.scale.contradicted_by,
            gravity_source=made.gravity.source, gravity_sigma_deg=made.gravity.sigma_deg,
        )  # fmt: skip

    def _heir(self) -> Component | None:
        """Who carries the world on: the phone without poses of its own that saw most of it and has its keyframes."""
        in_world = (component for component in self._in_world() if not component.is_posed)
        able = (component for component in in_world if component.num_observed >= _MIN_FOUNDING)
        return max(able, key=lambda component: component.num_observed, default=None)

    def _look_again(self) -> None:
        """At the cues: there may be news."""
        self._looked_at_cues = -1
        if self._settled is not None:
            self._settled.look_again()

    def _in_world(self) -> list[Component]:
        return [component for component in self.components.values() if component.world_from_component is not None]

    def _inherit(self, heir: Component) -> None:
        """Let a component that lies in the world be what it stands on: under the same claims, in its own frame."""
        assert self._anchor is not None
        assert heir.world_from_component is not None
        self._anchor = anchor.handed_on(self._anchor, heir.world_from_component)
        self._hung.discard(heir.key)
        self.marker_joins.let_go(heir.key)
        self._look_again()

    def _by_start(self, component: Component, world_from_start: F64) -> Sim3 | None:
        """A shared start gives position and direction; the unit must come from a cue, and the world be in metres."""
        kept = self._kept.of(component.key)
        size = component.scale(kept, component.gravity(kept).up)
        if size.source == "none" or self.state.scale_source == "none":
            return None
        metric = Sim3(size.metres_per_unit, np.eye(3), np.zeros(3))
        return Sim3.from_rigid(world_from_start) @ metric @ Sim3.from_rigid(invert(component.first_pose))

    def _give_up_false_start(self) -> tuple[Sim3, str] | None:
        """Give up a founder whose tracker failed at once: its phone's next component or another phone's takes over."""
        old = self._founder
        if old is None or old.num_observed >= _MIN_FOUNDING:
            return None
        phones_next = [c for c in self.components.values() if c.key[0] == old.key[0] and c is not old]
        able = [c for c in self.components.values() if c.num_observed >= _MIN_FOUNDING]
        if not phones_next or not able:
            return None
        heir = next((c for c in reversed(able) if c in phones_next), max(able, key=lambda c: c.num_observed))
        for kept in self._kept.of(old.key):
            self._kept.drop(kept.id)
        for component in self.components.values():
            component.world_from_component = None
        self._hung.clear()
        self.marker_joins.start_anew()
        self.state = WorldState(epoch=self.state.epoch + 1, declared=self.state.declared)
        self._look_again()
        self._found(heir)
        return Sim3.identity(), "restart"

    def _move_to_better_anchor(self) -> tuple[Sim3, str] | None:
        founder, now = self._founder, self._anchor
        if founder is None or now is None or founder.is_posed or founder.num_observed == self._looked_at_cues:
            return None
        if not anchor.is_time_to_look(founder.num_observed) and self._looked_at_cues >= 0:
            return None
        self._looked_at_cues = founder.num_observed
        kept: list[Kept] = self._kept.of(founder.key)
        gravity = founder.gravity(kept)
        assert founder.world_from_component is not None
        others = (component for key, component in self.components.items() if key in self._hung)
        size = founder.scale(kept, gravity.up, told_by(others, founder.world_from_component.inverse(), self._kept))
        moved = anchor.better(now, gravity, size)
        if moved is None:
            self._stand_on(anchor.reworded(now, gravity, size))
            return None
        made, new_from_old, reason = moved
        self._move(new_from_old)
        self._stand_on(made)
        return new_from_old, reason

    def _learn_scale_when_settled(self) -> tuple[Sim3, str] | None:
        """A settled world without scale takes the first cue there is: people's, or of phones that came back into it."""
        if self._settled is None or self.state.scale_source != "none":
            return None
        if (found := self._settled.scale(self._in_world(), self._kept)) is None:
            return None
        new_from_old = Sim3(found.metres_per_unit, np.eye(3), np.zeros(3))
        self._move(new_from_old)
        self.state = replace(
            self.state,
            scale_source=found.source, scale_sigma=found.sigma, scale_contradicted_by=found.contradicted_by,
        )  # fmt: skip
        return new_from_old, "scale"

    def _move(self, new_from_old: Sim3) -> None:
        """Into the next epoch, with all that lies in it."""
        for component in self.components.values():
            if component.world_from_component is not None:
                component.world_from_component = new_from_old @ component.world_from_component
        self.state = self.state.moved(new_from_old)
