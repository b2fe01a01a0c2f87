"""A pose for every frame of one camera: pixels in, `component_from_camera` out, on the CPU and without weights.

Sans-I/O and deterministic: `Tracker.track` is a step of a state machine that never waits for anybody. Who is in a hurry
asks for its two halves: `pose` answers, `grow` lets the map take in what that frame shows. The parts are in
`mapping.tracking`; this file says in which order they are asked.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from mapping.tracking import ambiguity, bundle, flow, patches, places, pose, triangulation, turn, visibility
from mapping.tracking.beginning import begin
from mapping.tracking.follower import FollowConfig, Follower, Step
from mapping.tracking.gyro import Gyro
from mapping.tracking.lenses import Lenses
from mapping.tracking.posed import PosedFollower
from mapping.tracking.starter import Starter
from mapping.tracking.tracked import Backfilled, Tracked
from mapping.tracking.turn import turn_between
from mapping.tracking.two_view import StartConfig
from mapping.tracking.view import View, look, seconds_between
from mapping.transforms import F64, exp_so3, log_so3
from streams.frame import DepthMap, Frame, GivenPose, StreamId

_CALIBRATED = 14  # nodes from which a focal length is worth telling others


class TrackerConfig(BaseModel):
    """Every length in pixels is meant on the tracking image, whose long side is at most `max_side_px`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_side_px: int = 640
    guessed_fov_deg: float = 66.0
    """Field of view of the long side to assume for a camera that does not know its intrinsics."""
    give_up_after_s: float = 1.0
    """How long a lost camera looks for known ground before a new, unconnected start is accepted."""
    candidates: int = 4
    """Nodes that a lost frame is compared with."""
    resume_inliers: int = 25
    """Landmarks that must agree before a lost camera is found again."""
    rejoin_inliers: int = 50
    """Landmarks that must agree before a new component is given up for an old one."""
    old_maps: int = 2
    """Components remembered beside the current one."""
    start: StartConfig = StartConfig()
    follow: FollowConfig = FollowConfig()


class Tracker:
    """Follows one stream."""

    def __init__(
        self,
        stream: StreamId,
        config: TrackerConfig = TrackerConfig(),  # noqa: B008
        lenses: Lenses | None = None,
    ) -> None:
        """`lenses`: what other sessions found out about cameras that do not know their focal length."""
        self._stream, self._config = stream, config
        self._lenses = lenses if lenses is not None else Lenses()
        self._lens_name, self._fov_deg = "", config.guessed_fov_deg
        self._learnt_component = -1  # the last one that told `lenses`
        self._component, self._num_components = 0, 0
        self._before: View | None = None
        self._turn_rate = np.zeros(3)  # rad/s, rotation vector of (camera now) from (camera before)
        self._gyro = Gyro()
        self._zoom = 1.0  # refined over guessed focal length
        self._starter = self._new_starter()
        self._follower: Follower | None = None
        self._old: dict[int, Follower] = {}
        self._lost_since_ns: int | None = None
        self._next_candidate = 0
        self._posed: PosedFollower | None = None
        self._posed_component = 0
        self._news: tuple[View, F64, Step] | None = None
        """What was posed last, where the map is to take it in."""

    def track(self, frame: Frame) -> Tracked:
        """Pose one frame and let the map take it in; frames come in the order of their capture."""
        posed = self.pose(frame)
        return self.grow() or posed

    def pose(self, frame: Frame) -> Tracked:
        """Where the camera was. On a keyframe `grow` knows more, a little later."""
        self.grow()
        self._recall_lens(frame)
        side_px = self._config.max_side_px
        view = look(frame, max_side_px=side_px, long_side_fov_deg=self._fov_deg, before=self._before)
        if frame.pose is not None:
            self._before = view
            return self._pass_through(view, frame.pose, frame.depth)
        turned, measured = self._turn(view, frame)
        self._before = view
        if self._follower is None:
            return self._start(view, turned)
        follower = self._follower
        if self._lost_since_ns is None:
            step = self._step(follower, view, turned, measured)
        else:
            step = follower.regain(view, turned)
        if step is None:
            step = self._recognise(view)
        if step is None:
            return self._stay_lost(view, turned)
        self._lost_since_ns = None
        self._news = (view, turned, step) if step.is_news else None
        return self._tracked(view, step)

    def grow(self) -> Tracked | None:
        """Let the map take in the frame posed last: its answer once more, corrected; None where nothing is new."""
        if self._news is None or self._follower is None:
            return None
        (view, turned, step), self._news = self._news, None
        step = self._follower.grow(step)
        if self._follower.refuted:
            return self._start_over(view, turned)
        return self._tracked(view, self._rejoin(view, step))

    def _recall_lens(self, frame: Frame) -> None:
        """Guess a camera from what was learnt of its like, as long as no map rests on another guess."""
        if frame.intrinsics is not None or not frame.camera or self._follower is not None:
            return
        name = f"{frame.camera} {_shape(frame.image.width, frame.image.height)}"
        if name == self._lens_name:
            return
        known = self._lenses.recall(name)
        self._lens_name, self._fov_deg = name, known.fov_deg if known else self._config.guessed_fov_deg
        self._before, self._starter = None, self._new_starter()

    def _learn_lens(self, view: View) -> None:
        """Tell `lenses` once a map, when it has been calibrated on enough nodes."""
        assert self._follower is not None
        known = self._follower.map
        is_new = view.is_guess and self._lens_name and self._component != self._learnt_component
        if is_new and len(known.nodes) > _CALIBRATED and np.isfinite(known.focal_sigma):
            k = view.intrinsics
            self._lenses.learn(self._lens_name, self._zoom * k.fx / max(k.width, k.height), known.focal_sigma)
            self._learnt_component = self._component

    def _turn(self, view: View, frame: Frame) -> tuple[F64, F64 | None]:
        """How the camera turned since the previous frame: the best guess, and what the gyro measured.

        Gyro, steady motion and standing still compete before the miniatures; where those cannot judge (blur, darkness),
        a gyro that has earned it is believed.
        """
        dt_s = seconds_between(self._before, view) if self._before is not None else 0.0
        measured = self._gyro.turn(frame.motion, dt_s)
        if self._before is None:
            return np.eye(3), None
        guesses = [exp_so3(self._turn_rate * dt_s), np.eye(3)]
        if measured is not None:
            guesses.insert(0, measured)
        found, unlike = turn_between(self._before.thumbnail, view.thumbnail, guesses)
        if measured is not None and self._gyro.is_trusted and unlike > turn.UNCONVINCING:
            found = measured
        self._turn_rate = log_so3(found) / dt_s
        return found, measured

    def _step(self, follower: Follower, view: View, turned: F64, measured: F64 | None) -> Step | None:
        """Follow on; a trusted gyro carries the pose through a moment in which nothing can be seen."""
        before = follower.pose
        step = follower.step(view, turned)
        if step is not None and measured is not None:
            self._gyro.judge(measured, step.camera_from_map[:, :3] @ before[:, :3].T)
        if step is None and measured is not None and self._gyro.is_trusted:
            return follower.bridge(view, measured)
        return step

    def _start(self, view: View, turned: F64) -> Tracked:
        """Before the first map, or beside a lost one."""
        first = self._starter.offer(view, turned, may_start=not self._still_hoping(view))
        begun = begin(first, self._config.follow.grow) if first is not None else None
        if first is None or begun is None:
            return self._wait(view)
        if self._follower is not None:
            self._remember(self._component, self._follower)
        if not first.is_told:
            self._component = self._new_component()
        self._follower = Follower(begun, self._config.follow, is_guess=view.is_guess)
        self._starter, self._lost_since_ns = self._new_starter(), None
        return self._tracked(view, self._follower.first_step())

    def _wait(self, view: View) -> Tracked:
        """No map yet: while the camera has hardly moved, its turn is known, and that it is about where it began."""
        if self._follower is not None:
            return self._untracked(view, "lost")
        was_told = self._starter.is_told
        turn = self._starter.turn_so_far()
        if turn is None:
            return self._untracked(view, "starting")
        if not was_told:
            self._component = self._new_component()
        pose = component_from_camera(np.column_stack([turn, np.zeros(3)]))
        return replace(self._untracked(view, "starting"), component_from_camera=pose)

    def _still_hoping(self, view: View) -> bool:
        """Just lost: known ground may come back into view, and a new start would cut the map in two."""
        since_ns = self._lost_since_ns
        return since_ns is not None and view.capture_ns - since_ns < self._config.give_up_after_s * 1e9

    def _recognise(self, view: View) -> Step | None:
        """Lost: compare with nodes that look most alike and, in turns, with all others; the current map first."""
        assert self._follower is not None
        corners, query = self._describe(view)
        for component, follower in [(self._component, self._follower), *reversed(self._old.items())]:
            for node in self._candidates(follower, view):
                fit = places.recognise(follower.map, node, query, corners, view.lens, min_inliers=15)
                if fit is None:
                    continue
                step = follower.resume(view, fit.camera_from_map, min_inliers=self._config.resume_inliers)
                if step is not None:
                    self._switch_to(component)
                    return step
        return None

    def _rejoin(self, view: View, step: Step) -> Step:
        """A new component that reaches ground of an old one goes on in that one."""
        if not self._old:
            return step
        corners, query = self._describe(view)
        for component, follower in self._old.items():
            node = places.rank(follower.map, view.thumbnail)[0]
            fit = places.recognise(follower.map, node, query, corners, view.lens, min_inliers=25)
            if fit is None:
                continue
            found = follower.resume(view, fit.camera_from_map, min_inliers=self._config.rejoin_inliers)
            if found is not None:
                self._switch_to(component)
                return follower.grow(found) if found.is_news else found
        return step

    def _describe(self, view: View) -> tuple[flow.F32, places.Described]:
        corners = flow.fresh_corners(
            view.image.gray, np.empty((0, 2), np.float32), self._config.follow.grow.num_features
        )
        return corners, places.describe(view.image.gray, corners)

    def _candidates(self, follower: Follower, view: View) -> list[int]:
        """Half of them by likeness, half in turns, newest first."""
        ranked = places.rank(follower.map, view.thumbnail)
        half = max(1, self._config.candidates // 2)
        candidates = ranked[:half]
        newest_first = sorted(ranked, reverse=True)
        for _ in range(self._config.candidates - half):
            candidates.append(newest_first[self._next_candidate % len(newest_first)])
            self._next_candidate += 1
        return list(dict.fromkeys(candidates))

    def _switch_to(self, component: int) -> None:
        """Go on in a component that was left; the current one is remembered in its stead."""
        if component == self._component or self._follower is None:
            return
        leaving = (self._component, self._follower)
        self._component, self._follower = component, self._old.pop(component)
        self._remember(*leaving)

    def _remember(self, component: int, follower: Follower) -> None:
        self._old[component] = follower
        while len(self._old) > self._config.old_maps:
            del self._old[min(self._old, key=lambda c: len(self._old[c].map.nodes))]

    def _stay_lost(self, view: View, turned: F64) -> Tracked:
        if self._lost_since_ns is None:
            self._lost_since_ns, self._next_candidate = view.capture_ns, 0
            self._starter = self._new_starter()
        return self._start(view, turned)

    def _start_over(self, view: View, turned: F64) -> Tracked:
        """The map rests on a wrong start: say so, and begin a new one at once."""
        self._follower, self._lost_since_ns = None, None
        self._starter = self._new_starter()
        return self._start(view, turned)

    def _new_starter(self) -> Starter:
        return Starter(self._config.follow.grow.num_features, self._config.start, self._zoom)

    def _new_component(self) -> int:
        self._num_components += 1
        return self._num_components - 1

    def _untracked(self, view: View, state: Literal["starting", "lost"]) -> Tracked:
        return Tracked(self._stream, view.seq, view.capture_ns, state, self._component, None, view.intrinsics)

    def _tracked(self, view: View, step: Step) -> Tracked:
        assert self._follower is not None
        self._zoom = self._follower.map.focal_px / view.lens.focal_px
        landmarks = None
        if step.node is not None:
            self._learn_lens(view)
            landmarks = self._follower.landmarks_of(step.node).astype(np.float32)
        return Tracked(
            self._stream,
            view.seq,
            view.capture_ns,
            "tracked",
            self._component,
            component_from_camera(step.camera_from_map),
            replace(view.intrinsics, fx=view.intrinsics.fx * self._zoom, fy=view.intrinsics.fy * self._zoom),
            keyframe=step.is_news or step.node is not None,
            overlap=step.overlap,
            parallax_rad=step.parallax_rad,
            inliers=step.inliers,
            landmarks_component=landmarks,
            corrected={seq: component_from_camera(moved) for seq, moved in step.moved.items()},
            backfilled=tuple(
                Backfilled(w.seq, w.capture_ns, component_from_camera(w.camera_from_map)) for w in step.waited
            ),
        )

    def _pass_through(self, view: View, given: GivenPose, depth: DepthMap | None) -> Tracked:
        """A frame that brings its pose: believed, in a component of its own that all posed frames share."""
        c = self._config.follow
        if self._posed is None:
            self._posed_component = self._new_component()
            self._posed = PosedFollower(
                num_features=c.grow.num_features,
                baseline=c.node_baseline,
                angle_rad=math.radians(c.node_angle_deg),
                overlap=c.node_overlap,
            )
        world_from_camera = np.asarray(given.world_from_camera, np.float64)
        if world_from_camera.shape != (4, 4) or not np.isfinite(world_from_camera).all():
            return replace(self._untracked(view, "lost"), component=self._posed_component)
        step = self._posed.step(view, world_from_camera, depth)
        return Tracked(
            self._stream,
            view.seq,
            view.capture_ns,
            "tracked",
            self._posed_component,
            world_from_camera,
            view.intrinsics,
            keyframe=step.is_node,
            overlap=step.overlap,
            parallax_rad=step.parallax_rad,
            inliers=len(step.landmarks),
            landmarks_component=step.landmarks.astype(np.float32) if step.is_node else None,
        )


def _shape(width: int, height: int) -> str:
    """Names the shape of a picture, upright or not: phones crop the same lens differently for another shape."""
    return f"{max(width, height) / max(1, min(width, height)):.2f}"


def component_from_camera(camera_from_map: F64) -> F64:
    """Invert a (3, 4) pose into a (4, 4) one."""
    out = np.eye(4)
    out[:3, :3] = camera_from_map[:, :3].T
    out[:3, 3] = -out[:3, :3] @ camera_from_map[:, 3]
    return out


def warm_up() -> None:
    """Compile every kernel, so that the first frames of the first phone are not slow."""
    for module in (ambiguity, bundle, flow, patches, places, pose, triangulation, turn, visibility):
        module.warm_up()
