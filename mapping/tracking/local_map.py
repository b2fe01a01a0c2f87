"""What one component knows: landmarks with their looks, and the nodes (key poses) that saw them. Bounded in memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mapping.tracking import patches
from mapping.tracking.flow import F32, Pyramid
from mapping.tracking.lens import Lens
from mapping.tracking.turn import Thumbnail
from mapping.tracking.two_view import ray_angles, triangulate
from mapping.tracking.visibility import look
from mapping.transforms import F64

I64 = NDArray[np.int64]

_RECENT = 20  # nodes that are never forgotten


@dataclass(slots=True, eq=False)
class Node:
    """A key pose and what it saw; a forgotten node keeps nothing but its place in the list."""

    seq: int
    thumbnail: Thumbnail | None
    landmarks: I64  # (n,) ids, placed or not
    pixels: F64  # (n, 2) ideal pixels of those
    descriptors: NDArray[np.uint8]  # (m, 32) ORB, for finding the place again
    described: I64  # (m,) the landmark each descriptor belongs to

    def rows(self, ids: I64) -> I64:
        """Where landmarks (n,) stand among this node's own; -1 where it does not see one."""
        if not len(self.landmarks):
            return np.full(len(ids), -1)
        order = np.argsort(self.landmarks)
        found = order[np.minimum(np.searchsorted(self.landmarks, ids, sorter=order), len(order) - 1)]
        return np.asarray(np.where(self.landmarks[found] == ids, found, -1))


class LocalMap:
    """A landmark exists from its first sight, but has a place only once two nodes saw it from well apart."""

    def __init__(self, focal_px: float, max_nodes: int) -> None:
        self.focal_px = focal_px
        self.nodes: list[Node] = []
        self.poses: F64 = np.empty((0, 3, 4))  # camera_from_map of the nodes
        self._max_nodes = max_nodes
        self._used = 0  # landmark slots ever used
        self._free: list[int] = []  # slots to use again
        capacity = 1024
        self.points: F64 = np.zeros((capacity, 3))
        self.placed: NDArray[np.bool_] = np.zeros(capacity, np.bool_)
        self.home: I64 = np.zeros(capacity, np.int64)  # the node each landmark was first seen from
        self.home_pixels: F32 = np.zeros((capacity, 2), np.float32)  # where, in OpenCV pixels
        self.home_scale: F64 = np.ones(capacity)  # image pixels per ideal pixel at home
        self.looks: NDArray[np.uint8] = np.zeros((capacity, 2, patches.SIZE, patches.SIZE), np.uint8)
        self.misses: NDArray[np.int16] = np.zeros(capacity, np.int16)  # found out of place, less found in place

    @property
    def capacity(self) -> int:
        """Landmark ids are below this."""
        return len(self.points)

    def add_node(self, node: Node, pose: F64) -> int:
        """Append a key pose (3, 4); returns its index."""
        self.nodes.append(node)
        self.poses = np.concatenate([self.poses, pose[None]])
        return len(self.nodes) - 1

    def add_landmarks(self, node: int, image: Pyramid, lens: Lens, pixels: F32) -> I64:
        """Register new, unplaced landmarks at OpenCV pixels (n, 2) of a node's image; returns their ids, ascending."""
        ids = np.array(sorted(self._take(len(pixels))), np.int64)
        self.placed[ids] = False
        self.misses[ids] = 0
        self.home[ids] = node
        self.home_pixels[ids] = pixels
        self.home_scale[ids] = lens.intrinsics.fx / lens.focal_px
        self.looks[ids] = patches.cut(image.gray, image.half, pixels)
        return ids

    def place_new(self, ids: I64, pixels: F64, pose: F64, min_angle_rad: float, max_error_px: float) -> None:
        """Triangulate unplaced landmarks, seen at ideal pixels (n, 2) from `pose`, where rays meet well."""
        for k in np.unique(self.home[ids]).tolist():
            mine = np.flatnonzero(self.home[ids] == k)
            rows = self.nodes[k].rows(ids[mine])
            mine, rows = mine[rows >= 0], rows[rows >= 0]
            if not len(mine):
                continue
            before = self.nodes[k].pixels[rows]
            points = triangulate(self.poses[k], pose, before, pixels[mine], self.focal_px)
            with np.errstate(invalid="ignore", divide="ignore"):
                good = ray_angles(points, self.poses[k], pose) >= min_angle_rad
                for camera, seen in ((self.poses[k], before), (pose, pixels[mine])):
                    local = points @ camera[:, :3].T + camera[:, 3]
                    error = np.linalg.norm(self.focal_px * local[:, :2] / local[:, 2:] - seen, axis=1)
                    good &= (error < max_error_px) & (local[:, 2] > 0)
            self.points[ids[mine[good]]] = points[good]
            self.placed[ids[mine[good]]] = True

    def placed_of(self, node: int) -> I64:
        """Ids of the placed landmarks a node sees."""
        ids = self.nodes[node].landmarks
        return np.asarray(ids[self.placed[ids]])

    def covisible(self, ids: I64) -> I64:
        """(k,) how many of these landmarks each node sees."""
        wanted = np.zeros(self.capacity, np.bool_)
        wanted[ids] = True
        return np.array([int(np.count_nonzero(wanted[n.landmarks])) for n in self.nodes], np.int64)

    def visible(self, pose: F64, lens: Lens, skip: NDArray[np.bool_]) -> tuple[I64, F64, F64]:
        """Placed landmarks (n,) that `pose` should see, their OpenCV pixels (n, 2) and patch warps (n, 2, 2).

        `skip` (capacity,) marks landmarks that are of no interest.
        """
        k = lens.intrinsics
        reach = np.array([k.width / k.fx, k.height / k.fy]) * 0.5 * lens.focal_px + 20.0
        ids, ideal, warps = look(pose, self.points, skip | ~self.placed, self.poses, self.home, self.focal_px, reach)
        pixels = lens.pixels(ideal).astype(np.float64)
        inside = (pixels > 8).all(axis=1) & (pixels[:, 0] < k.width - 9) & (pixels[:, 1] < k.height - 9)
        ids, pixels = ids[inside], pixels[inside]
        warps = warps[inside] * (self.home_scale[ids] * lens.focal_px / k.fx)[:, None, None]
        return ids, pixels, warps

    def forget(self, tracked: I64) -> None:
        """Keep within `max_nodes`: empty the node whose landmarks others see most; reuse what nobody sees any more."""
        alive = [k for k, node in enumerate(self.nodes) if node.thumbnail is not None]
        if len(alive) <= self._max_nodes:
            return
        support = self.support()
        candidates = alive[1:-_RECENT]
        shares = [float(np.mean(support[ids] > 2)) if len(ids := self.placed_of(k)) else 1.0 for k in candidates]
        node = self.nodes[candidates[int(np.argmax(shares))]]
        dropped = node.landmarks
        node.thumbnail, node.landmarks, node.pixels = None, np.empty(0, np.int64), np.empty((0, 2))
        node.descriptors, node.described = np.empty((0, 32), np.uint8), np.empty(0, np.int64)
        support[dropped] -= 1
        support[tracked] += 1
        gone = dropped[support[dropped] <= 0]
        self.placed[gone] = False
        for other in self.nodes:  # descriptors of a landmark that is no more would name its successor
            if len(other.described):
                stale = np.isin(other.described, gone)
                other.descriptors, other.described = other.descriptors[~stale], other.described[~stale]
        self._free.extend(gone.tolist())

    def support(self) -> I64:
        """(capacity,) how many nodes see each landmark."""
        seen = [node.landmarks for node in self.nodes if len(node.landmarks)]
        return np.bincount(np.concatenate(seen), minlength=self.capacity) if seen else np.zeros(self.capacity, np.int64)

    def _take(self, count: int) -> list[int]:
        """Free landmark slots."""
        again = [self._free.pop() for _ in range(min(count, len(self._free)))]
        first = self._used
        self._used += count - len(again)
        while self._used > self.capacity:
            self._grow()
        return again + list(range(first, self._used))

    def _grow(self) -> None:
        for name in ("points", "placed", "home", "home_pixels", "home_scale", "looks", "misses"):
            array = getattr(self, name)
            setattr(self, name, np.concatenate([array, np.zeros_like(array)]))
