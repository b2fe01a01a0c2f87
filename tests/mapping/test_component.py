"""What a component counts and keeps of a long walk."""

from __future__ import annotations

import numpy as np

from mapping.component import Component, StreamOptions
from mapping.metric import anchor
from mapping.transforms import rigid
from streams.frame import Frame, Image, Intrinsics, StreamId


def test_a_long_walk_is_looked_at_now_and_then_to_its_end() -> None:
    component = Component((StreamId("a"), 0), StreamOptions(), is_posed=False)
    image, k = Image(rgb=np.zeros((2, 2, 3), np.uint8)), Intrinsics(2.0, 2.0, 1.0, 1.0, 2, 2)
    looked_at = []
    for seq in range(5000):
        component.observe(Frame(StreamId("a"), seq, seq, seq, image, k), rigid(np.eye(3), [seq, 0, 0]), None, [])
        if anchor.is_time_to_look(component.num_observed):
            looked_at.append(seq)
    assert looked_at[-1] > 4900
    assert len(component.poses) < 5000, "poses are bounded"
