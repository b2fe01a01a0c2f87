"""What is left of before a restart, beside the voxels: where it was filmed from, and what can be recognised."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np

from mapping.changes import KeyframeId, stream_of
from mapping.exporters import ExportCamera
from mapping.kept import ComponentKey
from mapping.places.place import Place
from mapping.places.storing import from_stored
from mapping.store.records import MovedKeyframes, StoredKeyframe
from mapping.store.state import SceneState
from mapping.transforms import Sim3
from server.restart import components_from_state
from streams.frame import StreamId


class Earlier:
    """Nothing, until a store is read."""

    def __init__(self) -> None:
        self.components: dict[ComponentKey, Sim3] = {}
        """world_from_component of trackers that are gone, for the places in them that are stored."""
        self.places: list[Place] = []
        """What can be recognised, in the world as it was then."""
        self._keyframes: dict[KeyframeId, StoredKeyframe] = {}

    @classmethod
    def of(cls, state: SceneState) -> Earlier:
        """From what a store held."""
        earlier = cls()
        earlier._keyframes = {key: msgspec.structs.replace(k, jpeg=None) for key, k in state.keyframes.items()}
        needed = {(place.stream, place.component) for place in state.places.values()}
        earlier.components = {key: place for key, place in components_from_state(state).items() if key in needed}
        earlier.places = from_stored(state.places.values(), earlier.components)
        return earlier

    @property
    def cameras(self) -> Iterator[ExportCamera]:
        """Where it was filmed from."""
        return (ExportCamera(k.id, k.world_from_camera, k.intrinsics) for k in self._keyframes.values())

    def knows(self, stream: StreamId) -> bool:
        """Whether anything of a phone is left."""
        return any(of == stream for of in (*map(stream_of, self._keyframes), *(of for of, _ in self.components)))

    def move(self, new_from_old: Sim3) -> list[MovedKeyframes]:
        """Follow the world, which may have learnt its scale. Returns what the store has to be told."""
        if new_from_old.scale == 1.0:  # a merge, a loop: it stays where it is
            return []
        self.components = {key: new_from_old @ place for key, place in self.components.items()}
        poses = {key: new_from_old.apply_pose(k.world_from_camera) for key, k in self._keyframes.items()}
        for key, pose in poses.items():
            self._keyframes[key] = msgspec.structs.replace(self._keyframes[key], world_from_camera=pose)
        return [MovedKeyframes(ids=list(poses), world_from_camera=np.stack(list(poses.values())))] if poses else []

    def expire(self, before_ns: int) -> None:
        """Let go of keyframes that are older, as the store does."""
        self._keyframes = {key: k for key, k in self._keyframes.items() if k.capture_ns >= before_ns}

    def forget(self, stream: StreamId) -> None:
        """Drop all that a phone left."""
        self._keyframes = {key: keyframe for key, keyframe in self._keyframes.items() if keyframe.stream != stream}
        self.places = [place for place in self.places if stream_of(place.keyframe) != stream]
        self.components = {key: place for key, place in self.components.items() if key[0] != stream}
