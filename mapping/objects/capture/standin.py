"""What stands where a thing is to be captured until the capture is done: the thing as one keyframe shows it.

The keyframes' depth, as it is, says which part of the picked one is the thing and where it stands; the photo within
that mask, inflated to a body (`relief.py`), is set down there, facing the camera that saw it. It takes a fraction of a
second, where agreeing, carving and baking take several.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mapping.objects.capture import masks, region
from mapping.objects.mesh import F64, Mesh
from mapping.objects.relief import relief
from mapping.objects.view import View
from mapping.transforms import exp_so3, rigid


def stand_in(views: Sequence[View], pick: region.Pick) -> tuple[Mesh, F64]:
    """A body on its pivot, front towards +Z, and (4, 4) `world_from_mesh`, in metres.

    Raises:
        region.NothingThere: the pick means nothing that could be captured.
    """
    place = region.find(views, pick)
    view = views[pick.view]
    seen = masks.masked([view], place)
    if not seen or seen[0].mask is None or view.depth_m is None:
        raise region.NothingThere("too little of it is seen")
    mask = seen[0].mask
    rows = np.nonzero(mask.any(axis=1))[0]
    distance_m = float(np.median(view.depth_m[mask & (view.depth_m > 0)]))
    height_m = float(rows[-1] + 1 - rows[0]) * distance_m / view.intrinsics.fy
    low_m, high_m = place.bounds_m()
    base_m = np.array([(low_m[0] + high_m[0]) / 2, low_m[1], (low_m[2] + high_m[2]) / 2])
    towards = view.world_from_camera[:3, 3] - base_m
    yaw_rad = float(np.arctan2(towards[0], towards[2]))
    return relief(view.rgb, height_m, mask).mesh, rigid(exp_so3(np.array([0.0, yaw_rad, 0.0])), base_m)
