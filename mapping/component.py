"""What is known about one tracker component: where its cameras were, which way is up in it, how long its unit is."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from mapping.kept import ComponentKey, Kept
from mapping.metric import gravity, markers, scale
from mapping.metric.gravity import Gravity
from mapping.metric.scale import Scale
from mapping.metric.upright_lines import Edges
from mapping.placement import Placement
from mapping.sampling import evenly
from mapping.transforms import F64, Sim3
from streams.frame import Frame

_MAX_POSES = 4096
_MAX_UPS = 256
_MAX_SIGHTINGS = 48
_MAX_EDGES_KEPT = 96
_NUM_EDGE_KEYFRAMES = 48
_NUM_SURFEL_KEYFRAMES = 12
_SURFELS_PER_KEYFRAME = 600
_SURFEL_CONFIDENCE = 0.5
_LEVEL_COS = float(np.cos(np.radians(20.0)))


class StreamOptions(BaseModel):
    """What is known about one phone beforehand."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: Literal["own", "shared"] = "own"
    """`shared`: this phone starts at the very pose at which the map's first phone started."""
    world: str | None = None
    """Posed streams that name the same world are taken to share their coordinates."""
    camera_height_m: float | None = Field(default=None, gt=0)
    """How high above the floor the camera is carried: a scale cue."""


class Component:
    """Collects cues; says what follows from them when asked."""

    def __init__(self, key: ComponentKey, options: StreamOptions, *, is_posed: bool) -> None:
        self.key = key
        self.options = options
        self.is_posed = is_posed
        self.placement: Placement | None = None
        """None while it does not lie in the world."""
        self.distances: list[Scale] = []
        self._poses: dict[int, F64] = {}
        self._ups_camera: deque[tuple[int, F64]] = deque(maxlen=_MAX_UPS)
        self._edges_camera: deque[tuple[int, Edges]] = deque(maxlen=_MAX_EDGES_KEPT)
        self._sightings: dict[int, deque[tuple[int, markers.Sighting]]] = {}
        self.num_observed = 0
        """Counts all keyframes there ever were, as the next one does all sightings of markers."""
        self.num_sightings = 0
        self._landmark_distances: deque[float] = deque(maxlen=_MAX_UPS)

    @property
    def world_from_component(self) -> Sim3 | None:
        """Of the component as a whole; None while it does not lie in the world. Setting it carries all bends along."""
        return self.placement.world_from_component if self.placement is not None else None

    @world_from_component.setter
    def world_from_component(self, place: Sim3 | None) -> None:
        if place is None or self.placement is None:
            self.placement = None if place is None else Placement(place)
        else:
            self.placement = replace(self.placement, world_from_component=place)

    def world_around(self, seq: int) -> Sim3 | None:
        """The same around one of its frames."""
        return self.placement.around(seq) if self.placement is not None else None

    def camera(self, seq: int) -> Sim3 | None:
        """Where the camera of an observed keyframe is, in the component's unit there: in the world if it lies in it."""
        if (pose := self._poses.get(seq)) is None:
            return None
        own = Sim3.from_rigid(pose)
        return own if self.placement is None else self.placement.around(seq) @ own

    def observe(
        self,
        frame: Frame,
        component_from_camera: F64,
        landmarks: NDArray[np.float32] | None,
        sightings: Sequence[markers.Sighting],
        edges: Edges | None = None,
    ) -> None:
        """Take the cues of one keyframe; the oldest pose goes when there are too many."""
        self.num_observed += 1
        self._poses[frame.seq] = component_from_camera
        if len(self._poses) > _MAX_POSES:
            del self._poses[next(iter(self._poses))]
        if frame.motion is not None and frame.motion.up_camera is not None:
            self._ups_camera.append((frame.seq, frame.motion.up_camera))
        if landmarks is not None and len(landmarks):
            distances = np.linalg.norm(landmarks - component_from_camera[:3, 3], axis=1)
            self._landmark_distances.append(float(np.median(distances)))
        if edges is not None:
            self._edges_camera.append((frame.seq, edges))
        for sighting in sightings:
            seen = self._sightings.setdefault(sighting.marker, deque(maxlen=_MAX_SIGHTINGS))
            seen.append((frame.seq, sighting))
            self.num_sightings += 1

    def resize_markers(self, size_m: float) -> None:
        """What was seen of markers was seen of ones of this size."""
        for marker, seen in self._sightings.items():
            self._sightings[marker] = deque([(seq, s.resized(size_m)) for seq, s in seen], maxlen=_MAX_SIGHTINGS)

    def correct(self, poses: dict[int, F64]) -> None:
        """Take over better poses of keyframes by their frame's seq."""
        self._poses.update({seq: pose for seq, pose in poses.items() if seq in self._poses})

    def pose(self, seq: int) -> F64 | None:
        """component_from_camera (4, 4) of an observed keyframe, as corrected by now."""
        return self._poses.get(seq)

    @property
    def poses(self) -> Mapping[int, F64]:
        """component_from_camera (4, 4) of all observed keyframes by seq, in the order of their coming."""
        return self._poses

    @property
    def typical_distance(self) -> float:
        """How far it is to what the phone sees, in the component's unit."""
        return float(np.median(self._landmark_distances)) if self._landmark_distances else 1.0

    def walked(self, first: int, last: int) -> float:
        """Length of the walk between two observed keyframes, either first, in the component's unit."""
        low, high = min(first, last), max(first, last)
        centres = np.array([pose[:3, 3] for seq, pose in self._poses.items() if low <= seq <= high])
        return float(np.linalg.norm(np.diff(centres, axis=0), axis=1).sum())

    @property
    def world_name(self) -> str:
        """What the world of a posed source is called; by default after the phone, so that nobody else shares it."""
        return self.options.world or str(self.key[0])

    @property
    def first_pose(self) -> F64:
        return next(iter(self._poses.values()))

    def gravity(self, kept: Sequence[Kept]) -> Gravity:
        """The best estimate of up, in the component's frame; a posed source is believed.

        Args:
            kept: keyframes of this component with depth, for the planes in them.
        """
        if self.is_posed:
            return Gravity(np.array([0.0, 1.0, 0.0]), gravity.POSED_SIGMA_DEG, "posed")
        ups = [self._poses[seq][:3, :3] @ up for seq, up in self._ups_camera if seq in self._poses]
        points, normals = self._surfels(kept) if kept else (np.empty((0, 3)), np.empty((0, 3)))
        held = gravity.up_from_holding(list(self._poses.values()), normals)
        sensed = gravity.up_from_motion(np.array(ups).reshape(-1, 3))
        guess = sensed or held or Gravity(-self.first_pose[:3, 1], 2 * gravity.CAMERAS_SIGMA_DEG, "cameras")
        planes = gravity.up_from_planes(points, normals, guess.up)
        lines = gravity.up_from_lines(self._edges(), planes or guess)
        seen = [estimate for estimate in (sensed, lines, planes) if estimate is not None]
        return gravity.fuse(seen) or guess

    def scale(self, kept: Sequence[Kept], up: F64, others: Sequence[Scale] = ()) -> Scale:
        """Metres per unit from every cue there is; `none` with a nominal factor where there is none.

        Args:
            others: what components that are tied to this one know, in this one's unit.
        """
        if self.is_posed:
            return scale.POSED
        return scale.fuse([*self.scale_cues(kept, up), *others]) or scale.nominal(self._typical_distances(kept))

    def scale_cues(self, kept: Sequence[Kept], up: F64) -> list[Scale]:
        """What this phone itself knows about metres per unit."""
        if self.is_posed:
            return [scale.POSED]
        cues = list(self.distances)
        for marker in self._sightings:
            placed = self.placed_by(marker)
            if placed is not None:
                cues.append(Scale(placed.marker_from_component.scale, placed.sigma, "marker"))
        height_m = self.options.camera_height_m
        if height_m is not None and kept:
            points, normals = self._surfels(kept)
            level_heights = points[normals @ up > _LEVEL_COS] @ up
            cameras = np.array([pose[:3, 3] @ up for pose in self._poses.values()])
            height = scale.from_camera_height(level_heights, cameras, height_m)
            cues += [height] if height is not None else []
        return cues

    def marker_ids(self) -> list[int]:
        return list(self._sightings)

    def sightings(self, marker: int) -> list[tuple[int, markers.Sighting]]:
        """The newest sightings of a marker, each with the seq of its keyframe."""
        return list(self._sightings.get(marker, ()))

    def placed_by(self, marker: int) -> markers.Placed | None:
        """Where this component lies in the frame of a marker it has seen often enough."""
        seen = self._sightings.get(marker, ())
        return markers.place([(self._poses[seq], sighting) for seq, sighting in seen if seq in self._poses])

    def _typical_distances(self, kept: Sequence[Kept]) -> NDArray[np.floating]:
        if self._landmark_distances:
            return np.array(self._landmark_distances)
        return np.array([float(np.median(k.depth[k.depth > 0])) for k in kept if np.any(k.depth > 0)])

    def _edges(self) -> list[Edges]:
        """The straight edges of keyframes spread evenly over the walk, in the component's frame."""
        seen = [(self._poses[seq], edges) for seq, edges in self._edges_camera if seq in self._poses]
        return [edges.turned(pose) for pose, edges in seen[evenly(len(seen), _NUM_EDGE_KEYFRAMES)]]

    def _surfels(self, kept: Sequence[Kept]) -> tuple[F64, F64]:
        """Points and normals (n, 3) from keyframes spread evenly over the walk."""
        picked = kept[evenly(len(kept), _NUM_SURFEL_KEYFRAMES)]
        sampled = [k.surfels_component(_SURFEL_CONFIDENCE, _SURFELS_PER_KEYFRAME) for k in picked]
        return np.concatenate([p for p, _ in sampled]), np.concatenate([n for _, n in sampled])
