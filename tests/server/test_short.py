"""The short form of a delta says what the plain one says, in far fewer bytes, and refuses what is broken."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from navmesh.incremental import Config, Incremental
from navmesh.recast import Agent
from navmesh.tiles import NavTile
from server.bus import encode
from server.bus.channel import Channel, Entry
from server.bus.variants import short
from server.protocol import CODECS, Delta, ProtocolError, pack, polygons, unpack_server
from tests.server.test_encode import nav_tile, surface_tile

SHORT = frozenset(CODECS)
ALL_PARTS: Any = frozenset({"detail", "blob"})


@pytest.fixture(scope="module")
def floor() -> list[NavTile]:
    """Tiles with walls, steps and several kinds of ground."""
    from benchmarks.copies import furnished
    from benchmarks.sdf_world import SdfWorld

    tiles = Incremental(SdfWorld(furnished()), [Agent()], Config(surfaces=False, batch_tiles=16)).step().nav
    return [tile for tile in tiles if len(tile.polys)]


def published(*items: encode.Publication | encode.Removal) -> list[Entry]:
    channel = Channel("main", "l")
    channel.seq = 1_000_000
    for item in items:
        channel.publish(item, capture_ns=1_760_000_000_123_456_789, infer_ns=1_760_000_000_223_456_789, now_ns=3)
    return channel.entries()


def same(ours: bytes, theirs: bytes) -> None:
    (a, a_arrays), (b, b_arrays) = unpack_server(ours), unpack_server(theirs)
    assert isinstance(a, Delta)
    assert isinstance(b, Delta)
    for name in ("scene", "seq", "epoch", "layer", "key", "ver", "capture_ns", "infer_ns", "publish_ns", "body"):
        assert getattr(a, name) == getattr(b, name), name
    assert a_arrays.keys() == b_arrays.keys()
    for name, array in a_arrays.items():
        assert array.dtype == b_arrays[name].dtype
        np.testing.assert_array_equal(array, b_arrays[name])


def test_every_tile_of_a_furnished_floor_comes_back_whole(floor: list[NavTile]) -> None:
    assert len({area for tile in floor for area in tile.areas.tolist()}) > 1
    for entry in published(*map(encode.nav, floor)):
        parts: Any
        for parts in (frozenset(), ALL_PARTS):
            made = entry.frame_with(parts, SHORT)
            same(made, entry.frame_with(parts))
            assert made[4] == 0x9B


def test_a_whole_nav_message_takes_less_than_200_bytes(floor: list[NavTile]) -> None:
    sizes = [len(entry.frame_with(frozenset(), SHORT)) for entry in published(*map(encode.nav, floor))]
    assert np.mean(sizes) <= 200
    assert max(sizes) <= 500


def test_other_layers_say_the_same() -> None:
    thumbnail = encode.thumbnail("s", np.zeros((90, 120, 3), np.uint8))  # type: ignore[arg-type]
    pose = encode.pose("s", 7, "lost", None, None)  # type: ignore[arg-type]
    for entry in published(encode.surface("occluder", surface_tile()), thumbnail, pose):
        made = entry.frame_with(frozenset(), SHORT)
        same(made, entry.frame_with(frozenset(), frozenset({"meshopt"})))
        assert len(made) < 0.6 * len(entry.frame) or entry.layer != "pose"


def test_what_the_short_form_cannot_say_comes_plain() -> None:
    tile = nav_tile()
    odd = tile.neighbours.copy()
    odd[0, 0] = 0x8002 if odd[0, 0] != 0x8002 else 0x8001
    item = encode.nav(NavTile(**{n: getattr(tile, n) for n in NavTile.__slots__} | {"neighbours": odd}))
    [entry] = published(item)
    made = entry.frame_with(frozenset(), SHORT)
    assert made == entry.frame_with(frozenset())
    np.testing.assert_array_equal(unpack_server(made)[1]["neighbours"], odd)


def test_only_deltas_are_shortened() -> None:
    from server.protocol import Pong

    with pytest.raises(ProtocolError, match="only deltas"):
        short(pack(Pong(t0_ns=1, t1_ns=2, t2_ns=3)))


def test_any_changed_byte_is_refused_or_read(floor: list[NavTile]) -> None:
    rng = np.random.default_rng(0)
    refused = 0
    for entry in published(encode.nav(floor[0]), encode.surface("occluder", surface_tile())):
        frame = entry.frame_with(frozenset(), SHORT)
        for _ in range(1000):
            spoiled = bytearray(frame)
            spoiled[int(rng.integers(4, len(frame)))] ^= int(rng.integers(1, 256))
            try:
                unpack_server(bytes(spoiled))
            except ProtocolError:
                refused += 1
    assert refused > 200


@given(st.binary(max_size=80))
def test_no_bytes_break_the_reader_of_polygons(tail: bytes) -> None:
    try:
        body, arrays = polygons.unpack(bytes(28) + tail)
    except polygons.PolygonsError:
        return
    assert len(arrays["polys"]) == len(arrays["areas"]) == len(arrays["neighbours"])
    assert body["cell_size_m"] == 0.0
