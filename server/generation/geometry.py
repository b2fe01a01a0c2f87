"""Cameras, depth, points and tracks of a few pictures, by the live geometry engine: the task `scene-geometry`.

The frame is the engine's own: OpenCV axes, up to scale. `extrinsic` is camera_from_world and `intrinsic` belongs to the
depth maps' size, as VGGT gives them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from mapping.changes import KeyframeId
from mapping.engines import View, ViewPrediction, Window, WindowPrediction
from mapping.transforms import invert, project, unproject
from server.api.contract import Unprocessable
from streams.frame import Intrinsics

Infer = Callable[[Window], Awaitable[WindowPrediction]]
F64 = NDArray[np.float64]
F32 = NDArray[np.float32]


class Config(BaseModel):
    """How much of the pictures is used."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_images: int = Field(default=8, ge=1)
    long_side_px: int = Field(default=518, ge=64)
    max_points: int = Field(default=100_000, ge=1)
    least_confidence: float = Field(default=0.1, ge=0, le=1)
    same_depth: float = Field(default=0.05, gt=0)
    """Relative: a point this much behind what a picture shows is hidden there."""


@dataclass(frozen=True, slots=True, eq=False)
class SceneGeometry:
    """What was found of n pictures."""

    extrinsic: F64
    """(n, 3, 4) camera_from_world."""
    intrinsic: F64
    """(n, 3, 3) of the depth maps' size, pixel centres at +0.5."""
    depth: F32
    """(n, h, w) along the optical axis, 0 = unknown; of the pictures' common size."""
    points: F32
    """(m, 3) in the world's frame."""
    colors: NDArray[np.uint8]
    """(m, 3) RGB."""
    tracks: F32
    """(n, q, 2) where the query points are in each picture, in its own pixels; NaN = not seen."""


def check_number(images: int, config: Config) -> None:
    """Raises: Unprocessable: they are too many, or none; better known before they are decoded."""
    if not 1 <= images <= config.max_images:
        raise Unprocessable(f"{images} pictures; this takes 1 to {config.max_images}")


def decode(data: bytes, config: Config) -> NDArray[np.uint8]:
    """A picture's RGB, no larger than is used.

    Raises:
        Unprocessable: it cannot be decoded.
    """
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if bgr is None:
        raise Unprocessable("a picture cannot be decoded")
    shrink = config.long_side_px / max(bgr.shape[:2])
    if shrink < 1:
        bgr = cv2.resize(bgr, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(bgr[:, :, ::-1])


async def scene_geometry(
    images: Sequence[NDArray[np.uint8]], query_points: F32, name: str, infer: Infer, config: Config
) -> SceneGeometry:
    """
    Args:
        images: (h, w, 3) RGB, of what does not move, with enough overlap.
        query_points: (q, 2) pixels of the first picture, to be followed through the others.
        name: of this request, unlike any other.

    Raises:
        Unprocessable: there are too many, or they show nothing that fits together.
        NoPrediction: the engine could not be asked.
    """
    check_number(len(images), config)
    views = [View(KeyframeId(f"{name}/{i}"), image, None) for i, image in enumerate(images)]
    found = await _solve(views, infer)
    size = found[-1].intrinsics.width, found[-1].intrinsics.height
    looks = [_Look(_depth(one, size), one.intrinsics.scaled(*size), one.window_from_camera) for one in found]
    points, colors = _points(images, found, looks, config)
    return SceneGeometry(
        extrinsic=np.stack([invert(look.world_from_camera)[:3] for look in looks]),
        intrinsic=np.stack([look.intrinsics.matrix() for look in looks]),
        depth=np.stack([look.depth for look in looks]),
        points=points,
        colors=colors,
        tracks=_tracks(images, query_points, looks, config),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Look:
    """A picture's camera and depth map."""

    depth: F32
    intrinsics: Intrinsics
    world_from_camera: F64

    def points(self) -> F64:
        """(h, w, 3) what each pixel shows, in the world's frame; the camera itself where that is unknown."""
        return _moved(self.world_from_camera, unproject(self.depth, self.intrinsics))

    def depth_at(self, pixels: F64) -> F64:
        """(q,) of the depth map's pixels (q, 2); 0 where it is unknown, or outside."""
        height, width = self.depth.shape
        inside: NDArray[np.bool_] = np.all((pixels >= 0) & (pixels < (width, height)), axis=1)
        u, v = np.where(inside[:, None], pixels, 0).astype(int).T
        return np.asarray(np.where(inside, self.depth[v, u], 0.0), np.float64)


async def _solve(views: list[View], infer: Infer) -> list[ViewPrediction]:
    """All cameras at once; then each picture's depth from those cameras, where the first answer had none."""
    first = {view.keyframe: view for view in (await infer(Window(tuple(views)))).views}
    if any(view.keyframe not in first for view in views):
        raise Unprocessable("these pictures do not show enough of the same things from different places")
    posed = [
        View(v.keyframe, v.rgb, _at_size(first[v.keyframe], v.rgb), first[v.keyframe].window_from_camera)
        for v in views
    ]  # fmt: skip
    found = []
    for i, view in enumerate(posed):
        prediction = first[view.keyframe]
        if prediction.depth is None and len(posed) > 1:
            answer = await infer(Window((*posed[:i], *posed[i + 1 :], view)))
            prediction = next((one for one in answer.views if one.keyframe == view.keyframe), prediction)
        found.append(prediction)
    return found


def _at_size(prediction: ViewPrediction, rgb: NDArray[np.uint8]) -> Intrinsics:
    return prediction.intrinsics.scaled(rgb.shape[1], rgb.shape[0])


def _depth(prediction: ViewPrediction, size: tuple[int, int]) -> F32:
    width, height = size
    if prediction.depth is None:
        return np.zeros((height, width), np.float32)
    if prediction.depth.shape == (height, width):
        return prediction.depth
    return np.asarray(cv2.resize(prediction.depth, size, interpolation=cv2.INTER_NEAREST), np.float32)


def _points(
    images: Sequence[NDArray[np.uint8]], found: Sequence[ViewPrediction], looks: Sequence[_Look], config: Config
) -> tuple[F32, NDArray[np.uint8]]:
    """The surface that the depth maps show, thinned to what is allowed."""
    points, colors = [], []
    for image, prediction, look in zip(images, found, looks, strict=True):
        seen = look.depth > 0
        if prediction.confidence is not None and prediction.confidence.shape == seen.shape:
            seen &= prediction.confidence >= config.least_confidence
        points.append(look.points()[seen])
        colors.append(cv2.resize(image, seen.shape[::-1], interpolation=cv2.INTER_AREA)[seen])
    every = max(1, -(-sum(map(len, points)) // config.max_points))
    return np.concatenate(points)[::every].astype(np.float32), np.concatenate(colors)[::every]


def _tracks(images: Sequence[NDArray[np.uint8]], queries: F32, looks: Sequence[_Look], config: Config) -> F32:
    """Query points lifted by the first picture's depth, and projected into each one that sees them."""
    tracks = np.full((len(images), len(queries), 2), np.nan, np.float32)
    tracks[0] = queries
    first = looks[0]
    pixels = queries * _scale(images[0], first)
    z = first.depth_at(pixels)
    k = first.intrinsics
    rays = np.stack([(pixels[:, 0] - k.cx) / k.fx, (pixels[:, 1] - k.cy) / k.fy, np.ones(len(pixels))], 1)
    points = _moved(first.world_from_camera, rays * z[:, None])
    for i, look in enumerate(looks[1:], 1):
        camera = _moved(invert(look.world_from_camera), points)
        is_front = (z > 0) & (camera[:, 2] > 1e-9)
        projected = project(np.where(is_front[:, None], camera, (0.0, 0.0, 1.0)), look.intrinsics)
        shown = look.depth_at(projected)
        is_seen = is_front & (shown > 0) & (camera[:, 2] < shown * (1 + config.same_depth))
        tracks[i][is_seen] = (projected / _scale(images[i], look))[is_seen]
    return tracks


def _scale(image: NDArray[np.uint8], look: _Look) -> F64:
    """From the picture's pixels to the depth map's."""
    height, width = look.depth.shape
    return np.array([width / image.shape[1], height / image.shape[0]])


def _moved(b_from_a: F64, points_a: NDArray[np.floating]) -> F64:
    return np.asarray(points_a @ b_from_a[:3, :3].T + b_from_a[:3, 3], np.float64)
