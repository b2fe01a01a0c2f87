"""What one depth map says about the surfaces it sees: which way they face, and how far each pixel is to be trusted.

The inverse depth of a plane is linear in the pixel, so a least-squares line fit to 1/z over 5 x 5 pixels gives the
plane itself, without the bias that differencing depths has.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mapping.kernels import kernel
from streams.frame import DepthMap, Intrinsics

WINDOW_RADIUS_PX = 2
EDGE_STEP = 0.1
"""Neighbours whose inverse depths differ by this share stand on different surfaces."""
EDGE_WEIGHT = 0.1
MIN_INCIDENCE = 0.15


@dataclass(frozen=True, slots=True, eq=False)
class LocalPlanes:
    """The plane around each pixel of a depth map."""

    normals_camera: NDArray[np.float32]  # (h, w, 3) unit, towards the camera; 0 where no plane fits
    is_edge: NDArray[np.bool_]  # (h, w) next to a jump in depth


def local_planes(z_m: NDArray[np.float32], intrinsics: Intrinsics) -> LocalPlanes:
    """Fit a plane around every known pixel of a depth map (h, w)."""
    z_m = np.ascontiguousarray(z_m, np.float32)
    normals, is_edge = _fit(z_m, intrinsics.fx, intrinsics.fy, intrinsics.cx, intrinsics.cy)
    return LocalPlanes(normals, is_edge)


def working_size(depth: DepthMap, max_side_px: int) -> DepthMap:
    """The same map with a long side of at most `max_side_px`; samples single pixels, as a mean would bridge edges."""
    height, width = depth.z_m.shape
    step = max(1.0, max(height, width) / max_side_px)
    if step == 1.0:
        return depth
    small_h, small_w = max(1, round(height / step)), max(1, round(width / step))
    rows = ((np.arange(small_h) + 0.5) * height / small_h).astype(np.int64)
    cols = ((np.arange(small_w) + 0.5) * width / small_w).astype(np.int64)
    confidence = None if depth.confidence is None else depth.confidence[np.ix_(rows, cols)]
    return DepthMap(depth.z_m[np.ix_(rows, cols)], depth.intrinsics.scaled(small_w, small_h), confidence)


def warm_up() -> None:
    """Compile the kernel on a flat wall."""
    local_planes(np.ones((6, 6), np.float32), Intrinsics(6.0, 6.0, 3.0, 3.0, 6, 6))


@kernel
def _fit(
    z_m: NDArray[np.float32], fx: float, fy: float, cx: float, cy: float
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    h, w = z_m.shape
    normals = np.zeros((h, w, 3), np.float32)
    is_edge = np.zeros((h, w), np.bool_)
    for v in range(h):
        for u in range(w):
            z = z_m[v, u]
            if not z > 0.0:
                continue
            q = 1.0 / z
            n = su = sv = suu = suv = svv = sq = suq = svq = 0.0
            for y in range(max(0, v - WINDOW_RADIUS_PX), min(h, v + WINDOW_RADIUS_PX + 1)):
                for x in range(max(0, u - WINDOW_RADIUS_PX), min(w, u + WINDOW_RADIUS_PX + 1)):
                    if not z_m[y, x] > 0.0:
                        continue
                    dq = 1.0 / z_m[y, x] - q
                    du, dv = float(x - u), float(y - v)
                    if abs(dq) > EDGE_STEP * q:
                        is_edge[v, u] |= abs(du) <= 1.0 and abs(dv) <= 1.0
                        continue
                    n += 1.0
                    su += du
                    sv += dv
                    suu += du * du
                    suv += du * dv
                    svv += dv * dv
                    sq += dq
                    suq += du * dq
                    svq += dv * dq
            # Normal equations of dq = a + b du + c dv with the mean taken out.
            muu, muv, mvv = suu - su * su / n, suv - su * sv / n, svv - sv * sv / n
            muq, mvq = suq - su * sq / n, svq - sv * sq / n
            determinant = muu * mvv - muv * muv
            if n < 6.0 or determinant < 1e-6:
                continue
            b = (muq * mvv - mvq * muv) / determinant
            c = (mvq * muu - muq * muv) / determinant
            a = q + (sq - b * su - c * sv) / n
            nx, ny, nz = b * fx, c * fy, a - b * (u + 0.5 - cx) - c * (v + 0.5 - cy)
            norm = np.sqrt(nx * nx + ny * ny + nz * nz)
            if norm > 0.0:
                normals[v, u, 0], normals[v, u, 1], normals[v, u, 2] = -nx / norm, -ny / norm, -nz / norm
    return normals, is_edge


def incidence(planes: LocalPlanes, intrinsics: Intrinsics) -> NDArray[np.float32]:
    """(h, w) metres of distance to the surface per metre of z, in MIN_INCIDENCE..1; 1 where no plane fits."""
    h, w = planes.is_edge.shape
    x = (np.arange(w, dtype=np.float32) + 0.5 - intrinsics.cx) / intrinsics.fx
    y = (np.arange(h, dtype=np.float32) + 0.5 - intrinsics.cy) / intrinsics.fy
    n = planes.normals_camera
    along_ray = -(n[..., 0] * x[None, :] + n[..., 1] * y[:, None] + n[..., 2])
    fitted = np.any(n != 0.0, axis=-1)
    return np.where(fitted, np.clip(along_ray, MIN_INCIDENCE, 1.0), 1.0).astype(np.float32)


def trust(depth: DepthMap, planes: LocalPlanes, slant: NDArray[np.float32], half_trust_m: float) -> NDArray[np.float32]:
    """(h, w) in 0..1: how much a pixel counts, less where the surface is slanted, far away or next to a jump.

    Stereo's depth error grows with z^2, a structured-light camera's too; at `half_trust_m` a pixel counts half. The
    median error of the classical engine's pixels falls like one over their confidence: squared, it is a weight.
    """
    z = depth.z_m
    confidence = np.ones_like(z) if depth.confidence is None else depth.confidence
    edge = np.where(planes.is_edge, EDGE_WEIGHT, 1.0)
    known = np.isfinite(z) & (z > 0)
    weight = np.where(known, confidence**2 * slant * edge / (1.0 + (z / half_trust_m) ** 2), 0.0)
    return weight.astype(np.float32)
