"""What goes first of all that is there: where the cameras are, where one can walk, what hides, what it looks like."""

from __future__ import annotations

from server.bus.channel import Channel, Entry
from server.bus.region import Region
from server.protocol import Layer

FIRST_TO_LAST: tuple[Layer, ...] = (
    "pose",
    "thumbnail",
    "asset",
    "event",
    "nav",
    "islands",
    "occluder",
    "culling",
    "mesh",
    "depth",
    "points",
)
"""Points are by far the most bytes and no game needs them: nothing waits for them."""
RANK: dict[Layer, int] = {layer: rank for rank, layer in enumerate(FIRST_TO_LAST)}


def in_order(entries: list[Entry], channel: Channel, region: Region | None) -> list[Entry]:
    """The entries layer after layer, each nearest first; the newer of two that are as near, and all where none is."""
    focus = region or _around_newest_camera(channel)

    def urgency(entry: Entry) -> tuple[int, float, int]:
        return RANK[entry.layer], focus.distance_m(entry.footprint_m) if focus else 0.0, -entry.seq

    return sorted(entries, key=urgency)


def _around_newest_camera(channel: Channel) -> Region | None:
    """Where it happens now, for whoever named no region: around the camera that was placed last."""
    poses = [entry for entry in channel.entries() if entry.layer == "pose" and entry.footprint_m is not None]
    newest = max(poses, key=lambda entry: entry.seq, default=None)
    if newest is None or newest.footprint_m is None:
        return None
    x, z, _, _ = newest.footprint_m
    return Region((x, 0.0, z), 0.0)
