"""What tells a map its scale in a benchmark: a printed marker, a distance that somebody measured, how high the phone
is carried, or nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.clips import Clip
from benchmarks.evaluation.depth import true_depth
from benchmarks.evaluation.options import Options
from benchmarks.evaluation.session import Played
from mapping.placing import keyframe_id
from mapping.scene_map import SceneMap, StreamOptions
from mapping.transforms import F64, unproject

NAMES = ("none", "marker", "distance", "height")
_AFTER_KEYFRAMES = 4
_LONGEST_M = 3.0
"""Nobody measures further with what lies in a kitchen drawer."""
_STEP_PX = 4
_SMOOTH = 0.05
_LOOK_BEYOND = 1.3


def with_cue(options: Options, name: str, clip: Clip) -> Options:
    """Options under which the map learns its scale that way.

    Raises:
        ValueError: the clip has no such cue.
    """
    if name == "marker":
        if clip.marker is None:
            raise ValueError(f"no marker hangs in {clip.name}: camera.json has none")
        return options.looking_for(clip.marker)
    if name == "height":
        if clip.camera_height_m is None:
            raise ValueError(f"nobody knows how high {clip.name} was filmed: camera.json has no camera_height_m")
        carried = StreamOptions(camera_height_m=clip.camera_height_m)
        return replace(options, joining=lambda phone: carried)
    return replace(options, cue=MeasuredDistance()) if name == "distance" else options


class MeasuredDistance:
    """Somebody measures between two things in the picture and clicks on both, once.

    The true length comes from the depth sensor; the clicks lie on the map's surface, as it is by then. The ends are
    the two farthest smooth places, at most 3 m apart, of the first keyframe that has truth from the fourth on.
    """

    def __init__(self) -> None:
        self._is_told = False

    def __call__(self, scene_map: SceneMap, played: Played) -> None:
        """Tell the map, if this keyframe shows two such places."""
        if self._is_told or len(played.mapped) < _AFTER_KEYFRAMES:
            return
        ends = _ends(scene_map, played)
        if ends is not None:
            scene_map.declare_distance(*ends)
            self._is_told = True


def _ends(scene_map: SceneMap, played: Played) -> tuple[F64, F64, float] | None:
    """Two places in the map's world (3,) and the true distance between them in metres."""
    seq = played.mapped[-1].tracked.seq
    view = scene_map.depth_view(keyframe_id(played.phone.name, seq))
    if view is None:
        return None
    mine = np.asarray(view.depth, np.float32)
    true = true_depth(played.phone, seq, view.intrinsics.width, view.intrinsics.height)
    if true is None:
        return None
    places = np.flatnonzero(_smooth(mine) & _smooth(true))
    if len(places) < 2:
        return None
    true_m = unproject(true, view.intrinsics).reshape(-1, 3)[places].astype(np.float64)
    lengths = np.linalg.norm(true_m[:, None] - true_m[None], axis=2)
    lengths[lengths > _LONGEST_M] = 0.0
    a, b = np.unravel_index(int(np.argmax(lengths)), lengths.shape)
    points = unproject(mine * np.float32(view.metres_per_unit), view.intrinsics).reshape(-1, 3)[places]
    in_world = points.astype(np.float64) @ view.world_from_camera[:3, :3].T + view.world_from_camera[:3, 3]
    clicked = [_on_surface(scene_map, view.world_from_camera[:3, 3], in_world[end]) for end in (a, b)]
    return clicked[0], clicked[1], float(lengths[a, b])


def _on_surface(scene_map: SceneMap, eye: F64, towards: F64) -> F64:
    """The point (3,) of the map's surface that lies under the finger; the keyframe's own where the map has none."""
    reach = _LOOK_BEYOND * (towards - eye)
    sight = scene_map.line_of_sight(eye, eye + reach)
    return towards if sight.blocker_m is None else eye + reach * (sight.blocker_m / sight.distance_m)


def _smooth(depth: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where (h, w) a pixel of a coarse grid and all its neighbours know about the same depth: no edge, no hole."""
    out = np.zeros(depth.shape, bool)
    around = np.stack([np.roll(depth, (dy, dx), (0, 1)) for dy in (-2, 0, 2) for dx in (-2, 0, 2)])
    low, high = around.min(axis=0), around.max(axis=0)
    fine = (low > 0) & (high < (1 + _SMOOTH) * low)
    out[_STEP_PX:-_STEP_PX:_STEP_PX, _STEP_PX:-_STEP_PX:_STEP_PX] = fine[
        _STEP_PX:-_STEP_PX:_STEP_PX, _STEP_PX:-_STEP_PX:_STEP_PX
    ]
    return out
