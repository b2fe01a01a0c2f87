"""Which messages lie in a client's region of interest, and how near they are."""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot, inf

from server.bus.channel import Channel, Entry
from server.bus.encode import Footprint
from server.protocol import Layer, Roi, Vector3

EVERYWHERE: frozenset[Layer] = frozenset({"pose", "thumbnail", "asset", "event"})
"""Layers of interest wherever the region is: they are few, and players want to see each other."""

LEAVE_FACTOR = 1.2
"""What was sent is taken back only this much farther out: a client on the edge is not sent it again and again."""

FOLLOW_FRACTION = 0.1
"""A region that follows a camera moves in steps of this part of its radius."""


@dataclass(frozen=True, slots=True)
class Region:
    """A sphere seen from above: a circle of the ground, since tiles are columns."""

    center_m: Vector3
    radius_m: float

    def distance_m(self, footprint_m: Footprint | None) -> float:
        """Ground distance from the centre to the nearest point of a footprint; 0 where there is none."""
        if footprint_m is None:
            return 0.0
        x0, z0, x1, z1 = footprint_m
        x, _, z = self.center_m
        return hypot(max(x0 - x, 0.0, x - x1), max(z0 - z, 0.0, z - z1))

    def covers(self, entry: Entry, slack: float = 1.0) -> bool:
        return entry.layer in EVERYWHERE or self.distance_m(entry.footprint_m) <= self.radius_m * slack

    def as_roi(self) -> Roi:
        return Roi(radius_m=self.radius_m, center_m=self.center_m)


NOWHERE = Region((0.0, 0.0, 0.0), -1.0)
"""Around a camera that is not placed yet."""


def resolve(roi: Roi | None, channel: Channel, before: Region | None) -> Region | None:
    """The circle a request stands for now; None = no bound. A followed camera's small steps change nothing."""
    if roi is None:
        return None
    if roi.center_m is not None:
        return Region(roi.center_m, roi.radius_m)
    pose = channel.get(("pose", (roi.follow or "",)))
    if pose is None or pose.footprint_m is None:
        return before or NOWHERE
    x, z, _, _ = pose.footprint_m
    moved_m = before.distance_m(pose.footprint_m) if before is not None and before.radius_m == roi.radius_m else inf
    if before is not None and moved_m <= FOLLOW_FRACTION * roi.radius_m:
        return before
    return Region((x, 0.0, z), roi.radius_m)
