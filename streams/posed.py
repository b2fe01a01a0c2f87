"""One frame of a source that knows where it is (WebXR, an AR app, a LiDAR phone, RGB-D): checked, then taken as is."""

from __future__ import annotations

from typing import Annotated

import msgspec
import numpy as np

from streams.clock import NS_PER_S
from streams.encoded import PictureError, decode_depth, decode_rgb
from streams.frame import DepthMap, Frame, GivenPose, Image, Intrinsics, Motion, StreamId
from streams.poses import PoseError, rigid_from_matrix, rigid_from_quaternion

MAX_META_BYTES = 16 * 1024
MAX_CLOCK_ERROR_NS = 10 * NS_PER_S
MIN_FOCAL, MAX_FOCAL = 0.1, 20.0
"""Of the image's long side: fields of view from 3 to 157 degrees."""

Pixels = Annotated[float, msgspec.Meta(gt=0, le=1e6)]
Side = Annotated[int, msgspec.Meta(gt=0, le=16384)]


class PosedFrameError(ValueError):
    """A posed frame that cannot be used; the message says what is wrong with it."""


class CameraMeta(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Pinhole intrinsics in pixels, pixel centres at +0.5, of the image they come with or of one of the same shape."""

    fx: Pixels
    fy: Pixels
    cx: float
    cy: float
    width: Side
    height: Side
    k1: Annotated[float, msgspec.Meta(ge=-2, le=2)] = 0.0


class PoseMeta(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    t: Annotated[list[float], msgspec.Meta(min_length=3, max_length=3)]
    q_wxyz: Annotated[list[float], msgspec.Meta(min_length=4, max_length=4)]


class DepthMeta(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    scale_m: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.001
    """Metres a count of the 16-bit PNG."""
    invalid: Annotated[tuple[int, ...], msgspec.Meta(max_length=64)] = (0,)
    """Counts that stand for unknown."""
    intrinsics: CameraMeta | None = None
    """Of the depth map; None = the image's, scaled."""


class FrameMeta(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The JSON beside the pixels."""

    world_from_camera: Annotated[list[float], msgspec.Meta(min_length=16, max_length=16)] | PoseMeta
    """16 numbers row by row, or translation and quaternion; metres, +Y up world, OpenCV camera axes."""
    intrinsics: CameraMeta
    capture_ns: int | None = None
    """Server clock at exposure (Unix ns); None = when it arrived."""
    sigma_m: Annotated[float, msgspec.Meta(gt=0, le=10)] = 0.02
    """How far the pose may be off, one sigma."""
    sigma_rad: Annotated[float, msgspec.Meta(gt=0, le=3.2)] = 0.01
    depth: DepthMeta = DepthMeta()
    up_camera: tuple[float, float, float] | None = None
    """Against gravity, in camera axes."""


def posed_frame(
    meta: bytes, image: bytes, depth: bytes | None, *, stream: StreamId, seq: int, received_ns: int
) -> Frame:
    """Make a `Frame` of what was posted: JSON (`FrameMeta`), a JPEG or PNG, and maybe a 16-bit PNG of depth.

    Raises:
        PosedFrameError: anything in it is malformed, too large, or cannot be true.
    """
    m = read_meta(meta)
    try:
        rgb = decode_rgb(image)
    except PictureError as error:
        raise PosedFrameError(f"image: {error}") from error
    height, width = rgb.shape[:2]
    intrinsics = intrinsics_of(m.intrinsics, width, height, "intrinsics")
    return Frame(
        stream=stream,
        seq=seq,
        capture_ns=_capture_ns(m.capture_ns, received_ns),
        received_ns=received_ns,
        image=Image(rgb=rgb),
        intrinsics=intrinsics,
        pose=_pose(m),
        depth=None if depth is None else _depth(depth, m, intrinsics),
        motion=None if m.up_camera is None else Motion(up_camera=_unit(m.up_camera)),
    )


def read_meta(meta: bytes) -> FrameMeta:
    """Read the JSON beside the pixels.

    Raises:
        PosedFrameError: too long, not JSON, or a field is missing, unknown, or of the wrong kind.
    """
    if len(meta) > MAX_META_BYTES:
        raise PosedFrameError(f"meta: {len(meta)} bytes; at most {MAX_META_BYTES}")
    try:
        return msgspec.json.decode(meta, type=FrameMeta)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PosedFrameError(f"meta: {error}") from error


def _pose(m: FrameMeta) -> GivenPose:
    given = m.world_from_camera
    try:
        if isinstance(given, PoseMeta):
            world_from_camera = rigid_from_quaternion(given.t, given.q_wxyz)
        else:
            world_from_camera = rigid_from_matrix(given)
    except PoseError as error:
        raise PosedFrameError(str(error)) from error
    return GivenPose(world_from_camera, m.sigma_m, m.sigma_rad)


def intrinsics_of(m: CameraMeta, width: int, height: int, name: str) -> Intrinsics:
    """What a stranger says about a camera, for a picture of that size; `name` is how the message calls it.

    Raises:
        PosedFrameError: it is for a picture of another shape, or cannot be true.
    """
    if abs(m.width * height / (m.height * width) - 1) > 0.01:
        raise PosedFrameError(f"{name}: for {m.width}x{m.height}, but the picture is {width}x{height}: another shape")
    side = max(m.width, m.height)
    if not all(MIN_FOCAL * side < f < MAX_FOCAL * side for f in (m.fx, m.fy)):
        raise PosedFrameError(f"{name}: fx and fy must be in pixels, {MIN_FOCAL:g} to {MAX_FOCAL:g} of the long side")
    if not (0 < m.cx < m.width and 0 < m.cy < m.height):
        raise PosedFrameError(f"{name}: the principal point (cx, cy) lies outside the image")
    return Intrinsics(m.fx, m.fy, m.cx, m.cy, m.width, m.height, m.k1).scaled(width, height)


def _depth(data: bytes, m: FrameMeta, image_intrinsics: Intrinsics) -> DepthMap:
    try:
        z_m = decode_depth(data, m.depth.scale_m, m.depth.invalid)
    except PictureError as error:
        raise PosedFrameError(f"depth: {error}") from error
    height, width = z_m.shape
    if m.depth.intrinsics is not None:
        return DepthMap(z_m, intrinsics_of(m.depth.intrinsics, width, height, "depth.intrinsics"))
    if abs(image_intrinsics.width * height / (image_intrinsics.height * width) - 1) > 0.01:
        raise PosedFrameError(f"depth: {width}x{height} is not the image's shape; give depth.intrinsics")
    return DepthMap(z_m, image_intrinsics.scaled(width, height))


def _capture_ns(given_ns: int | None, received_ns: int) -> int:
    if given_ns is None:
        return received_ns
    if abs(given_ns - received_ns) > MAX_CLOCK_ERROR_NS:
        raise PosedFrameError(
            "capture_ns is more than 10 s away from the server's clock; leave it out, or set the clock"
        )
    return given_ns


def _unit(vector: tuple[float, float, float]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    length = float(np.linalg.norm(vector))
    if not 0.5 < length < 2.0:
        raise PosedFrameError("up_camera must be a unit vector")
    return np.array(vector) / length
