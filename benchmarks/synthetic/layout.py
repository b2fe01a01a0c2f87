"""The flat put together from its parts."""

from __future__ import annotations

import numpy as np

from benchmarks.synthetic.furniture import furniture
from benchmarks.synthetic.pictures import pictures
from benchmarks.synthetic.plan import DOORS, PICTURE_GAP_M, ROOMS, Marker, Plan
from benchmarks.synthetic.shell import shell


def plan() -> Plan:
    """Lay out the flat: five rooms, six doors, furniture and a marker on the living room's north wall."""
    at_marker = np.eye(4)
    at_marker[:3, 3] = (-2.6, 1.42, -3.5 + PICTURE_GAP_M)
    marker = Marker("apriltag_36h11", 7, 0.24, at_marker)
    boxes = (*shell(), *furniture())
    lamps = tuple(((x0 + x1) / 2, 2.45, (z0 + z1) / 2) for x0, z0, x1, z1 in ROOMS.values())
    return Plan(boxes, tuple(pictures(marker)), DOORS, marker, ROOMS, lamps)
