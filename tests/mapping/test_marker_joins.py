"""Who joins by a marker: never on its word alone."""

from __future__ import annotations

import numpy as np
import pytest

from mapping.places.place import Place, place_of
from mapping.scene_map import SceneMap
from mapping.transforms import Sim3, exp_so3
from tests.mapping.painted_room import PaintedRoom
from tests.mapping.places.filming import Phone as Filming
from tests.mapping.places.filming import walk
from tests.mapping.test_scene_map import plain, visit_marker
from tests.mapping.walking import Phone, off_room


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
