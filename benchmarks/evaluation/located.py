"""Single pictures found in a map that a phone has made: what `POST /v1/scenes/{scene}/locate` does, without HTTP."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

from benchmarks.evaluation.fast import play_fast
from benchmarks.evaluation.options import Options
from benchmarks.evaluation.phone import Phone
from benchmarks.evaluation.poses import truth_from_world
from benchmarks.evaluation.remap import map_with_places
from mapping.changes import seq_of
from mapping.metric.markers import Config as MarkerConfig
from mapping.places.locating import Located
from mapping.places.place import Place
from mapping.transforms import F64, Sim3


@dataclass(frozen=True, slots=True, eq=False)
class Sought:
    """What came of one picture."""

    seq: int
    pose: F64 | None
    """truth_from_camera (4, 4) by the map's alignment to the truth; None where it was not found."""
    ms: float
    """CPU time."""


class PhotoFinder:
    """A phone's map with its places, to be asked where pictures were taken."""

    def __init__(self, phone: Phone) -> None:
        """Films and maps every frame of the phone, which takes a while."""
        options = Options().looking_for(MarkerConfig(search=False))
        session = play_fast([phone], options)
        self._map, self._recogniser = map_with_places(session.played, options.scene.map.map)
        self._truth_from_world = truth_from_world(replace(session, map=self._map))

    def seek(self, shown: Phone, seqs: Iterable[int], *, focal_error: float | None = None) -> list[Sought]:
        """Locate frames that a phone has; with a focal error, the focal length counts as guessed."""
        camera = shown.camera
        if focal_error is not None:
            camera = replace(camera, fx=camera.fx * (1 + focal_error), fy=camera.fy * (1 + focal_error))
        sought = []
        for seq in seqs:
            gray, before_s = shown.frame(seq, 0).image.gray, time.thread_time()
            answer = self._recogniser.locate(gray, camera, self._in_world, is_focal_guess=focal_error is not None)
            ms, pose = (time.thread_time() - before_s) * 1e3, None
            if isinstance(answer, Located) and self._truth_from_world is not None:
                pose = self._truth_from_world.apply_pose(answer.world_from_camera)
            sought.append(Sought(seq, pose, ms))
        return sought

    def _in_world(self, place: Place) -> Sim3 | None:
        stream, component = place.component
        world = self._map.world_from_component(stream, component, seq_of(place.keyframe))
        return None if world is None else world @ Sim3.from_rigid(place.component_from_camera)
