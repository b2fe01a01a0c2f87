"""Geometry engines: a window of keyframes in, poses and depth out. One file (or package) per engine.

An engine module holds `class Config(BaseModel)` and `create(config) -> GeometryEngine`; the file name is its config key
and heavy imports stay inside. It may hold `missing(config) -> str | None`, which says what the machine lacks, and
`WINDOWS: windows.Config`, which says how its windows are best gathered, `fetch(config, tell)`, which downloads what
`create` would, however long that takes, and `unfit(config, device) -> str | None`, for the doctor, which looks more
closely than `missing` and may take seconds. Programs in worker processes find engines by name through `create` below.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mapping import plugins
from mapping.changes import KeyframeId
from mapping.windows import Config as WindowsConfig
from streams.frame import Intrinsics


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One keyframe as an engine sees it."""

    keyframe: KeyframeId
    rgb: NDArray[np.uint8]  # (h, w, 3)
    intrinsics: Intrinsics | None
    """Of this image's size; None = unknown."""
    prior_window_from_camera: NDArray[np.float64] | None = None
    """(4, 4) where the tracker or a posed stream puts the camera, all in one frame and one scale; None = unknown."""
    landmarks_window: NDArray[np.float32] | None = None
    """(n, 3) sparse points this view sees, in the prior's frame: depth range and scale for dense matching."""


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """Keyframes inferred together, oldest first; depth is wanted for the last one."""

    views: tuple[View, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ViewPrediction:
    """One keyframe's answer, in the window's own frame and scale (the prior's, where priors were given)."""

    keyframe: KeyframeId
    window_from_camera: NDArray[np.float64]  # (4, 4)
    intrinsics: Intrinsics  # of the depth map's size
    depth: NDArray[np.float32] | None = None  # (h, w) window units along the optical axis, 0 = unknown
    confidence: NDArray[np.float32] | None = None  # (h, w) in 0..1
    descriptor: NDArray[np.float32] | None = None  # (n,) of unit length: views that look alike have alike ones
    own_from_camera: NDArray[np.float64] | None = None
    """(4, 4) where the engine itself sees the camera, in a frame and unit that all views of this answer share, whatever
    priors say; None = it has no view of its own."""


@dataclass(frozen=True, slots=True, eq=False)
class WindowPrediction:
    """An engine's answer to a window. The last view has depth; an earlier one that does replaces what it had before."""

    views: tuple[ViewPrediction, ...]


class GeometryEngine(Protocol):
    """Stateless between windows: what it returns is a function of the window alone (caches may speed it up).

    It may have `provenance`, a mapping of what has to be told about a map it made (weights, licence, sha256),
    `device_bytes`, the memory that it holds of its GPU, and `together`, how many windows of one shape (so many views,
    of the same sizes) it takes at once: `predict_together(windows) -> list[WindowPrediction | Exception]`.
    """

    def warm_up(self) -> None:
        """Compile kernels and touch memory, so that the first real window is not slow."""
        ...

    def predict(self, window: Window) -> WindowPrediction:
        """Infer geometry.

        Raises:
            ValueError: the window is empty or its arrays do not fit together.
        """
        ...


def available() -> list[str]:
    """Names of the engines in this package."""
    return plugins.available(__name__)


def missing(name: str, config: dict[str, Any] | None = None) -> str | None:
    """What an engine needs and this machine lacks, and what to do about it; None = nothing that could be told cheaply.

    Raises:
        ValueError: no such engine.
        pydantic.ValidationError: the config does not fit its model.
    """
    module = _module(name)
    ask = getattr(module, "missing", None)
    settings = module.Config(**(config or {}))
    return None if ask is None else ask(settings)


def unfit(name: str, config: dict[str, Any] | None, device: str) -> str | None:
    """Why an engine could not start on a device (`cpu`, `cuda:1`, ...) of this machine; may load what it runs on.

    Raises:
        ValueError: no such engine.
        pydantic.ValidationError: the config does not fit its model.
    """
    module = _module(name)
    ask = getattr(module, "unfit", None)
    return missing(name, config) if ask is None else ask(module.Config(**(config or {})), device)


def windows(name: str) -> WindowsConfig:
    """How an engine's windows are gathered unless somebody says otherwise.

    Raises:
        ValueError: no such engine.
    """
    found: WindowsConfig = getattr(_module(name), "WINDOWS", WindowsConfig())
    return found


def fetch(name: str, config: dict[str, Any] | None = None, tell: Callable[[str], None] = lambda _: None) -> None:
    """Bring what an engine needs to this machine, where that can take long; `tell` hears what comes, and how far it is.

    Raises:
        ValueError: no such engine, or what it needs cannot be had.
        pydantic.ValidationError: the config does not fit its model.
    """
    module = _module(name)
    if (ask := getattr(module, "fetch", None)) is not None:
        ask(module.Config(**(config or {})), tell)


def create(name: str, config: dict[str, Any] | None = None) -> GeometryEngine:
    """Make the engine of that file name; a name with ":" is an import path to somebody else's module.

    Raises:
        ValueError: no such engine.
        pydantic.ValidationError: the config does not fit its model.
    """
    module = _module(name)
    engine: GeometryEngine = module.create(module.Config(**(config or {})))
    return engine


def checked(window: Window) -> tuple[View, ...]:
    """The views of a window that is what an engine may expect.

    Raises:
        ValueError: it is empty, or a view's arrays do not fit together.
    """
    if not window.views:
        raise ValueError("a window needs at least one view")
    for view in window.views:
        if view.rgb.ndim != 3 or view.rgb.shape[2] != 3 or view.rgb.dtype != np.uint8 or not view.rgb.size:
            raise ValueError(f"{view.keyframe}: rgb must be (h, w, 3) uint8, got {view.rgb.shape} {view.rgb.dtype}")
        k = view.intrinsics
        if k is not None and (k.height, k.width) != view.rgb.shape[:2]:
            raise ValueError(f"{view.keyframe}: intrinsics of {(k.height, k.width)} for rgb {view.rgb.shape[:2]}")
        pose = view.prior_window_from_camera
        if pose is not None and (pose.shape != (4, 4) or not np.isfinite(pose).all()):
            raise ValueError(f"{view.keyframe}: a prior pose must be a finite (4, 4) matrix")
    return window.views


def _module(name: str) -> Any:
    try:
        return plugins.load(__name__, name)
    except plugins.NoSuchPlugin as error:
        raise ValueError(f"no geometry engine {error}") from error
