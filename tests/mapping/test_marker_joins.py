"""Who joins by a marker: never on its word alone."""

from __future__ import annotations

import numpy as np
import pytest

from mapping import component as components
from mapping.component import Component, StreamOptions
from mapping.kept import KeptKeyframes
from mapping.marker_joins import MarkerJoins
from mapping.metric.markers import Sighting
from mapping.places.place import Place, place_of
from mapping.places.ties import Tie
from mapping.scene_map import SceneMap
from mapping.transforms import F64, Sim3, exp_so3, invert, look_at, rigid
from streams.frame import StreamId
from tests.mapping.painted_room import PaintedRoom
from tests.mapping.places.filming import Phone as Filming
from tests.mapping.places.filming import walk
from tests.mapping.test_scene_map import Look, negative, plain, views_of_marker, visit_marker
from tests.mapping.walking import Phone, feed, off_room


def _pair(scene: SceneMap, a: Phone, b: Phone, off: Sim3) -> None:
    """One recognised pair says how b lies in a, give or take `off`."""
    a_from_b = off @ a.component_from_room @ b.component_from_room.inverse()
    scene._world.marker_joins.hear((b.stream, 0), (a.stream, 0), a_from_b)


@pytest.mark.parametrize(
    ("off", "joins"), [(Sim3.identity(), True), (Sim3(1.0, exp_so3(np.array([0, 1.0, 0])), np.zeros(3)), False)]
)
def test_one_recognised_pair_bears_a_marker_out_if_it_says_the_same(off: Sim3, joins: bool) -> None:
    scene, first, second = SceneMap(), Phone("a", unit=0.4), Phone("b", unit=3.0, seed=8)
    visit_marker(scene, first)
    _pair(scene, first, second, off)
    visit_marker(scene, second, plain)
    assert ((second.stream, 0) in scene.status.aligned) == joins
    if joins:
        assert off_room(scene, second).scale == pytest.approx(1.0, rel=0.03)


def test_a_stored_map_that_knows_places_wants_one_of_them_seen() -> None:
    scene, first = SceneMap(), Phone("a", unit=0.4)
    visit_marker(scene, first)
    for has_places in (False, True):
        again, second = SceneMap(), Phone("b", unit=3.0, seed=8)
        again.restore(scene.blocks(scene.voxels.block_keys()), scene.snapshot())
        place = place_of(*Filming("a", PaintedRoom(3)).sees(walk(1)[0]))
        assert isinstance(place, Place)
        again.remember([place] if has_places else [])
        visit_marker(again, second)
        assert (again.status.unaligned == ()) is not has_places


def _as_it_is(room: np.ndarray) -> np.ndarray:
    return room


def _look_at_marker(scene: SceneMap, phone: Phone, look: Look, num: int, *, has_depth: bool = True) -> None:
    views = views_of_marker()
    for k in range(num):
        pose, gray, is_sheet = views[k % len(views)]
        tracked, frame, prediction = phone.sees(pose, np.where(is_sheet, gray, look(gray)))
        scene.observe(tracked, frame)
        if has_depth:
            scene.place(tracked, frame, prediction)


def test_where_nobody_kept_a_picture_of_a_print_nobody_joins_by_it() -> None:
    """The founder's engine was still loading."""
    scene, first, second = SceneMap(), Phone("a", unit=0.4), Phone("b", unit=3.0, seed=8)
    _look_at_marker(scene, first, _as_it_is, 5, has_depth=False)
    assert scene.snapshot().markers
    _look_at_marker(scene, second, negative, 5)
    assert scene.status.unaligned == ((second.stream, 0),)


def test_where_the_pictures_of_a_print_were_deleted_nobody_joins_the_others_by_it() -> None:
    scene, first, heir = SceneMap(), Phone("a", unit=0.4), Phone("h", unit=1.5, seed=3)
    _look_at_marker(scene, first, _as_it_is, 5)
    feed(scene, heir, heir.poses(4))
    scene.align(heir.stream, 0, off_room(scene, first) @ heir.component_from_room.inverse())
    scene.forget(first.stream)
    third = Phone("b", unit=3.0, seed=8)
    _look_at_marker(scene, third, negative, 5)
    assert scene.status.unaligned == ((third.stream, 0),)


@pytest.mark.parametrize("at_first", [plain, negative])
def test_who_looks_long_enough_is_looked_at_again(at_first: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(components, "_MAX_SIGHTINGS", 5)
    scene, first, second = SceneMap(), Phone("a", unit=0.4), Phone("b", unit=3.0, seed=8)
    _look_at_marker(scene, first, _as_it_is, 5)
    _look_at_marker(scene, second, at_first, 10)
    assert scene.status.unaligned == ((second.stream, 0),)
    _look_at_marker(scene, second, _as_it_is, 15)
    assert scene.status.unaligned == ()


def test_a_world_that_begins_anew_has_other_prints() -> None:
    scene, first, second = SceneMap(), Phone("a", unit=0.4), Phone("b", unit=3.0, seed=8)
    _look_at_marker(scene, first, _as_it_is, 3)
    _look_at_marker(scene, second, negative, 14)
    first.component += 1
    _look_at_marker(scene, first, negative, 5)
    assert scene.fuse().reason == "restart"
    for phone in (first, second):
        _look_at_marker(scene, phone, negative, 1)
    assert scene.status.unaligned == ((first.stream, 0),)


def _joined() -> tuple[MarkerJoins, Component, dict[int, Sim3]]:
    """A component of which two markers say where it lies."""
    joins, component = MarkerJoins(KeptKeyframes(9)), Component((StreamId("b"), 0), StreamOptions(), is_posed=False)
    hung = {0: Sim3.identity(), 1: Sim3.from_rigid(rigid(np.eye(3), [0.4, 0.0, 0.0]))}
    for seq in range(5):
        _see_both(component, hung, seq, num=1 if seq == 0 else 2)
    component.world_from_component = joins.place(component, hung, ())
    assert component.world_from_component is not None
    return joins, component, hung


def _see_both(component: Component, hung: dict[int, Sim3], seq: int, num: int = 2) -> None:
    eye: F64 = np.array([0.4 * np.sin(seq), 0.3 * np.cos(2 * seq), 1.0])
    pose = look_at(eye, [0.2, 0.0, 0.0])
    sightings = [
        Sighting(marker, invert(pose) @ place.matrix(), 0.1, 0.16) for marker, place in list(hung.items())[:num]
    ]
    _, frame, _ = Phone("b").sees(pose)
    object.__setattr__(frame, "seq", seq)
    component.observe(frame, pose, None, sightings)


def test_who_joined_by_a_marker_is_placed_anew_at_twice_the_sightings_two_in_a_picture_or_not() -> None:
    joins, component, hung = _joined()
    assert joins.refined(component, hung) is None, "nothing new"
    for seq in range(5, 15):
        _see_both(component, hung, seq)
        if joins.refined(component, hung) is not None:
            break
    assert component.num_sightings == 19


def test_who_lies_where_a_tie_put_it_is_not_moved_by_a_marker() -> None:
    scene, first, second = SceneMap(), Phone("a", unit=0.4), Phone("b", unit=3.0, seed=8)
    _look_at_marker(scene, first, _as_it_is, 5)
    _look_at_marker(scene, second, _as_it_is, 5)
    assert scene.status.unaligned == ()
    scene._world.components[second.stream, 0].world_from_component = None
    a_from_b = first.component_from_room @ second.component_from_room.inverse()
    tie = Tie((second.stream, 0), (first.stream, 0), a_from_b, 100)
    scene._world.hang([tie])
    place = scene.world_from_component(second.stream, 0)
    _look_at_marker(scene, second, _as_it_is, 15)
    assert scene.world_from_component(second.stream, 0) is place
