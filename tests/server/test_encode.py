"""Every layer there and back, within what its quantisation promises."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mapping.changes import KeyframeId
from mapping.transforms import look_at, rotation_from_quat
from mapping.volume.visibility import DepthView
from navmesh.build import border_cells
from navmesh.detail import detail_of
from navmesh.islands import IslandTile
from navmesh.recast import WALKABLE, Agent, TileFrame, build_from_spans
from navmesh.recast import Config as RecastConfig
from navmesh.tiles import NavTile, SurfaceTile, TileChange, TileKey
from server.bus import encode
from server.bus.channel import Channel
from server.protocol import Delta, ProtocolError, unpack_server
from streams.frame import Intrinsics, StreamId


def sent(item: encode.Publication | encode.Removal) -> tuple[Delta, dict[str, NDArray[Any]]]:
    assert isinstance(item, encode.Publication)
    channel = Channel("s", "l")
    channel.publish(item, capture_ns=1, infer_ns=2, now_ns=3)
    message, arrays = unpack_server(channel.entries()[0].frame)
    assert isinstance(message, Delta)
    return message, arrays


def surface_tile(x: int = 0, z: int = 0, height: float = 2.5, n: int = 50, seed: int = 0) -> SurfaceTile:
    rng = np.random.default_rng(seed)
    vertices = rng.random((n, 3), np.float32) * [3.2, height, 3.2] + [3.2 * x, -1, 3.2 * z]
    indices = rng.integers(0, n, (40, 3), np.uint32)
    return SurfaceTile(TileKey(x, z), vertices.astype(np.float32), indices, rng.integers(0, 255, (n, 3), np.uint8))


@given(st.integers(-50, 50), st.integers(-50, 50), st.integers(0, 99))
def test_surfaces_come_back_within_half_a_step(x: int, z: int, seed: int) -> None:
    tile = surface_tile(x, z, seed=seed)
    message, arrays = sent(encode.surface("mesh", tile))
    back = np.array(message.body["origin_m"]) + arrays["vertices"] * message.body["step_m"]
    assert message.body["step_m"] == 0.001
    np.testing.assert_allclose(back, tile.vertices_m, atol=0.00051)
    np.testing.assert_array_equal(arrays["indices"], tile.indices)
    np.testing.assert_array_equal(arrays["rgb"], tile.rgb)
    assert arrays["indices"].dtype == np.uint16


def test_borders_of_neighbours_meet_exactly() -> None:
    border = np.random.default_rng(3).random((30, 3), np.float32) * [0, 2, 3.2] + [3.2, 0, 0]
    world = []
    for x, seed in ((0, 1), (1, 2)):
        own = surface_tile(x, 0, seed=seed).vertices_m
        tile = SurfaceTile(TileKey(x, 0), np.vstack([border, own]).astype(np.float32), np.zeros((1, 3), np.uint32))
        message, arrays = sent(encode.surface("occluder", tile))
        step_m = message.body["step_m"]
        steps = np.rint(np.array(message.body["origin_m"]) / step_m).astype(int) + arrays["vertices"][:30]
        world.append(steps)
    np.testing.assert_array_equal(world[0], world[1])


def same_triangles(ours: NDArray[Any], theirs: NDArray[Any]) -> bool:
    """Whether each triangle is the other's, perhaps turned."""
    return all(any((np.roll(a, n) == b).all() for n in range(3)) for a, b in zip(ours, theirs, strict=True))


@given(st.integers(3, 400), st.integers(1, 700), st.integers(0, 99))
def test_occluders_come_back_packed_and_plain(n: int, m: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    vertices = (rng.random((n, 3)) * 3.2).astype(np.float32)
    indices = np.vstack([[0, 1, 2], rng.integers(0, n, (m, 3))]).astype(np.uint32)
    item = encode.surface("occluder", SurfaceTile(TileKey(0, 0), vertices, indices))
    assert isinstance(item, encode.Publication)
    channel = Channel("s", "l")
    channel.publish(item, capture_ns=1, infer_ns=2, now_ns=3)
    [entry] = channel.entries()
    packed, plain = (unpack_server(entry.frame_with(frozenset(), c)) for c in (frozenset({"meshopt"}), frozenset()))
    assert [b.codec for b in packed[0].buffers] == ["meshopt_vertices", "meshopt_triangles"]
    assert {b.codec for b in plain[0].buffers} <= {"none", "zstd"}
    for message, arrays in (packed, plain):
        back = np.array(message.body["origin_m"]) + arrays["vertices"] * message.body["step_m"]
        assert np.abs(back - vertices).max() <= 0.5 * message.body["step_m"] + 1e-6
        assert arrays["vertices"].dtype == np.int16
        assert arrays["indices"].dtype == np.uint16
        assert same_triangles(arrays["indices"], indices)


def test_occluders_that_arrive_broken_are_refused() -> None:
    item = encode.surface("occluder", surface_tile())
    assert isinstance(item, encode.Publication)
    channel = Channel("s", "l")
    channel.publish(item, capture_ns=1, infer_ns=2, now_ns=3)
    frame = channel.entries()[0].frame
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        spoiled = bytearray(frame)
        at = int(rng.integers(len(frame) - len(item.payload), len(frame)))
        spoiled[at] ^= int(rng.integers(1, 256))
        try:
            unpack_server(bytes(spoiled))
        except ProtocolError:
            refused += 1
    assert refused > 30


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 99))
def test_depth_comes_back_within_half_a_step(h: int, w: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    z = (rng.random((h, w)) * 8).astype(np.float16)
    z[rng.random((h, w)) < 0.2] = 0
    z[0, 0] = np.nan
    k = Intrinsics(500, 501, 320, 240, w, h)
    message, arrays = sent(encode.depth(StreamId("s"), 7, DepthView(look_at([1, 2, 3], [0, 0, 0]), k, z, 0.5)))
    assert message.body["K"] == [500, 501, 320, 240, w, h]
    assert message.body["world_from_camera"]["t"] == [1, 2, 3]
    expected = np.nan_to_num(z.astype(np.float64)) * 0.5
    assert np.abs(arrays["z"] * message.body["step_m"] - expected).max() <= 0.00051
    assert ((arrays["z"] == 0) == (expected < 0.0005)).all()


def test_depth_beyond_65_m_is_coarser() -> None:
    k = Intrinsics(5, 5, 2, 2, 4, 4)
    message, arrays = sent(encode.depth(StreamId("s"), 7, DepthView(np.eye(4), k, np.full((4, 4), 200.0))))
    assert message.body["step_m"] == 0.004
    assert (arrays["z"] == 50_000).all()


def test_a_depth_map_of_a_room_is_small() -> None:
    """A floor and a wall with 5 mm of noise at 256 x 192: what the notes measured as 28.7 KB."""
    rng = np.random.default_rng(1)
    v = np.arange(192)[:, None]
    z = np.minimum(3.0, 1.5 / np.maximum((v - 96) / 200, 1e-3)) + rng.normal(0, 0.005, (192, 256))
    k = Intrinsics(200, 200, 128, 96, 256, 192)
    message, _ = sent(encode.depth(StreamId("s"), 7, DepthView(np.eye(4), k, z)))
    assert message.buffers[0].len < 50_000


def test_a_tower_is_coarser_and_a_big_tile_has_wide_indices() -> None:
    message, arrays = sent(encode.surface("mesh", surface_tile(height=300.0, n=70_000)))
    assert message.body["step_m"] == 0.008
    assert arrays["indices"].dtype == np.uint32


@given(st.floats(0.1, 200), st.integers(0, 99))
def test_points_come_back_within_a_step(reach_m: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = ((rng.random((100, 3)) - 0.5) * 2 * reach_m).astype(np.float32)
    rgb = rng.integers(0, 255, (100, 3), dtype=np.uint8)
    world_from_camera = look_at([1, 2, 3], [0, 0, 0])
    message, arrays = sent(encode.points(KeyframeId("s/1"), StreamId("s"), world_from_camera, points, rgb))
    step_m = message.body["step_m"]
    assert step_m >= 0.001
    np.testing.assert_allclose(arrays["xyz"] * step_m, points, atol=0.51 * step_m)
    given_pose = message.body["world_from_camera"]
    np.testing.assert_allclose(rotation_from_quat(given_pose["q_wxyz"]), world_from_camera[:3, :3], atol=1e-9)
    assert given_pose["t"] == [1, 2, 3]


def test_no_points_are_fine() -> None:
    empty = np.empty((0, 3))
    item = encode.points(KeyframeId("s/1"), StreamId("s"), np.eye(4), empty.astype(np.float32), empty.astype(np.uint8))
    assert sent(item)[1]["xyz"].shape == (0, 3)


def test_empty_tiles_become_removals() -> None:
    nothing = SurfaceTile(TileKey(1, 2), np.empty((0, 3), np.float32), np.empty((0, 3), np.uint32))
    none = np.empty((0, 6), np.uint16)
    nav = NavTile(TileKey(1, 2), "human", (0, 0, 0), 0.05, 0.025, none[:, :3], none, none, np.empty(0, np.uint8))
    items = encode.tile_change(TileChange((nav,), (nothing,), (nothing,)))
    assert [(type(i).__name__, i.layer, i.key) for i in items] == [
        ("Removal", "nav", (1, 2, "human")),
        ("Removal", "mesh", (1, 2)),
        ("Removal", "occluder", (1, 2)),
    ]


def nav_tile(key: TileKey = TileKey(-1, 4)) -> NavTile:  # noqa: B008
    """A floor with a hump that has no corner of its own."""
    frame = TileFrame(key, 0.05, 0.025, border_cells(Agent(), 0.05, RecastConfig()), grid_origin_m=(0.0, -20.0, 0.0))
    x, z = (index.ravel() for index in np.indices((frame.side_cells, frame.side_cells)))
    top = 800 + np.maximum(0, 8 - np.hypot(x - 40, z - 40) / 3).astype(np.int64)
    spans = np.column_stack([x, z, top - 1, top, np.full_like(x, WALKABLE)]).astype(np.uint16)
    return build_from_spans(spans, frame, Agent(), RecastConfig())


def test_nav_tiles_come_back_whole() -> None:
    tile = nav_tile()
    message, arrays = sent(encode.nav(tile))
    assert message.key == [-1, 4, "human"]
    for name in ("verts", "polys", "neighbours", "areas"):
        np.testing.assert_array_equal(arrays[name], getattr(tile, name))
    assert arrays["blob"].tobytes() == tile.blob
    detail = detail_of(tile)
    assert len(detail.verts_m) > 0
    np.testing.assert_array_equal(arrays["detail_verts"], detail.verts_m)
    np.testing.assert_array_equal(arrays["detail_tris"], detail.tris)
    footprint = encode.nav(tile).footprint_m  # type: ignore[union-attr]
    assert footprint == pytest.approx((-3.2, 12.8, 0.0, 16.0))


def test_poses_with_and_without_a_place() -> None:
    k = Intrinsics(500, 501, 320, 240, 640, 480)
    message, _ = sent(encode.pose(StreamId("s"), 7, "tracked", look_at([1, 2, 3], [0, 0, 0]), k, "marker"))
    assert message.body["K"] == [500, 501, 320, 240, 640, 480]
    assert message.body["t"] == [1, 2, 3]
    lost, _ = sent(encode.pose(StreamId("s"), 8, "lost", None, None))
    assert (lost.body["t"], lost.body["q_wxyz"], lost.body["K"]) == (None, None, None)


@pytest.mark.parametrize(("shape", "size"), [((480, 640), (160, 120)), ((640, 360), (90, 160)), ((3, 4000), (160, 1))])
def test_thumbnails_are_small_jpegs(shape: tuple[int, int], size: tuple[int, int]) -> None:
    rgb = np.zeros((*shape, 3), np.uint8)
    rgb[..., 0] = 200
    message, arrays = sent(encode.thumbnail(StreamId("s"), rgb))
    assert (message.body["width"], message.body["height"]) == size
    back = cv2.imdecode(arrays["jpeg"], cv2.IMREAD_COLOR)
    assert back.shape[:2][::-1] == size
    assert back[0, 0, 2] > 150
    assert back[0, 0, 0] < 60


def test_islands_come_back_and_none_are_a_removal() -> None:
    message, arrays = sent(encode.islands(IslandTile(TileKey(-1, 2), "cat", (0, 3))))
    assert (message.layer, message.key, message.body) == ("islands", [-1, 2, "cat"], {"agent": "cat"})
    assert arrays["polygons"].tolist() == [0, 3]
    assert encode.islands(IslandTile(TileKey(-1, 2), "cat", ())) == encode.Removal("islands", (-1, 2, "cat"))
