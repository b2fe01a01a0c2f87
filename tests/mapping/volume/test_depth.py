"""Local planes and trust of a depth map."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mapping.volume.depth import EDGE_WEIGHT, incidence, local_planes, trust, working_size
from streams.frame import DepthMap, Intrinsics

K = Intrinsics(60.0, 62.0, 32.3, 23.8, 64, 48)


def plane_depth(normal: np.ndarray, offset: float, k: Intrinsics = K) -> np.ndarray:
    """Depth of the plane `normal . x = offset` in camera axes; 0 where it is not in front."""
    x = (np.arange(k.width) + 0.5 - k.cx) / k.fx
    y = (np.arange(k.height) + 0.5 - k.cy) / k.fy
    along = normal[0] * x[None, :] + normal[1] * y[:, None] + normal[2]
    with np.errstate(divide="ignore"):
        return np.where(along > 0.05, offset / along, 0).astype(np.float32)


@settings(deadline=None, max_examples=30)
@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(0.5, 5))
def test_normals_of_a_plane_are_its_normal(tilt_x: float, tilt_y: float, offset: float) -> None:
    normal = np.array([tilt_x, tilt_y, 1.0])
    normal /= np.linalg.norm(normal)
    z = plane_depth(normal, offset)
    planes = local_planes(z, K)
    smooth = (z > 0) & ~planes.is_edge
    smooth[:2], smooth[-2:], smooth[:, :2], smooth[:, -2:] = False, False, False, False
    fitted = planes.normals_camera[smooth & np.any(planes.normals_camera != 0, axis=-1)]
    assert np.all(fitted @ -normal > np.cos(np.radians(1.0)))


def test_incidence_turns_z_into_distance_from_the_plane() -> None:
    normal = np.array([0.0, -0.6, 0.8])
    z = plane_depth(normal, 2.0)
    slant = incidence(local_planes(z, K), K)
    v, u = 24, 32
    ray = np.array([(u + 0.5 - K.cx) / K.fx, (v + 0.5 - K.cy) / K.fy, 1.0])
    before = ray * (z[v, u] - 0.1)
    assert abs(2.0 - before @ normal - 0.1 * slant[v, u]) < 1e-3


def test_pixels_next_to_a_jump_are_trusted_less_and_unknown_ones_not_at_all() -> None:
    z = np.full((48, 64), 2.0, np.float32)
    z[:, 32:] = 1.0
    z[10, 10] = 0
    planes = local_planes(z, K)
    weight = trust(DepthMap(z, K), planes, incidence(planes, K), half_trust_m=4.0)
    assert planes.is_edge[5, 31]
    assert planes.is_edge[5, 32]
    assert not planes.is_edge[5, 29]
    assert weight[5, 31] < 1.5 * EDGE_WEIGHT * weight[5, 28]
    assert weight[10, 10] == 0
    assert not planes.is_edge[10, 11]


def test_trust_follows_confidence_and_falls_with_distance() -> None:
    sure, unsure = np.ones((48, 64), np.float32), np.full((48, 64), 0.25, np.float32)
    near, far = np.full((48, 64), 1.0, np.float32), np.full((48, 64), 4.0, np.float32)

    def middle(z: np.ndarray, confidence: np.ndarray) -> float:
        planes = local_planes(z, K)
        return float(trust(DepthMap(z, K, confidence), planes, incidence(planes, K), half_trust_m=4.0)[24, 32])

    assert middle(near, unsure) == np.float32(0.25) ** 2 * np.float32(middle(near, sure))
    assert abs(middle(far, sure) - 0.5) < 1e-3


def test_garbage_depth_is_unknown() -> None:
    z = np.full((48, 64), np.nan, np.float32)
    z[0] = np.inf
    z[1] = -1
    planes = local_planes(z, K)
    assert not trust(DepthMap(z, K), planes, incidence(planes, K), 4.0).any()


def test_working_size_samples_single_pixels_and_scales_the_camera() -> None:
    z = np.arange(480 * 640, dtype=np.float32).reshape(480, 640)
    small = working_size(DepthMap(z, K.scaled(640, 480)), 160)
    assert small.z_m.shape == (120, 160)
    assert np.isin(small.z_m, z).all()
    assert small.intrinsics == K.scaled(160, 120)
    assert working_size(small, 160) is small
