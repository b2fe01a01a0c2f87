"""Places on their way to the disk and back: a scene that was stored is recognised after a restart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from mapping.kept import ComponentKey
from mapping.places.embedding import embed
from mapping.places.features import Features
from mapping.places.place import Place
from mapping.store.records import StoredPlace
from mapping.transforms import Sim3
from streams.frame import StreamId

BEFORE: ComponentKey = (StreamId(""), -1)
"""The component of all places of before a restart; its frame is the world's, its unit the world's."""


def to_stored(place: Place, bend: Sim3) -> StoredPlace:
    """A place as a record, where the map has bent its component to around it; its embedding follows from it."""
    features = place.features
    stream, component = place.component
    return StoredPlace(
        id=place.keyframe,
        stream=stream,
        component=component,
        capture_ns=place.capture_ns,
        component_from_camera=np.ascontiguousarray(bend.apply_pose(place.component_from_camera), np.float64),
        intrinsics=place.intrinsics,
        focal_px=features.focal_px,
        focal_sigma=features.focal_sigma,
        descriptors=features.descriptors,
        xy=features.xy,
        depth=features.depth * np.float32(bend.scale),
    )


def from_stored(records: Iterable[StoredPlace], world_from_component: Mapping[ComponentKey, Sim3]) -> list[Place]:
    """Stored places whose component lay in the world, in its frame and unit."""
    return [
        _in_world(record, world)
        for record in records
        if (world := world_from_component.get((record.stream, record.component))) is not None
    ]


def _in_world(record: StoredPlace, world_from_component: Sim3) -> Place:
    depth = record.depth * np.float32(world_from_component.scale)
    features = Features(record.descriptors, record.xy, depth, record.focal_px, record.focal_sigma)
    pose = world_from_component.apply_pose(record.component_from_camera)
    return Place(record.id, BEFORE, pose, features, embed(record.descriptors), record.intrinsics, record.capture_ns)
