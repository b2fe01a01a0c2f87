"""A single picture found in a scene's map, beside everything that is live: nothing of it is kept."""

from __future__ import annotations

import time

from mapping.places.locating import Located
from server.api.contract import Busy
from server.api.locate_contract import LocateAnswer, Picture, Placement
from server.late import pose_of_camera
from server.scene import Scene

_TRIES = 3


async def locate(scene: Scene, picture: Picture) -> LocateAnswer:
    """Look a picture up in one epoch of the map.

    Raises:
        Busy: the map was corrected each time it was tried.
    """
    channel = scene.channel
    for _ in range(_TRIES):
        epoch = channel.epoch
        found = await scene.locate(picture.image.gray, picture.intrinsics, is_focal_guess=picture.is_focal_guess)
        if channel.epoch == epoch:
            return _answer(found, picture, epoch, channel.scale_source)
    raise Busy("the map is being corrected; ask again in a moment", retry_after_s=1)


def _answer(found: Located | str, picture: Picture, epoch: int, scale_source: str) -> LocateAnswer:
    facts = {"epoch": epoch, "scale_source": scale_source}
    if not isinstance(found, Located):
        return LocateAnswer.model_validate({"found": False, "reason": found, **facts})
    pose = pose_of_camera(found.world_from_camera)
    return LocateAnswer.model_validate(
        {
            "found": True,
            "reason": None,
            "world_from_camera": Placement(t=pose.t, q_wxyz=pose.q_wxyz),
            "num_inliers": found.num_inliers,
            "confidence": round(min(1.0, found.share), 3),
            "focal_px": round(found.zoom * picture.intrinsics.fx, 1),
            "lens_refuted": found.is_lens_refuted,
            "age_s": round(max(0.0, (time.time_ns() - found.newest_ns) * 1e-9), 1),
            **facts,
        }
    )
