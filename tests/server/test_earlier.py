"""What is left of before a restart goes when a phone's data is deleted."""

from __future__ import annotations

import numpy as np

from mapping.changes import KeyframeId
from mapping.store.records import SceneMeta, StoredPlace
from mapping.store.state import SceneState
from mapping.transforms import Sim3
from mapping.world_state import WorldState
from server.earlier import Earlier
from server.restart import components_to_plain, world_from_state, world_to_plain
from streams.frame import Intrinsics, StreamId
from tests.mapping.store.scenes import keyframe

A, B, GONE = StreamId("a"), StreamId("b"), StreamId("gone")


def place(stream: StreamId) -> StoredPlace:
    rng = np.random.default_rng(7)
    return StoredPlace(
        id=KeyframeId(f"{stream}/3"), stream=stream, component=0, capture_ns=0, component_from_camera=np.eye(4),
        intrinsics=Intrinsics(50.0, 50.0, 32.0, 24.0, 64, 48), focal_px=50.0,
        descriptors=rng.integers(0, 255, (60, 32)).astype(np.uint8),
        xy=np.zeros((60, 2), np.float32), depth=np.ones(60, np.float32),
    )  # fmt: skip


def stored() -> SceneState:
    """Two phones with keyframes and places; a third one left nothing but where it lay."""
    components = {(stream, 0): Sim3.identity() for stream in (A, B, GONE)}
    state = SceneState(SceneMeta(lineage="l", attributes={"components": components_to_plain(components)}))
    for record in (keyframe("a", 3), keyframe("b", 3), place(A), place(B)):
        state.apply(record)
    return state


def test_where_trackers_lay_is_kept_as_long_as_places_need_it() -> None:
    earlier = Earlier.of(stored())
    assert set(earlier.components) == {(A, 0), (B, 0)}
    assert not earlier.knows(GONE)


def test_of_a_deleted_phone_nothing_is_left() -> None:
    earlier = Earlier.of(stored())
    assert earlier.knows(A)
    earlier.forget(A)
    assert not earlier.knows(A)
    assert set(earlier.components) == {(B, 0)}
    assert [p.keyframe for p in earlier.places] == ["b/3"]
    assert [camera.name for camera in earlier.cameras] == ["b/3"]


def test_doubt_about_the_scale_survives_a_restart() -> None:
    world = WorldState(scale_source="distance", scale_sigma=0.1, scale_contradicted_by=("marker",))
    meta = SceneMeta(lineage="l", scale_source="distance", attributes=world_to_plain(world))
    assert world_from_state(SceneState(meta)).scale_contradicted_by == ("marker",)
