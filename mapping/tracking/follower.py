"""Staying tracked: each frame is posed against the landmarks of one local map, and the map grows as the camera moves on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from mapping.tracking import patches
from mapping.tracking.flow import F32, Pyramid, follow, fresh_corners
from mapping.tracking.lens import Lens
from mapping.tracking.local_map import I64, LocalMap, Node
from mapping.tracking.places import describe, solve
from mapping.tracking.pose import PoseFit, fit_pose, project
from mapping.tracking.starter import FirstMap
from mapping.tracking.view import View
from mapping.transforms import F64, angle_between
from mapping.two_view import ray_angles, stands


class FollowConfig(BaseModel):
    """Pixels are of the tracking image."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_features: int = 450
    inlier_px: float = 3.0
    min_inliers: int = 15
    min_inlier_share: float = 0.5
    max_position_sigma: float = 0.03
    """Largest standard deviation of the position for one pixel of noise, in median depths."""
    max_jump: float = 0.35
    """Largest step between two frames beyond the predicted one, in median depths."""
    min_correlation: float = 0.8
    node_baseline: float = 0.05
    """In median depths."""
    node_angle_deg: float = 5.0
    node_overlap: float = 0.8
    min_node_gap: int = 2
    """Frames between nodes, unless the overlap has fallen below `urgent_overlap`."""
    urgent_overlap: float = 0.65
    place_angle_deg: float = 1.0
    """Smallest angle between rays that gives a landmark its place."""
    reobserve: int = 60
    """Landmarks out of track that are looked for in every frame."""
    window: int = 10
    anchors: int = 12
    iterations: int = 6
    calibrate_at: tuple[int, ...] = (5, 7, 10, 14, 19, 25)
    """Numbers of nodes at which a guessed focal length is refined."""
    focal_sigma: float = 0.1
    """Relative uncertainty of a guessed focal length."""
    focal_trust: float = 0.03
    focal_range: float = 1.25
    """A focal length further than this factor from the guess is a sign of a wrong map, not of a strange lens."""


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """A frame that was posed."""

    fit: PoseFit
    node: int | None
    """Index of the node this frame became."""
    overlap: float
    parallax_rad: float
    corrected: dict[int, F64]
    """seq -> camera_from_map (3, 4) of nodes that moved."""


class Follower:
    """The tracked state of one component."""

    def __init__(self, first: FirstMap, view: View, config: FollowConfig, *, is_guess: bool) -> None:
        """`is_guess`: the focal length is refined while the map is small."""
        self.config = config
        self._proof_rad = 2.0 * first.start.parallax_rad  # parallax at which the start is judged again
        self.refuted = False
        """The first map turned out wrong; nothing that rests on it is to be believed."""
        self.map = LocalMap(first.focal_px)
        self._is_guess = is_guess
        self._velocity = np.zeros(3)  # per second, of the translation part of (camera now) from (camera before)
        self._since_node = 0
        self._look_offset = 0
        self._build(first)
        self._view = view

    def _build(self, first: FirstMap) -> None:
        good = first.start.good
        ids = self.map.add_landmarks(0, first.views[0].image, first.views[0].lens, first.pixels[0][good])
        for pose, past, pixels in zip(first.start.camera_from_map, first.views, first.pixels, strict=True):
            seen = pixels[good]
            described = describe(past.image.gray, seen)
            node = Node(
                past.seq, past.thumbnail, ids, past.lens.ideal(seen), described.descriptors, ids[described.corner]
            )
            self.map.add_node(node, pose)
        self.map.points[ids] = first.start.points[good]
        self.map.placed[ids] = True
        self._ids, self._pixels = ids, first.pixels[-1][good]
        last = first.views[-1]
        fresh = fresh_corners(last.image.gray, self._pixels, self.config.num_features - len(ids))
        self._adopt(len(first.views) - 1, last.image, last.lens, fresh)
        self._reference = len(first.views) - 1
        self._reference_ids = ids
        self.pose = self.map.poses[-1].copy()
        self.depth = 1.0  # median depth of what is tracked

    def first_step(self) -> Step:
        """The answer for the frame that completed the first map."""
        placed = self._ids[self.map.placed[self._ids]]
        newest = len(self.map.nodes) - 1
        parallax = float(np.median(ray_angles(self.map.points[placed], self.pose, self.map.poses[0])))
        fit = PoseFit(self.pose, np.ones(len(placed), np.bool_), np.zeros((6, 6)))
        poses = {node.seq: self.map.poses[k].copy() for k, node in enumerate(self.map.nodes[:newest])}
        return Step(fit, newest, 1.0, parallax, poses)

    def landmarks_of(self, node: int) -> F64:
        """(n, 3) places of the landmarks a node sees."""
        ids = self.map.nodes[node].landmarks
        return np.asarray(self.map.points[ids[self.map.placed[ids]]])

    # -- one frame -------------------------------------------------------------------------------------------------

    def step(self, view: View, turn: F64) -> Step | None:
        """Pose the next frame, or None when it cannot be trusted.

        Args:
            turn: (3, 3) guessed rotation from the previous frame's camera to this one's.
        """
        dt_s = min(max((view.capture_ns - self._view.capture_ns) * 1e-9, 1e-3), 1.0)
        predicted = self._predict(turn, dt_s)
        ids, pixels = self._flow(view, predicted)
        fit = self._fit(view, ids, pixels, predicted)
        if fit is None:
            return None
        keep = self._consistent(ids, fit)
        ids, pixels = ids[keep], pixels[keep]
        ids, pixels = self._reobserve(view, fit.camera_from_map, ids, pixels, self._budget(ids))
        placed = self.map.placed[ids]
        fit = fit_pose(
            fit.camera_from_map,
            self.map.points[ids[placed]],
            view.lens.ideal(pixels[placed]),
            self.map.focal_px,
            inlier_px=self.config.inlier_px,
        )
        if not self._trust(fit, predicted, int(np.count_nonzero(placed))):
            return None
        return self._settle(view, fit, ids, pixels, dt_s)

    def resume(self, view: View, guess: F64) -> Step | None:
        """Take up again at a pose found by other means, if the map's own patches confirm it."""
        ids, pixels = np.empty(0, np.int64), np.empty((0, 2), np.float32)
        ids, pixels = self._reobserve(view, guess, ids, pixels, 400)
        if len(ids) < self.config.min_inliers:
            return None
        fit = fit_pose(
            guess, self.map.points[ids], view.lens.ideal(pixels), self.map.focal_px, inlier_px=self.config.inlier_px
        )
        if not self._trust(fit, fit.camera_from_map, len(ids)):
            return None
        self._velocity[:] = 0.0
        ids, pixels = ids[fit.inlier], pixels[fit.inlier]
        self._since_node = self.config.min_node_gap
        return self._settle(view, fit, ids, pixels, None)

    def _predict(self, turn: F64, dt_s: float) -> F64:
        now_from_before = np.column_stack([turn, self._velocity * dt_s])
        return np.asarray(np.column_stack([turn @ self.pose[:, :3], turn @ self.pose[:, 3] + now_from_before[:, 3]]))

    def _flow(self, view: View, predicted: F64) -> tuple[I64, F32]:
        """Follow every track into the new image, seeded where the predicted pose puts it."""
        if not len(self._ids) or view.image.gray.shape != self._view.image.gray.shape:
            return np.empty(0, np.int64), np.empty((0, 2), np.float32)
        points = self.map.points[self._ids].copy()
        loose = ~self.map.placed[self._ids]
        ideal = self._view.lens.ideal(self._pixels)
        rays = np.column_stack([ideal[loose] / self.map.focal_px, np.ones(np.count_nonzero(loose))]) * self.depth
        points[loose] = (rays - self.pose[:, 3]) @ self.pose[:, :3]
        before, after = (project(pose, points, self.map.focal_px) for pose in (self.pose, predicted))
        shift = np.where((before[:, 2:] > 0) & (after[:, 2:] > 0), after[:, :2] - before[:, :2], 0.0)
        seeds = view.lens.pixels(ideal + shift)
        pixels, good = follow(self._view.image, view.image, self._pixels, seeds)
        return self._ids[good], pixels[good]

    def _fit(self, view: View, ids: I64, pixels: F32, predicted: F64) -> PoseFit | None:
        """Pose from tracks; by RANSAC when the prediction led astray; by the map's patches when the tracks are gone."""
        placed = self.map.placed[ids]
        points, ideal = self.map.points[ids[placed]], view.lens.ideal(pixels[placed])
        count = len(points)
        if count >= self.config.min_inliers:
            fit: PoseFit | None = fit_pose(predicted, points, ideal, self.map.focal_px, inlier_px=self.config.inlier_px)
            if fit is not None and self._trust(fit, predicted, count):
                return fit
            fit = solve(points, ideal, self.map.focal_px, min_inliers=self.config.min_inliers)
            if fit is not None and self._trust(fit, predicted, count):
                return fit
        return None

    def _trust(self, fit: PoseFit, predicted: F64, count: int) -> bool:
        """Enough landmarks agree, they pin the position down, and the camera has not jumped."""
        c = self.config
        if fit.inliers < c.min_inliers or fit.inliers < c.min_inlier_share * count:
            return False
        sigma = float(np.sqrt(np.trace(fit.covariance[:3, :3]))) / self.depth
        if not sigma < c.max_position_sigma:
            return False
        jump = np.linalg.norm(_centre(fit.camera_from_map) - _centre(predicted)) / self.depth
        return bool(jump < c.max_jump)

    def _consistent(self, ids: I64, fit: PoseFit) -> NDArray[np.bool_]:
        """Tracks to keep: loose ones, and landmarks where they should be."""
        keep = np.ones(len(ids), np.bool_)
        placed = np.flatnonzero(self.map.placed[ids])
        keep[placed] = fit.inlier
        self.map.misses[ids[placed]] += np.where(fit.inlier, -1, 2).astype(np.int16)
        np.clip(self.map.misses, -6, 12, out=self.map.misses)
        return keep

    def _reobserve(self, view: View, pose: F64, ids: I64, pixels: F32, most: int) -> tuple[I64, F32]:
        """Look for landmarks that should be in view but are not tracked, by their patches."""
        seen, seeds, warps = self.map.visible(pose, view.lens, ids)
        trusted = self.map.misses[seen] < 6
        seen, seeds, warps = seen[trusted], seeds[trusted], warps[trusted]
        if len(seen) > most:  # take turns
            pick = (np.arange(most) * len(seen) // most + self._look_offset) % len(seen)
            self._look_offset += 1
            seen, seeds, warps = seen[pick], seeds[pick], warps[pick]
        if not len(seen):
            return ids, pixels
        found, good = self._match(view, seen, seeds, warps, coarse=True)
        seen, found = seen[good], found[good]
        loose = np.flatnonzero(~self.map.placed[ids])
        if len(loose) and len(found):  # a loose track on top of a known landmark is that landmark
            near = np.linalg.norm(pixels[loose, None] - found[None], axis=2).min(axis=1) < 5.0
            keep = np.ones(len(ids), np.bool_)
            keep[loose[near]] = False
            ids, pixels = ids[keep], pixels[keep]
        return np.concatenate([ids, seen]), np.concatenate([pixels, found])

    def _budget(self, ids: I64) -> int:
        """How many landmarks to look for beyond the tracked ones: the fewer there are, the more."""
        tracked = int(np.count_nonzero(self.map.placed[ids]))
        return max(self.config.reobserve, self.config.num_features // 2 - tracked)

    def _match(self, view: View, ids: I64, seeds: F64, warps: F64, *, coarse: bool) -> tuple[F32, NDArray[np.bool_]]:
        found = np.empty((len(ids), 2))
        scores = patches.align(
            self.map.looks[ids],
            self.map.home_pixels[ids].astype(np.float64),
            warps,
            view.image.gray,
            view.image.half,
            seeds,
            coarse,
            found,
        )
        return found.astype(np.float32), scores > self.config.min_correlation

    def _settle(self, view: View, fit: PoseFit, ids: I64, pixels: F32, dt_s: float | None) -> Step:
        """Make the pose the current one; grow the map when the camera has moved on."""
        placed = np.flatnonzero(self.map.placed[ids])
        keep = np.ones(len(ids), np.bool_)
        keep[placed] = fit.inlier
        ids, pixels = ids[keep], pixels[keep]
        if dt_s is not None:
            now_from_before = (
                fit.camera_from_map[:, 3] - fit.camera_from_map[:, :3] @ self.pose[:, :3].T @ self.pose[:, 3]
            )
            self._velocity = 0.7 * now_from_before / dt_s + 0.3 * self._velocity
        self.pose = fit.camera_from_map.copy()
        self._ids, self._pixels, self._view = ids, pixels, view
        tracked = ids[self.map.placed[ids]]
        self.depth = float(np.median(project(self.pose, self.map.points[tracked], self.map.focal_px)[:, 2]))
        overlap = float(np.isin(self._reference_ids, tracked).mean()) if len(self._reference_ids) else 0.0
        parallax = float(np.median(ray_angles(self.map.points[tracked], self.pose, self.map.poses[self._reference])))
        self._since_node += 1
        if not self._wants_node(overlap):
            return Step(fit, None, overlap, parallax, {})
        node, corrected = self._add_node(view)
        return Step(fit, node, overlap, parallax, corrected)

    # -- growing ---------------------------------------------------------------------------------------------------

    def _wants_node(self, overlap: float) -> bool:
        c = self.config
        if self._since_node < c.min_node_gap and overlap > c.urgent_overlap:
            return False
        reference = self.map.poses[self._reference]
        baseline = np.linalg.norm(_centre(self.pose) - _centre(reference)) / self.depth
        turned = angle_between(self.pose[:, :3], reference[:, :3])
        return bool(baseline > c.node_baseline or turned > np.radians(c.node_angle_deg) or overlap < c.node_overlap)

    def _add_node(self, view: View) -> tuple[int, dict[int, F64]]:
        """Re-anchor the tracks, remember what is seen from here, place what two nodes now see, adjust."""
        c = self.config
        self._ids, self._pixels = self._reanchor(view)
        self._ids, self._pixels = self._reobserve(view, self.pose, self._ids, self._pixels, 3 * c.reobserve)
        placed = self.map.placed[self._ids]
        ideal = view.lens.ideal(self._pixels)
        fit = fit_pose(
            self.pose, self.map.points[self._ids[placed]], ideal[placed], self.map.focal_px, inlier_px=c.inlier_px
        )
        keep = np.ones(len(self._ids), np.bool_)
        keep[np.flatnonzero(placed)] = fit.inlier
        self._ids, self._pixels, ideal = self._ids[keep], self._pixels[keep], ideal[keep]
        loose = ~self.map.placed[self._ids]
        self.map.place_new(self._ids[loose], ideal[loose], fit.camera_from_map, np.radians(c.place_angle_deg), 2.0)
        described = describe(view.image.gray, self._pixels)
        node = Node(view.seq, view.thumbnail, self._ids, ideal, described.descriptors, self._ids[described.corner])
        index = self.map.add_node(node, fit.camera_from_map)
        before = self.map.poses.copy()
        if self._is_guess and index + 1 in c.calibrate_at:
            self.map.calibrate(iterations=15, focal_sigma=c.focal_sigma, trust_sigma=c.focal_trust)
            self.refuted |= not 1 / c.focal_range < self.map.focal_px / view.lens.focal_px < c.focal_range
            free = np.arange(index)
        else:
            free = self.map.adjust(index, window=c.window, anchors=c.anchors, iterations=c.iterations)
        self.pose = self.map.poses[index].copy()
        moved = {
            self.map.nodes[k].seq: self.map.poses[k].copy()
            for k in free.tolist()
            if k != index and not np.array_equal(before[k], self.map.poses[k])
        }
        still = np.isin(self._ids, self.map.nodes[index].landmarks)
        self._ids, self._pixels = self._ids[still], self._pixels[still]
        fresh = fresh_corners(view.image.gray, self._pixels, c.num_features - len(self._ids))
        self._adopt(index, view.image, view.lens, fresh)
        self._reference = index
        self._reference_ids = self._ids[self.map.placed[self._ids]]
        self._since_node = 0
        self._judge_start()
        return index, moved

    def _judge_start(self) -> None:
        """With more parallax than the start had, ask again whether another motion explains the tracks better."""
        if self._proof_rad > np.radians(12.0):
            return
        newest = len(self.map.nodes) - 1
        for oldest in range(newest - 1):
            shared = np.intersect1d(self.map.nodes[oldest].landmarks, self._reference_ids)
            if len(shared) >= 60:
                break
        else:
            return
        angles = ray_angles(self.map.points[shared], self.map.poses[oldest], self.map.poses[newest])
        if np.median(angles) < self._proof_rad:
            return
        self._proof_rad = 2.0 * float(np.median(angles))
        chosen = sorted(set(np.linspace(oldest, newest, 5).astype(int).tolist()))
        for k in chosen:
            shared = np.intersect1d(shared, self.map.nodes[k].landmarks)
        if len(shared) < 40:
            return
        views = []
        for k in chosen:
            order = np.argsort(self.map.nodes[k].landmarks)
            rows = order[np.searchsorted(self.map.nodes[k].landmarks, shared, sorter=order)]
            views.append(self.map.nodes[k].pixels[rows])
        self.refuted = not stands(np.stack(views), self.map.focal_px, self.map.poses[chosen])

    def _reanchor(self, view: View) -> tuple[I64, F32]:
        """Lay each landmark's own patch over the image: flow has drifted a little in every frame since."""
        unknown = np.setdiff1d(np.arange(self.map.num_landmarks), self._ids)
        ids, _, warps = self.map.visible(self.pose, view.lens, unknown)
        row = {int(i): r for r, i in enumerate(self._ids.tolist())}
        rows = np.array([row[int(i)] for i in ids], np.int64)
        pixels = self._pixels.copy()
        if not len(rows):
            return self._ids, pixels
        found, good = self._match(view, ids, self._pixels[rows].astype(np.float64), warps, coarse=False)
        good &= np.linalg.norm(found - self._pixels[rows], axis=1) < 2.5
        pixels[rows[good]] = found[good]
        return self._ids, pixels

    def _adopt(self, node: int, image: Pyramid, lens: Lens, fresh: F32) -> None:
        """Start tracks on fresh corners of a node's image."""
        ids = self.map.add_landmarks(node, image, lens, fresh)
        seen = self.map.nodes[node]
        seen.landmarks = np.concatenate([seen.landmarks, ids])
        seen.pixels = np.concatenate([seen.pixels, lens.ideal(fresh)])
        self._ids, self._pixels = np.concatenate([self._ids, ids]), np.concatenate([self._pixels, fresh])


def _centre(camera_from_map: F64) -> F64:
    return np.asarray(-camera_from_map[:, :3].T @ camera_from_map[:, 3])
