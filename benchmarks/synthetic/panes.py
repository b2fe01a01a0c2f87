"""Things on a wall that show what is not there: a mirror, and a screen with a film.

Both are drawn into a finished view where a rectangle of a wall is seen. Depth stays that of the wall: what the eye
follows into a mirror is not there to be walked on.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.synthetic.flat import AXES, Flat, View
from benchmarks.synthetic.plan import Picture
from mapping.transforms import F64, unproject

_ON_WALL_M = 0.02


def mirrored(flat: Flat, mirror: Picture, view: View) -> View:
    """The view with a mirror for a picture: the room once more, the other way round, behind the wall."""
    seen, _ = _seen(mirror, view)
    if not seen.any():
        return view
    axis, outwards = _axis(mirror)
    reflect, flip = np.eye(4), np.diag([-1.0, 1.0, 1.0, 1.0])
    reflect[axis, axis], reflect[axis, 3] = -1.0, 2.0 * mirror.center[axis]
    k = view.intrinsics
    # A reflected camera is left-handed; a right-handed one sees the same from left to right.
    camera = reflect @ view.world_from_camera @ flip
    behind = _in_front(flat, axis, outwards, mirror.center[axis]).render(camera, replace(k, cx=k.width - k.cx))
    return replace(view, rgb=np.where(seen[..., None], behind.rgb[:, ::-1], view.rgb))


def screened(screen: Picture, view: View, film: NDArray[np.uint8]) -> View:
    """The view with a screen for a picture that shows a frame (h, w, 3) of a film."""
    seen, place = _seen(screen, view)
    height, width = film.shape[:2]
    u, v = (np.where(seen, place[..., i] * n - 0.5, 0.0).astype(np.float32) for i, n in ((0, width), (1, height)))
    shown = cv2.remap(film, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return replace(view, rgb=np.where(seen[..., None], shown, view.rgb).astype(np.uint8))


def _seen(picture: Picture, view: View) -> tuple[NDArray[np.bool_], F64]:
    """Which pixels (h, w) show the rectangle, and where on it (h, w, 2), 0..1 from its top left corner."""
    points = unproject(view.depth_m, view.intrinsics).astype(np.float64)
    points = points @ view.world_from_camera[:3, :3].T + view.world_from_camera[:3, 3]
    offset = points - np.asarray(picture.center)
    axis, outwards = _axis(picture)
    right, down = (np.asarray(a, np.float64) for a in AXES[picture.side])
    place = np.stack([offset @ right / picture.size[0], offset @ down / picture.size[1]], axis=-1) + 0.5
    on_wall = (np.abs(offset[..., axis]) < _ON_WALL_M) & (view.depth_m > 0)
    is_before = outwards * (view.world_from_camera[axis, 3] - picture.center[axis]) > 0
    return on_wall & is_before & np.all((place > 0) & (place < 1), axis=-1), place


def _axis(picture: Picture) -> tuple[int, float]:
    """The coordinate across the wall, and +1 where the picture looks along it."""
    return "xyz".index(picture.side[1]), 1.0 if picture.side[0] == "+" else -1.0


def _in_front(flat: Flat, axis: int, outwards: float, wall: float) -> Flat:
    """The flat without what lies behind the wall: a mirror is looked at from its front."""
    f = flat.faces
    along, across = f.right * f.size_m[:, :1], f.down * f.size_m[:, 1:]
    corners = np.stack([f.origin, f.origin + along, f.origin + across, f.origin + along + across], axis=1)
    kept = (outwards * (corners[:, :, axis] - wall)).max(axis=1) > _ON_WALL_M
    names = (
        "origin",
        "right",
        "down",
        "size_m",
        "texture",
        "texels_per_m",
        "texel_offset",
        "light_start",
        "light_shape",
    )
    return replace(flat, faces=replace(f, **{name: getattr(f, name)[kept] for name in names}))
