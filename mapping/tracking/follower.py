"""Staying tracked: each frame is posed against the landmarks of one local map, which grows as the camera moves on."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from pydantic import BaseModel, ConfigDict

from mapping.tracking.beginning import Begun, Waited
from mapping.tracking.finding import reobserve
from mapping.tracking.flow import follow
from mapping.tracking.growing import GrowConfig, add_node
from mapping.tracking.places import solve
from mapping.tracking.pose import PoseFit, fit_pose, project
from mapping.tracking.proof import Proof
from mapping.tracking.tracks import Tracks
from mapping.tracking.triangulation import ray_angles
from mapping.tracking.view import View, seconds_between
from mapping.transforms import F64, angle_between


class FollowConfig(BaseModel):
    """Pixels are of the tracking image; lengths are in median depths of what is tracked."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_inliers: int = 15
    min_inliers_unproven: int = 30
    """The same while the first map has not stood a second look (see `proof`)."""
    min_inlier_share: float = 0.5
    max_position_sigma: float = 0.01
    """Largest standard deviation of the position for one pixel of noise."""
    max_jump: float = 0.35
    """Largest distance from the predicted position."""
    node_baseline: float = 0.05
    node_angle_deg: float = 5.0
    node_overlap: float = 0.8
    search: int = 60
    """Landmarks out of track that are looked for in every frame; more when few are tracked."""
    reckon_for_s: float = 1.0
    """How long a lost camera is looked for around where it was, turned as it has turned since."""
    bridge_for_s: float = 0.25
    """How long a gyro may carry the pose while no landmark is recognised."""
    regain_inliers: int = 20
    """Landmarks that must agree when flow broke off."""
    focal_range: float = 1.25
    """A focal length further than this factor from the guess is a sign of a wrong map, not of a strange lens."""
    grow: GrowConfig = GrowConfig()


_SEARCH = 400  # landmarks looked for when none is in track


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """A frame that was posed."""

    camera_from_map: F64  # (3, 4)
    inliers: int
    overlap: float
    parallax_rad: float
    is_news: bool = False
    """The camera has moved on: `grow` makes this frame a node."""
    node: int | None = None
    """Index of the node this frame became."""
    moved: dict[int, F64] = field(default_factory=dict)
    """seq -> camera_from_map (3, 4) of nodes that moved."""
    waited: tuple[Waited, ...] = ()
    """Frames that had to wait for the first map."""


class Follower:
    """The tracked state of one component."""

    def __init__(self, begun: Begun, config: FollowConfig, *, is_guess: bool) -> None:
        """`is_guess`: nobody told the focal length, so it is refined while the map is small."""
        self.config = config
        self.map, self._tracks, self._waited = begun.map, begun.tracks, begun.waited
        self.pose: F64 = self.map.poses[-1].copy()  # camera_from_map of the newest frame
        self.refuted = False
        """The map turned out to rest on a wrong start; nothing in it is to be believed."""
        self._view = begun.view
        self._seen_ns = self._view.capture_ns  # when landmarks were last recognised
        self._reckoned = self.pose
        self._is_guess = is_guess
        self._proof = Proof(begun.parallax_rad)
        self._velocity = np.zeros(3)  # per second: translation of (camera now) from (camera before)
        self._depth = 1.0  # median depth of what is tracked
        self._turn = 0
        self._refer_to(len(self.map.nodes) - 1)

    def first_step(self) -> Step:
        """The answer for the frame that completed the first map."""
        newest = len(self.map.nodes) - 1
        earlier = {node.seq: self.map.poses[k].copy() for k, node in enumerate(self.map.nodes[:newest])}
        parallax = ray_angles(self.map.points[self._reference_ids], self.pose, self.map.poses[0])
        waited, self._waited = self._waited, ()
        parallax_rad = float(np.median(parallax))
        return Step(self.pose, len(self._reference_ids), 1.0, parallax_rad, False, newest, earlier, waited)

    def step(self, view: View, turned: F64) -> Step | None:
        """Pose the next frame, or None when it cannot be trusted.

        Args:
            turned: (3, 3) guessed rotation from the previous frame's camera to this one's.
        """
        dt_s = seconds_between(self._view, view)
        predicted = np.column_stack([turned @ self.pose[:, :3], turned @ self.pose[:, 3] + self._velocity * dt_s])
        followed = self._flow(view, predicted)
        found = self._by_flow(view, followed, predicted) or self._by_looks(view, followed, predicted)
        if found is None:
            self._reckoned = predicted
            return None
        fit, tracks = found
        moved = fit.camera_from_map[:, 3] - fit.camera_from_map[:, :3] @ self.pose[:, :3].T @ self.pose[:, 3]
        self._velocity = 0.7 * moved / dt_s + 0.3 * self._velocity
        return self._accept(view, fit, self._settle(tracks, fit))

    def grow(self, step: Step) -> Step:
        """Make the frame that was just posed a node: what it sees becomes landmarks, the map around it is adjusted."""
        grown = add_node(self.map, self._view, self.pose, self._tracks, self.config.grow, is_guess=self._is_guess)
        self._tracks, self.pose = grown.tracks, self.map.poses[grown.node].copy()
        self._refer_to(grown.node)
        zoom = self.map.focal_px / self._view.lens.focal_px
        self.refuted |= not 1 / self.config.focal_range < zoom < self.config.focal_range
        self.refuted |= self._proof.refutes(self.map, self._reference_ids)
        return replace(step, camera_from_map=self.pose, is_news=False, node=grown.node, moved=grown.moved)

    def bridge(self, view: View, measured: F64) -> Step | None:
        """Nothing was recognised, but the turn (3, 3) since the previous frame was measured: go on, for a moment.

        Without landmarks the place is only the motion carried on, so this ends after `bridge_for_s`.
        """
        since_ns = view.capture_ns - self._seen_ns
        if not self._proof.stood or not 0 < since_ns < self.config.bridge_for_s * 1e9:
            return None
        dt_s = seconds_between(self._view, view)
        self.pose = np.column_stack([measured @ self.pose[:, :3], measured @ self.pose[:, 3] + self._velocity * dt_s])
        self._velocity = self._velocity * np.exp(-dt_s / self.config.bridge_for_s)
        self._tracks, self._view = Tracks.none(), view
        return Step(self.pose, 0, 0.0, 0.0)

    def regain(self, view: View, turned: F64) -> Step | None:
        """Just lost: look for the landmarks from where the camera was, turned as it has turned since."""
        self._reckoned = turned @ self._reckoned
        if abs(view.capture_ns - self._seen_ns) > self.config.reckon_for_s * 1e9:
            return None
        found = self._by_looks(view, Tracks.none(), self._reckoned)
        if found is None:
            return None
        return self._take_up(view, *found)

    def resume(self, view: View, guess: F64, *, min_inliers: int) -> Step | None:
        """Take up again at a pose found by other means, if the map's own patches confirm it."""
        tracks = reobserve(self.map, view, guess, Tracks.none(), most=_SEARCH, turn=0)
        fit = self._fit(view, tracks, guess)
        if fit is None or fit.inliers < min_inliers:
            return None
        return self._take_up(view, fit, tracks)

    def landmarks_of(self, node: int) -> F64:
        """(n, 3) places of the landmarks a node sees."""
        return np.asarray(self.map.points[self.map.placed_of(node)])

    def _flow(self, view: View, predicted: F64) -> Tracks:
        """Follow every track into the new image, seeded where the predicted pose puts it."""
        if not len(self._tracks) or view.image.gray.shape != self._view.image.gray.shape:
            return Tracks.none()
        points = self.map.points[self._tracks.ids]
        loose = ~self.map.placed[self._tracks.ids]
        ideal = self._view.lens.ideal(self._tracks.pixels)
        rays = np.column_stack([ideal[loose] / self.map.focal_px, np.ones(np.count_nonzero(loose))])
        points[loose] = (rays * self._depth - self.pose[:, 3]) @ self.pose[:, :3]
        before, after = (project(pose, points, self.map.focal_px) for pose in (self.pose, predicted))
        in_front = (before[:, 2:] > 0) & (after[:, 2:] > 0)
        seeds = view.lens.pixels(ideal + np.where(in_front, after[:, :2] - before[:, :2], 0.0))
        pixels, good = follow(self._view.image, view.image, self._tracks.pixels, seeds)
        return Tracks(self._tracks.ids, pixels).only(good)

    def _by_flow(self, view: View, followed: Tracks, predicted: F64) -> tuple[PoseFit, Tracks] | None:
        """Pose on what flow followed, then once more with landmarks found from there."""
        fit = self._fit(view, followed, predicted) or self._solve(view, followed, predicted)
        if fit is None:
            return None
        tracks = self._settle(followed, fit)
        self._turn += 1
        tracks = reobserve(self.map, view, fit.camera_from_map, tracks, most=self._budget(tracks), turn=self._turn)
        fit = self._fit(view, tracks, fit.camera_from_map)
        return None if fit is None else (fit, tracks)

    def _by_looks(self, view: View, followed: Tracks, predicted: F64) -> tuple[PoseFit, Tracks] | None:
        """Flow broke off: pose on landmarks found by their looks around the predicted pose, from coarse to fine."""
        loose = followed.only(~self.map.placed[followed.ids])
        rough = reobserve(self.map, view, predicted, Tracks.none(), most=_SEARCH, turn=0)
        if len(rough) < self.config.min_inliers:
            return None
        points, ideal = self.map.points[rough.ids], view.lens.ideal(rough.pixels)
        guess = fit_pose(predicted, points, ideal, self.map.focal_px, inlier_px=2 * self.config.grow.inlier_px)
        if guess.inliers < self.config.min_inliers // 2:
            return None
        tracks = reobserve(self.map, view, guess.camera_from_map, loose, most=_SEARCH, turn=0)
        fit = self._fit(view, tracks, guess.camera_from_map, predicted=predicted)
        return None if fit is None or fit.inliers < self.config.regain_inliers else (fit, tracks)

    def _take_up(self, view: View, fit: PoseFit, tracks: Tracks) -> Step:
        """Go on from a pose that does not continue the motion."""
        self._velocity = np.zeros(3)
        return self._accept(view, fit, self._settle(tracks, fit))

    def _fit(self, view: View, tracks: Tracks, guess: F64, *, predicted: F64 | None = None) -> PoseFit | None:
        """Refine the guess on the placed tracks; None when the result cannot be trusted.

        `predicted`: where the camera should be, if that is not the guess.
        """
        placed = tracks.only(self.map.placed[tracks.ids])
        if len(placed) < self.config.min_inliers:
            return None
        points, ideal = self.map.points[placed.ids], view.lens.ideal(placed.pixels)
        fit = fit_pose(guess, points, ideal, self.map.focal_px, inlier_px=self.config.grow.inlier_px)
        return fit if self._trust(fit, guess if predicted is None else predicted, len(placed)) else None

    def _solve(self, view: View, tracks: Tracks, predicted: F64) -> PoseFit | None:
        """Find the pose without a guess, for when the prediction led astray."""
        placed = tracks.only(self.map.placed[tracks.ids])
        if len(placed) < self.config.min_inliers:
            return None
        points, ideal = self.map.points[placed.ids], view.lens.ideal(placed.pixels)
        fit = solve(points, ideal, self.map.focal_px, min_inliers=self.config.min_inliers)
        if fit is None or not self._trust(fit, predicted, len(placed)):
            return None
        return self._fit(view, tracks, fit.camera_from_map)

    def _trust(self, fit: PoseFit, predicted: F64, count: int) -> bool:
        """Enough landmarks agree, they pin the position down, and the camera has not jumped."""
        c = self.config
        least = c.min_inliers if self._proof.stood else c.min_inliers_unproven
        if fit.inliers < least or fit.inliers < c.min_inlier_share * count:
            return False
        sigma = float(np.sqrt(np.trace(fit.covariance[:3, :3]))) / self._depth
        jump = float(np.linalg.norm(_centre(fit.camera_from_map) - _centre(predicted))) / self._depth
        return sigma < c.max_position_sigma and jump < c.max_jump

    def _settle(self, tracks: Tracks, fit: PoseFit) -> Tracks:
        """Drop the tracks whose landmark is not where it should be, and remember which ones those were."""
        placed = np.flatnonzero(self.map.placed[tracks.ids])
        ids = tracks.ids[placed]
        misses = self.map.misses[ids] + np.where(fit.inlier, -1, 2).astype(np.int16)
        self.map.misses[ids] = np.clip(misses, -6, 12)
        return tracks.without(placed[~fit.inlier])

    def _budget(self, tracks: Tracks) -> int:
        tracked = int(np.count_nonzero(self.map.placed[tracks.ids]))
        return max(self.config.search, self.config.grow.num_features // 2 - tracked)

    def _accept(self, view: View, fit: PoseFit, tracks: Tracks) -> Step:
        """Make the pose the current one, and judge whether the camera has moved on."""
        self.pose, self._tracks, self._view, self._seen_ns = fit.camera_from_map, tracks, view, view.capture_ns
        tracked = tracks.ids[self.map.placed[tracks.ids]]
        points = self.map.points[tracked]
        self._depth = float(np.median(project(self.pose, points, self.map.focal_px)[:, 2]))
        is_tracked = np.zeros(self.map.capacity, np.bool_)
        is_tracked[tracked] = True
        overlap = float(is_tracked[self._reference_ids].mean()) if len(self._reference_ids) else 0.0
        parallax = float(np.median(ray_angles(points, self.pose, self.map.poses[self._reference])))
        return Step(self.pose, fit.inliers, overlap, parallax, is_news=self._moved_on(overlap))

    def _moved_on(self, overlap: float) -> bool:
        c = self.config
        reference = self.map.poses[self._reference]
        baseline = float(np.linalg.norm(_centre(self.pose) - _centre(reference))) / self._depth
        turned = angle_between(self.pose[:, :3], reference[:, :3])
        return bool(baseline > c.node_baseline or turned > np.radians(c.node_angle_deg) or overlap < c.node_overlap)

    def _refer_to(self, node: int) -> None:
        """Measure movement and overlap from this node on."""
        self._reference = node
        self._reference_ids = self._tracks.ids[self.map.placed[self._tracks.ids]]


def _centre(camera_from_map: F64) -> F64:
    return np.asarray(-camera_from_map[:, :3].T @ camera_from_map[:, 3])
