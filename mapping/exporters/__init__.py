"""Exporters: a scene into a file that other programs open. One file per format; its name is the config key and suffix.

An exporter module holds `class Config(BaseModel)` and `create(config) -> Exporter`. What is exported is plain arrays in
world metres, +Y up, so an exporter knows nothing of maps and stores.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mapping import plugins
from streams.frame import Intrinsics


class ExportError(ValueError):
    """The scene cannot be exported; the message says why and what to do."""


@dataclass(frozen=True, slots=True, eq=False)
class ExportCamera:
    """Where one keyframe was taken from."""

    name: str
    world_from_camera: NDArray[np.float64]  # (4, 4) OpenCV camera axes
    intrinsics: Intrinsics


@dataclass(frozen=True, slots=True, eq=False)
class ExportScene:
    """What a file may hold, in world metres; empty fields mean that the scene has none of it."""

    vertices_m: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 3), np.float32))  # (n, 3)
    indices: NDArray[np.uint32] = field(default_factory=lambda: np.empty((0, 3), np.uint32))
    """(m, 3) triangles, counter-clockwise from the free side."""
    rgb: NDArray[np.uint8] | None = None  # (n, 3) sRGB
    points_m: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 3), np.float32))  # (k, 3)
    points_rgb: NDArray[np.uint8] | None = None  # (k, 3) sRGB
    cameras: tuple[ExportCamera, ...] = ()
    nav_polygons_m: tuple[NDArray[np.float32], ...] = ()
    """Convex walkable polygons, (3 or more, 3) each, counter-clockwise from above."""

    def __post_init__(self) -> None:
        _check_points("vertices_m", self.vertices_m, self.rgb)
        _check_points("points_m", self.points_m, self.points_rgb)
        if self.indices.ndim != 2 or self.indices.shape[1] != 3:
            raise ExportError(f"indices must be (m, 3), got {self.indices.shape}")
        if len(self.indices) and int(self.indices.max()) >= len(self.vertices_m):
            raise ExportError(f"a triangle names vertex {int(self.indices.max())} of {len(self.vertices_m)}")
        for polygon in self.nav_polygons_m:
            if polygon.ndim != 2 or polygon.shape[0] < 3 or polygon.shape[1] != 3:
                raise ExportError(f"a polygon must be (3 or more, 3), got {polygon.shape}")


class Exporter(Protocol):
    """Writes one format."""

    @property
    def suffix(self) -> str:
        """With the dot."""
        ...

    @property
    def media_type(self) -> str: ...

    def export(self, scene: ExportScene, path: Path) -> None:
        """Write a file, whole or not at all.

        Raises:
            ExportError: the scene has nothing that this format can hold.
        """
        ...


def available() -> list[str]:
    """Names of the formats in this package."""
    return plugins.available(__name__)


def create(name: str, config: dict[str, Any] | None = None) -> Exporter:
    """Make the exporter of that file name; a name with ":" is an import path to somebody else's module.

    Raises:
        ExportError: no such exporter.
        pydantic.ValidationError: the config does not fit its model.
    """
    try:
        module: Any = plugins.load(__name__, name)
    except plugins.NoSuchPlugin as error:
        raise ExportError(f"no exporter for {name!r}; there are {', '.join(available())}") from error
    exporter: Exporter = module.create(module.Config(**(config or {})))
    return exporter


def triangles_of(polygons: tuple[NDArray[np.float32], ...]) -> tuple[NDArray[np.float32], NDArray[np.uint32]]:
    """Vertices (n, 3) and fan triangles (m, 3) of convex polygons."""
    starts = np.cumsum([0, *map(len, polygons)])
    fans = [
        [(start, start + i, start + i + 1) for i in range(1, len(polygon) - 1)]
        for start, polygon in zip(starts.tolist(), polygons, strict=False)
    ]
    triangles = np.array([triangle for fan in fans for triangle in fan], np.uint32).reshape(-1, 3)
    return np.concatenate([np.empty((0, 3), np.float32), *polygons]).astype(np.float32), triangles


def _check_points(name: str, points_m: NDArray[np.float32], rgb: NDArray[np.uint8] | None) -> None:
    if points_m.ndim != 2 or points_m.shape[1] != 3:
        raise ExportError(f"{name} must be (n, 3), got {points_m.shape}")
    if not np.isfinite(points_m).all():
        raise ExportError(f"{name} holds values that are not finite")
    if rgb is not None and (rgb.shape != points_m.shape or rgb.dtype != np.uint8):
        raise ExportError(f"colours of {name} must be {points_m.shape} uint8, got {rgb.shape} {rgb.dtype}")
