"""What one component knows: landmarks with their looks, and the nodes (key poses) that saw them. Bounded in memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mapping.tracking import patches, triangulation
from mapping.tracking.flow import F32, Pyramid
from mapping.tracking.lens import Lens
from mapping.tracking.turn import Thumbnail
from mapping.tracking.visibility import look
from mapping.transforms import F64

I64 = NDArray[np.int64]

_RECENT = 20  # nodes that are never forgotten


@dataclass(slots=True, eq=False)
class Node:
    """A key pose and what it saw. A forgotten node keeps its pose only, while landmarks remain that it saw first."""

    seq: int
    thumbnail: Thumbnail | None
    landmarks: I64  # (n,) ids, placed or not
    pixels: F64  # (n, 2) ideal pixels of those
    descriptors: NDArray[np.uint8]  # (m, 32) ORB, for finding the place again
    described: I64  # (m,) the landmark each descriptor belongs to

    def pixels_of(self, ids: I64) -> F64:
        """Where this node sees landmarks (n,): ideal pixels (n, 2), NaN for those it does not see."""
        out = np.full((len(ids), 2), np.nan)
        row_of = np.full(1 + max(self.landmarks.max(initial=0), ids.max(initial=0)), -1)
        row_of[self.landmarks] = np.arange(len(self.landmarks))
        rows = row_of[ids]
        out[rows >= 0] = self.pixels[rows[rows >= 0]]
        return out


class LocalMap:
    """A landmark exists from its first sight, but has a place only once two nodes saw it from well apart."""

    def __init__(self, focal_px: float, max_nodes: int) -> None:
        self.focal_px = focal_px
        self.focal_sigma = float("inf")  # relative; of the last calibration that was believed
        self.nodes: list[Node] = []
        self.poses: F64 = np.empty((0, 3, 4))  # camera_from_map of the nodes
        self._max_nodes = max_nodes
        capacity = 1024
        self._used: NDArray[np.bool_] = np.zeros(capacity, np.bool_)
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
        ids = self._take(len(pixels))
        self.placed[ids] = False
        self.misses[ids] = 0
        self.home[ids] = node
        self.home_pixels[ids] = pixels
        self.home_scale[ids] = lens.intrinsics.fx / lens.focal_px
        self.looks[ids] = patches.cut(image.gray, image.half, pixels)
        return ids

    def place_new(self, ids: I64, pixels: F64, pose: F64, min_angle_rad: float, max_error_px: float) -> None:
        """Triangulate unplaced landmarks, seen at ideal pixels (n, 2) from `pose`, where rays meet well."""
        homes = self.home[ids]
        at_home = np.full((len(ids), 2), np.nan)
        for k in set(homes.tolist()):
            mine = homes == k
            at_home[mine] = self.nodes[k].pixels_of(ids[mine])
        known = np.flatnonzero(np.isfinite(at_home[:, 0]))
        points = np.empty((len(known), 3))
        good = triangulation.place(
            self.poses[homes[known]],
            at_home[known],
            pose,
            pixels[known],
            self.focal_px,
            min_angle_rad,
            max_error_px,
            points,
        )
        self.points[ids[known[good]]] = points[good]
        self.placed[ids[known[good]]] = True

    def placed_of(self, node: int) -> I64:
        """Ids of the placed landmarks a node sees."""
        ids = self.nodes[node].landmarks
        return np.asarray(ids[self.placed[ids]])

    def covisible(self, ids: I64) -> I64:
        """(k,) how many of these landmarks each node sees."""
        wanted = np.zeros(self.capacity, np.bool_)
        wanted[ids] = True
        seen, node = self._sightings()
        return np.bincount(node[wanted[seen]], minlength=len(self.nodes))

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

    def forget(self, tracked: I64) -> NDArray[np.bool_]:
        """Keep within bounds: empty the node whose landmarks others see most; reuse what nobody sees any more.

        Node numbers change; the newest node stays the last.

        Args:
            tracked: (n,) landmarks that stay, whether a node sees them or not.

        Returns:
            (n,) which of those stay all the same; the others lost the node that they had their looks from.
        """
        alive = [k for k, node in enumerate(self.nodes) if node.thumbnail is not None]
        support = self.support()
        if len(alive) > self._max_nodes:
            shared = support > 2
            candidates = alive[1:-_RECENT]
            shares = [float(np.mean(shared[ids])) if len(ids := self.placed_of(k)) else 1.0 for k in candidates]
            node = self.nodes[candidates[int(np.argmax(shares))]]
            support[node.landmarks] -= 1
            node.thumbnail, node.landmarks, node.pixels = None, np.empty(0, np.int64), np.empty((0, 2))
            node.descriptors, node.described = np.empty((0, 32), np.uint8), np.empty(0, np.int64)
        support[tracked] += 1
        if len(self.nodes) > 2 * self._max_nodes:
            support[self._drop_forgotten()] = 0
        gone = self._used & (support <= 0)
        self._release(gone)
        return np.asarray(~gone[tracked])

    def _drop_forgotten(self) -> NDArray[np.bool_]:
        """Take forgotten nodes out of the list; returns the landmarks (capacity,) that lose their looks by that."""
        at_home = np.bincount(self.home[self._used], minlength=len(self.nodes))
        forgotten = np.array([node.thumbnail is None for node in self.nodes])
        least = at_home[forgotten].min()
        keep = ~forgotten | (at_home > least)
        homeless = self._used & ~keep[self.home]
        self.nodes = [node for node, kept in zip(self.nodes, keep, strict=True) if kept]
        self.poses = self.poses[keep]
        self.home = np.where(self._used & ~homeless, (np.cumsum(keep) - 1)[self.home], 0)
        return np.asarray(homeless)

    def _release(self, gone: NDArray[np.bool_]) -> None:
        """Free the slots (capacity,) of landmarks; nobody may go on naming them."""
        if not gone.any():
            return
        self.placed[gone] = self._used[gone] = False
        for node in self.nodes:
            if len(node.landmarks) and (stale := gone[node.landmarks]).any():
                node.landmarks, node.pixels = node.landmarks[~stale], node.pixels[~stale]
            if len(node.described) and (stale := gone[node.described]).any():
                node.descriptors, node.described = node.descriptors[~stale], node.described[~stale]

    def support(self) -> I64:
        """(capacity,) how many nodes see each landmark."""
        return np.bincount(self._sightings()[0], minlength=self.capacity)

    def _sightings(self) -> tuple[I64, I64]:
        """Every sighting (n,) by landmark, and the node whose it is."""
        counts = [len(node.landmarks) for node in self.nodes]
        seen = np.concatenate([node.landmarks for node in self.nodes])
        return seen, np.repeat(np.arange(len(counts)), counts)

    def _take(self, count: int) -> I64:
        """Free landmark slots, ascending."""
        while np.count_nonzero(~self._used) < count:
            self._grow()
        ids = np.flatnonzero(~self._used)[:count]
        self._used[ids] = True
        return ids

    def _grow(self) -> None:
        for name in ("points", "placed", "home", "home_pixels", "home_scale", "looks", "misses", "_used"):
            array = getattr(self, name)
            setattr(self, name, np.concatenate([array, np.zeros_like(array)]))
