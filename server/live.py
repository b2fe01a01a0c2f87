"""One camera in a scene: its tracker, its keyframe policy and what is known of it at this moment."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from mapping.changes import KeyframeId
from mapping.engines import View, Window
from mapping.tracking.lenses import Lenses
from mapping.tracking.tracked import Tracked
from mapping.tracking.tracker import Tracker, TrackerConfig
from mapping.transforms import F64, invert
from server.late import Late
from streams.cache import KeyframeCache
from streams.datachannel import LatePoses, Notice, PoseAnswer
from streams.frame import Frame, StreamId
from streams.keyframes import Keyframe, KeyframeConfig, KeyframeSelector, ViewChange, pose_change, sharpness
from streams.mailbox import Mailbox

Kind = Literal["whip", "posed", "replay"]
POSES_KEPT = 4096
"""Windows hold keyframes of long ago, too, where the tracker thinks they are by now."""


@dataclass(frozen=True, slots=True, eq=False)
class Due:
    """A keyframe on its way into the map."""

    keyframe: Keyframe
    tracked: Tracked
    tracked_ns: int
    """When the tracker answered."""


@dataclass(slots=True, eq=False)
class Counters:
    frames: int = 0
    dropped: int = 0
    tracked: int = 0
    late: int = 0
    """Frames posed only after they had been answered."""
    keyframes: int = 0
    mapped: int = 0
    width: int = 0
    height: int = 0
    state: str = "waiting"
    seen_share: float = 0.0


@dataclass(slots=True, eq=False)
class Mind:
    """What a `LiveStream` remembers between frames; touched by one frame at a time."""

    tracker: Tracker
    selector: KeyframeSelector
    component: int = -1
    last_from_component: F64 | None = None
    """Inverse pose of the last keyframe."""
    scene_depth: float = 2.0
    """Median distance of landmarks, in the component's unit."""
    corrected: dict[int, F64] = field(default_factory=dict)
    poses: OrderedDict[int, F64] = field(default_factory=OrderedDict)


class LiveStream:
    """A camera's connection. `frames` ends when the camera goes; `send` reaches the phone, if it can be reached."""

    def __init__(
        self,
        stream: StreamId,
        kind: Kind,
        frames: AsyncIterator[Frame],
        *,
        send: Callable[[PoseAnswer | LatePoses | Notice], object] = lambda _: None,
        is_patient: bool = False,
        tracker: TrackerConfig = TrackerConfig(),  # noqa: B008
        keyframes: KeyframeConfig = KeyframeConfig(),  # noqa: B008
        lenses: Lenses | None = None,
    ) -> None:
        """`is_patient`: the source waits for the map (a recording played fast); otherwise the newest keyframe wins."""
        self.id, self.kind, self.frames, self.send, self.is_patient = stream, kind, frames, send, is_patient
        self.due: Mailbox[Due] = Mailbox()
        self.counters = Counters()
        self.late = Late()
        self.world_from_camera: F64 | None = None
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the last frame is posed and the last keyframe mapped."""
        self.looked_at = float("-inf")
        """When its last frame went to the tracker, on the scene's clock."""
        self.failure: str | None = None
        """Why it ended before its last frame."""
        self._mind = Mind(Tracker(stream, tracker, lenses), KeyframeSelector(keyframes))

    def follow(self, frame: Frame) -> Tracked:
        """Pose one frame. As `take_in`: called by one thread at a time, off the loop."""
        return self._mind.tracker.pose(frame)

    def take_in(self, frame: Frame, tracked: Tracked) -> tuple[Tracked, Keyframe | None]:
        """Let the tracker's map take in a keyframe that was just posed, and judge whether the scene should have it."""
        mind = self._mind
        tracked = mind.tracker.grow() or tracked
        if tracked.component != mind.component:
            mind.component, mind.last_from_component = tracked.component, None
            mind.corrected.clear()
            mind.poses.clear()
            mind.selector.reset()
        mind.corrected |= tracked.corrected
        for seq in tracked.corrected.keys() & mind.poses.keys():
            mind.poses[seq] = tracked.corrected[seq]
        if tracked.component_from_camera is None or not tracked.keyframe:
            return tracked, None  # its map was refuted, or it goes on in an older one
        view = self._change(frame, tracked)
        if mind.selector.offer(view, frame.capture_ns * 1e-9) is None:
            return tracked, None
        return self._keep(frame, tracked, view)

    def window(self, cache: KeyframeCache, keyframe: Keyframe, chosen: Sequence[str]) -> Window:
        """The keyframe with the chosen ones before it, each where the tracker now thinks it was.

        Of other walks only the pictures are of use: where they lie to this one nobody knows. The first view is its own.
        """
        before = cache.window(self.id, 0, also=chosen)
        walk = (keyframe.frame.stream, keyframe.component)
        others = [
            View(KeyframeId(k.id), k.frame.image.rgb, k.frame.intrinsics)
            for k in before
            if (k.frame.stream, k.component) != walk
        ]
        own = [
            View(
                KeyframeId(k.id),
                k.frame.image.rgb,
                k.frame.intrinsics,
                self._mind.poses.get(k.frame.seq, k.component_from_camera),
                k.landmarks_component,
            )
            for k in before
            if (k.frame.stream, k.component) == walk and k.frame.seq < keyframe.frame.seq
        ]
        newest = View(
            KeyframeId(keyframe.id),
            keyframe.frame.image.rgb,
            keyframe.frame.intrinsics,
            keyframe.component_from_camera,
            keyframe.landmarks_component,
        )
        return Window((*own[:1], *others, *own[1:], newest) if own else (newest,))

    def _change(self, frame: Frame, tracked: Tracked) -> ViewChange:
        mind = self._mind
        pose = tracked.component_from_camera
        assert pose is not None
        if tracked.landmarks_component is not None and len(tracked.landmarks_component):
            forward = (tracked.landmarks_component - pose[:3, 3]) @ pose[:3, 2]
            mind.scene_depth = max(float(np.median(forward)), 1e-6)
        sharp = sharpness(frame.image.gray)
        if mind.last_from_component is None:
            return ViewChange(sharpness=sharp)
        return replace(pose_change(mind.last_from_component, pose, scene_depth_m=mind.scene_depth), sharpness=sharp)

    def _keep(self, frame: Frame, tracked: Tracked, view: ViewChange) -> tuple[Tracked, Keyframe]:
        mind, pose = self._mind, tracked.component_from_camera
        assert pose is not None
        mind.last_from_component = invert(pose)
        mind.poses[frame.seq] = pose
        if len(mind.poses) > POSES_KEPT:
            mind.poses.popitem(last=False)
        tracked = replace(tracked, corrected=mind.corrected)
        mind.corrected = {}
        kept = replace(frame, intrinsics=tracked.intrinsics)
        return tracked, Keyframe(kept, tracked.component, pose, tracked.landmarks_component, view.sharpness)
