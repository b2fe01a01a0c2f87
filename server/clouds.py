"""Points of keyframes on their way to those who look: which are due, and what of them is out.

Adjustment moves every keyframe of its window a little, again and again; points are published anew only where somebody
could see the difference to those that are out, for they are most of what a scene writes and sends.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from mapping.changes import KeyframeId, stream_of
from mapping.kept import STILL_M, STILL_RAD, Fused
from mapping.scene_map import SceneMap
from server.bus import encode
from server.bus.encode import Publication, Removal


class Clouds:
    """Bound: one entry for each keyframe that the map keeps."""

    def __init__(self, map_: SceneMap, points_per_keyframe: int) -> None:
        self._map, self._max_points = map_, points_per_keyframe
        self._due: dict[KeyframeId, None] = {}
        self._out: dict[KeyframeId, Fused | None] = {}
        """As what each was published; None = in the epoch before."""

    def __bool__(self) -> bool:
        """Whether any are due."""
        return bool(self._due)

    def note(self, keyframes: Iterable[KeyframeId]) -> None:
        """These are new, or moved."""
        self._due |= dict.fromkeys(keyframe for keyframe in keyframes if self._is_news(keyframe))

    def start_afresh(self) -> None:
        """A new epoch began: whatever is out lies in the old world."""
        self._out = dict.fromkeys(self._out, None)

    def take(self, most: int) -> Iterator[Publication | Removal]:
        """Publish as many; those of keyframes that the map keeps no more are taken back, nobody could move them."""
        for keyframe in [keyframe for keyframe in self._out if not self._map.keeps(keyframe)]:
            del self._out[keyframe]
            yield Removal("points", (keyframe,))
        for keyframe in list(islice(self._due, most)):
            del self._due[keyframe]
            points = self._map.keyframe_points(keyframe, self._max_points)
            standing = self._map.standing(keyframe)
            if points is None or standing is None:
                continue
            self._out[keyframe] = standing
            yield encode.points(
                keyframe, stream_of(keyframe), standing.world_from_camera, points.points_camera_m, points.rgb
            )

    def _is_news(self, keyframe: KeyframeId) -> bool:
        out, now = self._out.get(keyframe), self._map.standing(keyframe)
        return out is None or now is None or now.is_apart(out, STILL_M, STILL_RAD)
