"""What one component knows: landmarks with their looks, and the nodes (key poses) that saw them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mapping.bundle import Bundle, adjust, centres
from mapping.tracking import patches
from mapping.tracking.flow import Pyramid
from mapping.tracking.lens import Lens
from mapping.tracking.turn import Thumbnail
from mapping.transforms import F64
from mapping.two_view import ray_angles, triangulate

I64 = NDArray[np.int64]


@dataclass(slots=True, eq=False)
class Node:
    """A key pose and what it saw."""

    seq: int
    thumbnail: Thumbnail
    landmarks: I64  # (n,) ids, placed or not
    pixels: F64  # (n, 2) ideal pixels of those
    descriptors: NDArray[np.uint8]  # (m, 32) ORB, for finding the place again
    described: I64  # (m,) the landmark each descriptor belongs to


@dataclass(slots=True, eq=False)
class LocalMap:
    """Grows by nodes; a landmark exists from its first sight but has a place only once two nodes saw it well apart."""

    focal_px: float
    nodes: list[Node] = field(default_factory=list)
    poses: F64 = field(default_factory=lambda: np.empty((0, 3, 4)))
    """(k, 3, 4) camera_from_map of the nodes."""
    num_landmarks: int = 0
    points: F64 = field(default_factory=lambda: np.zeros((1024, 3)))
    placed: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(1024, np.bool_))
    home: I64 = field(default_factory=lambda: np.zeros(1024, np.int64))
    """(cap,) the node each landmark was first seen from."""
    home_pixels: NDArray[np.float32] = field(default_factory=lambda: np.zeros((1024, 2), np.float32))
    home_scale: F64 = field(default_factory=lambda: np.ones(1024))
    """(cap,) image pixels per ideal pixel at home."""
    looks: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((1024, 2, patches.SIZE, patches.SIZE), np.uint8))
    misses: NDArray[np.int16] = field(default_factory=lambda: np.zeros(1024, np.int16))
    """(cap,) how often the landmark was found in the wrong place, less how often in the right one."""

    def add_node(self, node: Node, pose: F64) -> int:
        self.nodes.append(node)
        self.poses = np.concatenate([self.poses, pose[None]])
        return len(self.nodes) - 1

    def add_landmarks(self, node: int, image: Pyramid, lens: Lens, pixels: NDArray[np.float32]) -> I64:
        """Register new, not yet placed landmarks at OpenCV pixels (n, 2) of a node's image; returns their ids."""
        first, last = self.num_landmarks, self.num_landmarks + len(pixels)
        while last > len(self.points):
            self._grow()
        self.num_landmarks = last
        self.home[first:last] = node
        self.home_pixels[first:last] = pixels
        self.home_scale[first:last] = lens.intrinsics.fx / lens.focal_px
        self.looks[first:last] = patches.cut(image.gray, image.half, pixels)
        return np.arange(first, last)

    def place_new(self, ids: I64, pixels: F64, pose: F64, min_angle_rad: float, max_error_px: float) -> I64:
        """Triangulate unplaced landmarks, seen at ideal pixels (n, 2) from `pose`, against their homes; returns the placed."""
        done = []
        home = self.home[ids]
        for k in np.unique(home).tolist():
            mine = np.flatnonzero(home == k)
            node = self.nodes[k]
            order = np.argsort(node.landmarks)
            at = np.searchsorted(node.landmarks, ids[mine], sorter=order)
            row = order[np.minimum(at, len(order) - 1)]
            known = node.landmarks[row] == ids[mine]
            mine, row = mine[known], row[known]
            if not len(mine):
                continue
            points = triangulate(self.poses[k], pose, node.pixels[row], pixels[mine], self.focal_px)
            points[ray_angles(points, self.poses[k], pose) < min_angle_rad] = np.nan
            good = np.isfinite(points[:, 0])
            for camera, seen in ((self.poses[k], node.pixels[row]), (pose, pixels[mine])):
                local = points @ camera[:, :3].T + camera[:, 3]
                with np.errstate(invalid="ignore", divide="ignore"):
                    error = np.linalg.norm(self.focal_px * local[:, :2] / local[:, 2:] - seen, axis=1)
                    good &= (error < max_error_px) & (local[:, 2] > 0)
            self.points[ids[mine[good]]] = points[good]
            self.placed[ids[mine[good]]] = True
            done.append(ids[mine[good]])
        return np.concatenate(done) if done else np.empty(0, np.int64)

    def covisible(self, ids: I64) -> I64:
        """(k,) how many of these landmarks each node sees."""
        wanted = np.zeros(self.num_landmarks, np.bool_)
        wanted[ids] = True
        return np.array([int(np.count_nonzero(wanted[n.landmarks])) for n in self.nodes], np.int64)

    def adjust(self, newest: int, *, window: int, anchors: int, iterations: int) -> I64:
        """Bundle-adjust the nodes around the newest one; outlying observations are forgotten.

        Returns:
            The nodes that were free to move.
        """
        free, fixed = self._neighbourhood(newest, window, anchors)
        if not len(free):
            return free
        self._adjust(free, fixed, iterations, 0.0)
        return free

    def calibrate(self, *, iterations: int, focal_sigma: float, trust_sigma: float) -> bool:
        """Adjust every node together with the focal length, whose prior is what it is now, give or take `focal_sigma`.

        Returns:
            Whether the tracks fixed the focal length to better than `trust_sigma` (relative); if not, nothing changed.
        """
        before = self.poses.copy(), self.points.copy(), self.placed.copy(), self.focal_px
        free, fixed = np.arange(1, len(self.nodes)), np.zeros(1, np.int64)
        sigma = self._adjust(free, fixed, iterations, focal_sigma) / self.focal_px
        if sigma < trust_sigma:
            return True
        self.poses, self.points, self.placed, self.focal_px = before
        return False

    def _neighbourhood(self, newest: int, window: int, anchors: int) -> tuple[I64, I64]:
        """Nodes to move (those that share most with the newest, the recent path always) and nodes to hold still."""
        shared = self.covisible(self._placed_of(newest))
        shared[max(0, newest - window // 2) : newest + 1] += 10**6  # the recent path always takes part
        ranked = np.argsort(-shared, kind="stable")
        free = ranked[:window][shared[ranked[:window]] > 10]
        ids = np.unique(np.concatenate([self._placed_of(int(k)) for k in free]))
        seen = self.covisible(ids)
        seen[free] = -1
        rest = np.argsort(-seen, kind="stable")
        fixed = rest[:anchors][seen[rest[:anchors]] > 10]
        if not len(fixed):  # the whole map moves: its oldest node holds the gauge
            fixed = np.array([free.min()])
            free = free[free != fixed[0]]
        return free, fixed

    def _adjust(self, free: I64, fixed: I64, iterations: int, focal_sigma: float) -> float:
        ids = np.unique(np.concatenate([self._placed_of(int(k)) for k in free]))
        chosen = np.concatenate([free, fixed])
        is_free = np.arange(len(chosen)) < len(free)
        slot = np.full(self.num_landmarks, -1, np.int64)
        slot[ids] = np.arange(len(ids))
        cameras, points, pixels, rows = [], [], [], []
        for c, k in enumerate(chosen.tolist()):
            keep = np.flatnonzero(slot[self.nodes[k].landmarks] >= 0)
            rows.append(keep)
            cameras.append(np.full(len(keep), c))
            points.append(slot[self.nodes[k].landmarks[keep]])
            pixels.append(self.nodes[k].pixels[keep])
        bundle = Bundle(
            self.poses[chosen],
            self.points[ids],
            np.concatenate(cameras),
            np.concatenate(points),
            np.concatenate(pixels),
            self.focal_px,
        )
        result = adjust(bundle, is_free, iterations=iterations, focal_prior_sigma=focal_sigma)
        self.poses[chosen] = result.camera_from_map
        self.points[ids] = result.points
        self.focal_px = result.focal_px
        self._forget(chosen, rows, result.squared_error_px2, ids)
        return result.focal_sigma_px

    def visible(self, pose: F64, lens: Lens, known: I64) -> tuple[I64, F64, F64]:
        """Landmarks (n,) that `pose` should see beyond the known ones, their OpenCV pixels (n, 2) and patch warps (n, 2, 2)."""
        size = self.num_landmarks
        skip = ~self.placed[:size]
        skip[known] = True
        k = lens.intrinsics
        reach = np.array([k.width / k.fx, k.height / k.fy]) * 0.5 * self.focal_px + 20.0
        ids, ideal, warps = _look(pose, self.points[:size], skip, self.poses, self.home[:size], self.focal_px, reach)
        pixels = lens.pixels(ideal).astype(np.float64)
        inside = (pixels > 8).all(axis=1) & (pixels[:, 0] < k.width - 9) & (pixels[:, 1] < k.height - 9)
        scale = self.home_scale[ids] / (k.fx / lens.focal_px)
        warps = warps * scale[:, None, None]
        return ids[inside], pixels[inside], warps[inside]

    def centre(self, node: int) -> F64:
        """(3,) where a node's camera is."""
        return np.asarray(centres(self.poses[node : node + 1])[0])

    def _placed_of(self, node: int) -> I64:
        ids = self.nodes[node].landmarks
        return ids[self.placed[ids]]

    def _forget(self, chosen: I64, rows: list[I64], error2: F64, ids: I64) -> None:
        """Drop observations more than 3 px off, and the places of landmarks that fewer than two nodes still support."""
        start = 0
        for k, keep in zip(chosen.tolist(), rows, strict=True):
            bad = keep[error2[start : start + len(keep)] > 9.0]
            start += len(keep)
            if len(bad):
                node = self.nodes[k]
                node.landmarks, node.pixels = np.delete(node.landmarks, bad), np.delete(node.pixels, bad, axis=0)
        support = np.zeros(self.num_landmarks, np.int64)
        for node in self.nodes:
            support[node.landmarks] += 1
        self.placed[ids[support[ids] < 2]] = False

    def _grow(self) -> None:
        for name in ("points", "placed", "home", "home_pixels", "home_scale", "looks", "misses"):
            array = getattr(self, name)
            setattr(self, name, np.concatenate([array, np.zeros_like(array)]))


@njit(cache=True, nogil=True)
def _look(
    pose: F64, points: F64, skip: NDArray[np.bool_], poses: F64, home: I64, focal: float, reach: F64
) -> tuple[I64, F64, F64]:
    """Project landmarks; keep those in view, from a direction and distance from which their patch still looks the same."""
    ids = np.empty(len(points), np.int64)
    ideal, warps = np.empty((len(points), 2)), np.empty((len(points), 2, 2))
    n = 0
    p, q = np.empty(3), np.empty(3)
    for i in range(len(points)):
        if skip[i]:
            continue
        for r in range(3):
            p[r] = pose[r, 0] * points[i, 0] + pose[r, 1] * points[i, 1] + pose[r, 2] * points[i, 2] + pose[r, 3]
        if p[2] <= 1e-6:
            continue
        u, v = focal * p[0] / p[2], focal * p[1] / p[2]
        if not (abs(u) < reach[0] and abs(v) < reach[1]):
            continue
        h = poses[home[i]]
        for r in range(3):
            q[r] = h[r, 0] * points[i, 0] + h[r, 1] * points[i, 1] + h[r, 2] * points[i, 2] + h[r, 3]
        if q[2] <= 1e-6 or not 0.5 < p[2] / q[2] < 2.0:
            continue
        # Cosine between both viewing rays, in map axes: p in camera -> R^T p.
        dot, pp, qq = 0.0, 0.0, 0.0
        for r in range(3):
            a = pose[0, r] * p[0] + pose[1, r] * p[1] + pose[2, r] * p[2]
            b = h[0, r] * q[0] + h[1, r] * q[1] + h[2, r] * q[2]
            dot += a * b
            pp += a * a
            qq += b * b
        if dot < 0.6 * np.sqrt(pp * qq):
            continue
        # A small step at home, on the plane that faces the home camera, and where it lands here.
        d = q[2] / focal
        j = np.empty((2, 2))
        for axis in range(2):
            s0, s1, s2 = h[axis, 0] * d, h[axis, 1] * d, h[axis, 2] * d
            dx = pose[0, 0] * s0 + pose[0, 1] * s1 + pose[0, 2] * s2
            dy = pose[1, 0] * s0 + pose[1, 1] * s1 + pose[1, 2] * s2
            dz = pose[2, 0] * s0 + pose[2, 1] * s1 + pose[2, 2] * s2
            j[0, axis] = focal * (dx - p[0] / p[2] * dz) / p[2]
            j[1, axis] = focal * (dy - p[1] / p[2] * dz) / p[2]
        det = j[0, 0] * j[1, 1] - j[0, 1] * j[1, 0]
        if not 0.2 < det < 5.0:
            continue
        ids[n] = i
        ideal[n, 0], ideal[n, 1] = u, v
        warps[n, 0, 0], warps[n, 0, 1] = j[1, 1] / det, -j[0, 1] / det
        warps[n, 1, 0], warps[n, 1, 1] = -j[1, 0] / det, j[0, 0] / det
        n += 1
    return ids[:n], ideal[:n], warps[:n]


def warm_up() -> None:
    """Compile the kernels."""
    poses = np.eye(3, 4)[None].copy()
    _look(poses[0], np.array([[0.0, 0.0, 2.0]]), np.zeros(1, np.bool_), poses, np.zeros(1, np.int64), 500.0, np.ones(2))
