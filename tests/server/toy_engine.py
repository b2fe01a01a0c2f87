"""A geometry engine that says little and dies on command; stands in for real ones where processes are tested.

The first pixel of the newest view is the command: 0 answer, 1 raise, 2 kill this process, 3 hang, 4 stop this process,
5 answer too much, 6 answer and say so in the log, 7 break. `Config.start` does the same at creation.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable

import numpy as np
from pydantic import BaseModel

from mapping.engines import ViewPrediction, Window, WindowPrediction
from streams.frame import Intrinsics

ANSWER, RAISE, KILL, HANG, STOP, TOO_MUCH, SAY, BREAK = range(8)


class Config(BaseModel):
    start: int = ANSWER
    fetch_s: float = 0.0
    """How long its weights take to come."""
    together: int = 1
    """Windows at once; the pose of an answer tells how many it was, as x = process id, y = count."""


class ToyEngine:
    provenance = {"weights": "toy", "licence": "none"}  # noqa: RUF012
    device_bytes = 4711

    def __init__(self, together: int = 1) -> None:
        self.together = together

    def warm_up(self) -> None:
        pass

    def predict(self, window: Window) -> WindowPrediction:
        return WindowPrediction(tuple(answer(view.rgb, view.keyframe) for view in window.views))

    def predict_together(self, windows: list[Window]) -> list[WindowPrediction | Exception]:
        answers: list[WindowPrediction | Exception] = []
        for window in windows:
            try:
                prediction = self.predict(window)
                prediction.views[-1].window_from_camera[1, 3] = len(windows)
                answers.append(prediction)
            except ValueError as error:
                answers.append(error)
        return answers


def answer(rgb: np.ndarray, keyframe: str) -> ViewPrediction:
    """Depth is the red channel plus one, so a test can tell whose pixels arrived; the pose holds this process's id."""
    obey(int(rgb[0, 0, 0]))
    height, width = rgb.shape[:2]
    scale = 8 if rgb[0, 0, 0] == TOO_MUCH else 1
    depth = np.tile(rgb[:, :, 0].astype(np.float32) + 1, (scale, scale))
    window_from_camera = np.eye(4)
    window_from_camera[0, 3] = os.getpid()
    return ViewPrediction(keyframe, window_from_camera, Intrinsics.from_fov(width, height), depth, depth / 512)


def obey(command: int) -> None:
    if command == RAISE:
        raise ValueError("the toy engine was told to raise")
    if command == BREAK:
        raise RuntimeError("the toy engine is broken")
    if command == KILL:
        os.kill(os.getpid(), signal.SIGKILL)
    if command == HANG:
        threading.Event().wait()
    if command == STOP:
        os.kill(os.getpid(), signal.SIGSTOP)
    if command == SAY:
        logging.getLogger("mapping.toy").warning("windows of %d views are too long", 16)


def fetch(config: Config, tell: Callable[[str], None]) -> None:
    if config.fetch_s:
        tell("toy weights: 1 of 5 GB")
        threading.Event().wait(config.fetch_s)


def create(config: Config) -> ToyEngine:
    obey(config.start)
    return ToyEngine(config.together)
