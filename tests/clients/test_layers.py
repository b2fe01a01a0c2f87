"""What clients read from updates, carried into the world of now."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from clients import layers
from clients.mirror import Put
from mapping.transforms import Sim3, look_at, rotation_from_quat
from mapping.volume.visibility import DepthView
from navmesh.islands import IslandTile
from navmesh.tiles import SurfaceTile, TileKey
from server.bus import encode
from server.bus.channel import Channel
from server.protocol import Delta, unpack_server
from streams.frame import Intrinsics, StreamId

CAMERA = look_at([1.0, 2.0, 3.0], [0.0, 0.0, 0.0])
NOW = Sim3(2.0, rotation_from_quat([0.5, 0.5, 0.5, 0.5]), np.array([5.0, 0.0, -1.0]))
"""A correction of the map that turns, shifts and doubles it."""


def put(item: encode.Publication | encode.Removal) -> Put:
    channel = Channel("s", "l")
    channel.publish(item, capture_ns=1, infer_ns=2, now_ns=3)
    message, arrays = unpack_server(channel.entries()[0].frame)
    assert isinstance(message, Delta)
    return Put(message.layer, tuple(message.key), 1, 0, 1, 2, 3, 4, message.body, arrays)


def seen_points(depth: layers.DepthMap) -> NDArray[np.float64]:
    """Every pixel's point in the world."""
    fx, fy, cx, cy = depth.K
    v, u = np.indices(depth.z_m.shape) + 0.5
    camera = np.stack([(u - cx) / fx, (v - cy) / fy, np.ones_like(u)], axis=-1) * depth.z_m[..., None]
    return np.asarray(camera @ depth.world_from_camera[:3, :3].T + depth.world_from_camera[:3, 3])


def test_depth_moves_and_grows_with_the_map() -> None:
    z = np.linspace(1.0, 3.0, 48).reshape(6, 8)
    view = DepthView(CAMERA, Intrinsics(10.0, 11.0, 4.0, 3.0, 8, 6), z)
    update = put(encode.depth(StreamId("s"), 7, view))
    then = layers.depth(update)
    assert then.stream == "s"
    np.testing.assert_allclose(then.z_m, z, atol=0.00051)
    np.testing.assert_allclose(then.world_from_camera, CAMERA, atol=1e-9)
    now = layers.depth(update, NOW.matrix())
    np.testing.assert_allclose(np.linalg.det(now.world_from_camera[:3, :3]), 1.0)
    np.testing.assert_allclose(seen_points(now), NOW.apply(seen_points(then)), atol=1e-6)


@pytest.mark.parametrize("layer", ["mesh", "occluder", "culling"])
def test_surfaces_move_with_the_map(layer: Any) -> None:
    vertices = np.random.default_rng(0).random((40, 3)).astype(np.float32)
    tile = SurfaceTile(TileKey(0, 0), vertices, np.arange(39, dtype=np.uint32).reshape(13, 3))
    surface = layers.surface(put(encode.surface(layer, tile)), NOW.matrix())
    corners = surface.vertices_m[surface.indices]
    expected = NOW.apply(vertices.astype(np.float64))[tile.indices]
    step_m = 2.0 * encode.SURFACE_STEP_M[layer]
    for ours, theirs in zip(corners, expected, strict=True):
        assert min(np.abs(np.roll(ours, n, axis=0) - theirs).max() for n in range(3)) < step_m


def test_poses_move_with_the_map() -> None:
    update = put(encode.pose(StreamId("s"), 1, "tracked", CAMERA, None))
    placed = layers.pose(update, NOW.matrix()).world_from_camera
    assert placed is not None
    np.testing.assert_allclose(placed, NOW.apply_pose(CAMERA), atol=1e-9)
    lost = put(encode.pose(StreamId("s"), 2, "lost", None, None))
    assert layers.pose(lost, NOW.matrix()).world_from_camera is None


def test_islands_are_rows_of_polygons() -> None:
    assert layers.islands(put(encode.islands(IslandTile(TileKey(0, 1), "cat", (0, 4))))) == {0, 4}
