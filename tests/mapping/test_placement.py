"""Where a component lies: as a whole, around each keyframe, and around frames in between."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mapping.placement import Placement
from mapping.transforms import Sim3, exp_so3
from tests.mapping.places.filming import turned_about

WHOLE = Sim3(2.0, exp_so3(np.array([0.1, 0.2, 0.3])), np.array([1.0, 2.0, 3.0]))
AROUND = {
    10: Sim3(2.1, WHOLE.rotation, np.array([1.1, 2.0, 3.0])),
    20: Sim3(1.9, WHOLE.rotation, np.array([1, 2.2, 3])),
}


def test_a_frame_lies_where_the_newest_keyframe_before_it_was_put() -> None:
    placement = Placement.bent(WHOLE, AROUND)
    for seq, keyframe in ((10, 10), (19, 10), (20, 20), (900, 20), (3, 10)):
        np.testing.assert_allclose(turned_about(placement.around(seq), AROUND[keyframe]), 0, atol=1e-5)


def test_what_was_never_bent_lies_as_a_whole() -> None:
    assert Placement(WHOLE).around(5) is WHOLE


def test_bends_are_carried_along_when_the_whole_is_moved() -> None:
    moved = Sim3(3.0, exp_so3(np.array([0.0, 1.0, 0.0])), np.array([5.0, 0.0, 0.0]))
    placement = replace(Placement.bent(WHOLE, AROUND), world_from_component=moved @ WHOLE)
    np.testing.assert_allclose(turned_about(placement.around(20), moved @ AROUND[20]), 0, atol=1e-5)
