"""A bag-of-words tree of ORB descriptors in DBoW2's text format, trained on a clip in seconds.

ORB-SLAM3 does not start without one and its own is a download of 40 MB. Hierarchical k-means with majority votes for
centres (Galvez-Lopez and Tardos 2012), leaves weighted by inverse document frequency.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.clips import Clip

_BRANCHES, _LEVELS = 10, 4
_PICTURES, _PER_PICTURE = 60, 800
_ROUNDS = 5


def write_vocabulary(clip: Clip, path: Path) -> None:
    """Train on pictures spread over the clip and write `path`."""
    finder = cv2.ORB.create(_PER_PICTURE)
    found, picture = [], []
    for n, i in enumerate(range(0, len(clip.images), max(1, len(clip.images) // _PICTURES))):
        descriptors = finder.detectAndCompute(cv2.cvtColor(clip.rgb(i), cv2.COLOR_RGB2GRAY), None)[1]
        if descriptors is not None:
            found.append(descriptors)
            picture.append(np.full(len(descriptors), n))
    tree = _Tree(np.concatenate(found), np.concatenate(picture))
    tree.split(np.arange(len(tree.bits)), parent=0, level=1)
    path.write_text("\n".join([f"{_BRANCHES} {_LEVELS} 0 0", *tree.lines]) + "\n")


class _Tree:
    def __init__(self, descriptors: NDArray[np.uint8], picture: NDArray[np.int64]) -> None:
        self.bits = np.unpackbits(descriptors, axis=1).astype(np.float32) * 2 - 1
        self.picture, self.num_pictures = picture, int(picture.max()) + 1
        self.lines: list[str] = []
        self._rng = np.random.default_rng(0)

    def split(self, members: NDArray[np.int64], parent: int, level: int) -> None:
        """Write the children of a node, each followed by its own."""
        for inside in self._clusters(members):
            centre = self.bits[inside].sum(axis=0) > 0
            is_leaf = level == _LEVELS or len(inside) <= _BRANCHES
            weight = np.log(self.num_pictures / len(np.unique(self.picture[inside]))) if is_leaf else 0.0
            octets = " ".join(map(str, np.packbits(centre).tolist()))
            self.lines.append(f"{parent} {int(is_leaf)} {octets} {weight:.6f}")
            if not is_leaf:
                self.split(inside, len(self.lines), level + 1)

    def _clusters(self, members: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        points = self.bits[members]
        centres = points[self._rng.permutation(len(points))[:_BRANCHES]]
        nearest = np.zeros(len(points), np.int64)
        for _ in range(_ROUNDS):
            nearest = np.argmax(points @ centres.T, axis=1)
            centres = np.stack(
                [np.sign(points[nearest == c].sum(axis=0) + 0.5) if np.any(nearest == c) else centres[c]
                 for c in range(len(centres))]
            )  # fmt: skip
        return [members[nearest == c] for c in range(len(centres)) if np.any(nearest == c)]
