"""Markers of which several prints hang: who sees one cannot know which, and two taken for one tell nonsense."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence

_log = logging.getLogger(__name__)

_NUM_ALONE = 48
"""After so many pictures that show one print only, the other is taken to be gone."""


class Twins:
    """Remembers which markers were seen twice in one picture, by any phone."""

    def __init__(self) -> None:
        self._doubted: dict[int, int] = {}
        """Marker -> in how many pictures it has to be seen alone before it is believed again."""

    def believed(self, seen: Sequence[int]) -> set[int]:
        """Which of the markers in one picture are believed; one that appears twice says that neither can be.

        Args:
            seen: every marker in the picture, once for each print, the small and the skew ones, too.
        """
        believed = set()
        for marker, num in Counter(seen).items():
            if num > 1:
                self._doubt(marker)
            elif (left := self._doubted.get(marker, 0)) > 1:
                self._doubted[marker] = left - 1
            else:
                self._doubted.pop(marker, None)
                believed.add(marker)
        return believed

    def _doubt(self, marker: int) -> None:
        if marker not in self._doubted:
            _log.warning("marker %d hangs twice: it is not believed while that is so; print each id once", marker)
        self._doubted[marker] = _NUM_ALONE
