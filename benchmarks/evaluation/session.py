"""What came of phones that were played into a scene: every answer, every mapped keyframe, the map, and the cost."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.evaluation.phone import Phone
from mapping.engines import ViewPrediction, WindowPrediction
from mapping.scene_map import SceneMap
from mapping.tracking.tracked import Tracked
from mapping.tracking.tracker import TrackerConfig
from mapping.transforms import F64, Sim3
from server.live import LiveStream
from streams.datachannel import PoseAnswer
from streams.frame import Frame
from streams.keyframes import Keyframe, KeyframeConfig


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What a phone was told about one frame."""

    tracked: Tracked
    cpu_s: float
    """Of the tracker's thread."""
    wall_s: float
    """The tracker's own time for it, waiting for a processor included."""


@dataclass(frozen=True, slots=True, eq=False)
class Mapped:
    """A keyframe that the map took in."""

    tracked: Tracked
    prediction: WindowPrediction | None
    wall_ns: int
    """When the map had it; the machine's clock."""

    @property
    def view(self) -> ViewPrediction | None:
        """The engine's answer for this very keyframe, from frames up to it: causal."""
        return None if self.prediction is None else self.prediction.views[-1]


@dataclass(slots=True, eq=False)
class Played:
    """One phone's session."""

    phone: Phone
    answers: list[Answer] = field(default_factory=list)
    mapped: list[Mapped] = field(default_factory=list)
    pose_latency_ms: list[float] = field(default_factory=list)
    """Live: capture -> answer leaves for the phone."""
    map_latency_ms: list[float] = field(default_factory=list)
    """Live: capture -> the map and its NavMesh hold the keyframe."""
    aligned_s: float | None = None
    """When the phone first lay in the map's world, on the session's clock."""
    decode_cpu_s: float = 0.0
    failure: str | None = None

    num_wanted: int = 0
    """Keyframes that were offered to the map."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Of the whole session, the players' own work (reading pictures) taken off."""

    cpu_s: float
    wall_s: float
    rss_mb: float


@dataclass(frozen=True, slots=True, eq=False)
class Session:
    """All of it."""

    played: tuple[Played, ...]
    map: SceneMap
    cost: Cost
    live: bool

    def world_from(self, played: Played, component: int, seq: int | None = None) -> Sim3 | None:
        """Where a phone's component lay in the map's world in the end: on the whole, or around one of its frames."""
        return self.map.world_from_component(played.phone.name, component, seq)


def note_alignment(played: Iterable[Played], scene_map: SceneMap, at_s: float) -> None:
    """Write down which phones have come to lie in the world."""
    for one in played:
        if one.aligned_s is None and one.answers:
            component = one.answers[-1].tracked.component
            if scene_map.world_from_component(one.phone.name, component) is not None:
                one.aligned_s = at_s


class WatchedStream(LiveStream):
    """A camera's connection that leaves a trace."""

    def __init__(
        self,
        played: Played,
        frames: AsyncIterator[Frame],
        tracker: TrackerConfig,
        keyframes: KeyframeConfig,
    ) -> None:
        super().__init__(played.phone.name, "replay", frames, send=self._sent, tracker=tracker, keyframes=keyframes)
        self.played = played
        self._captured_ns = 0

    def follow(self, frame: Frame) -> Tracked:
        """See `LiveStream.follow`."""
        self._captured_ns = self.played.phone.true_time_ns(frame)
        before_s, began_s = time.thread_time(), time.perf_counter()
        tracked = super().follow(frame)
        self.played.answers.append(Answer(tracked, time.thread_time() - before_s, time.perf_counter() - began_s))
        return tracked

    def take_in(self, frame: Frame, tracked: Tracked) -> tuple[Tracked, Keyframe | None]:
        """See `LiveStream.take_in`: what it costs is the frame's cost, too."""
        before_s, began_s = time.thread_time(), time.perf_counter()
        tracked, keyframe = super().take_in(frame, tracked)
        answer = self.played.answers[-1]
        cpu_s, wall_s = time.thread_time() - before_s, time.perf_counter() - began_s
        self.played.answers[-1] = replace(answer, cpu_s=answer.cpu_s + cpu_s, wall_s=answer.wall_s + wall_s)
        self.played.num_wanted += keyframe is not None
        return tracked, keyframe

    def _sent(self, message: object) -> None:
        """The phone's answer leaves: frames are answered one by one, so it is the last one's."""
        if isinstance(message, PoseAnswer):
            self.played.pose_latency_ms.append((time.time_ns() - self._captured_ns) * 1e-6)


def causal_depth(mapped: Mapped) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """Depth (h, w) in the component's unit and confidence (h, w), as the engine gave them at first sight."""
    view = mapped.view
    if view is None or view.depth is None:
        return None
    sure = np.ones_like(view.depth) if view.confidence is None else view.confidence
    return view.depth, sure


Poses = dict[int, F64]
"""Frame number -> b_from_camera (4, 4)."""
