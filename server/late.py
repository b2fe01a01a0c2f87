"""Frames from before a map are posed once there is one: the phone hears at once, everybody when it is aligned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mapping.tracking.tracked import Backfilled, Tracked
from mapping.transforms import F64, Sim3, quat_from_rotation
from streams.datachannel import LatePose, LatePoses, PoseOfCamera

EVENT = "late_poses"
"""`{"stream", "epoch", "poses": [{"frame", "capture_ns", "t", "q_wxyz"}]}`: where a camera had been."""


@dataclass(slots=True, eq=False)
class Late:
    """Of one camera: poses that not everybody has heard of, at most as many as a tracker remembers frames."""

    component: int = -1
    untold: tuple[Backfilled, ...] = ()

    def for_phone(self, tracked: Tracked, world_from_component: Sim3 | None) -> LatePoses | None:
        """What the phone is told now, in the frame that the answer to this frame is in; None if nothing is new."""
        if not tracked.backfilled:
            return None
        self.component, self.untold = tracked.component, tracked.backfilled
        return LatePoses(
            is_aligned=world_from_component is not None,
            poses=tuple(
                LatePose(str(late.capture_ns), pose_of_camera(_placed(late, world_from_component)))
                for late in tracked.backfilled
            ),
        )

    def for_all(self, tracked: Tracked, world_from_component: Sim3 | None) -> list[dict[str, Any]] | None:
        """What everybody is told now, once; None while it is not known where in the world that is."""
        if not self.untold or world_from_component is None or tracked.component != self.component:
            return None
        untold, self.untold = self.untold, ()
        placed = [(late, pose_of_camera(_placed(late, world_from_component))) for late in untold]
        return [
            {"frame": late.seq, "capture_ns": late.capture_ns, "t": pose.t, "q_wxyz": pose.q_wxyz}
            for late, pose in placed
        ]


def pose_of_camera(world_from_camera: F64) -> PoseOfCamera:
    """A pose (4, 4) as phones get it: hundredths of a millimetre."""
    x, y, z = (round(float(v), 5) for v in world_from_camera[:3, 3])
    w, i, j, k = (round(float(v), 6) for v in quat_from_rotation(world_from_camera[:3, :3]))
    return PoseOfCamera((x, y, z), (w, i, j, k))


def _placed(late: Backfilled, world_from_component: Sim3 | None) -> F64:
    pose = late.component_from_camera
    return pose if world_from_component is None else world_from_component.apply_pose(pose)
