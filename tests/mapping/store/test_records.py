"""Records survive their bytes; bytes that are no records are refused, never believed."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mapping.changes import KeyframeId
from mapping.store.records import (
    DropBlocks,
    EraseKeyframes,
    MovedKeyframes,
    Record,
    RecordError,
    SceneMeta,
    StoredBlocks,
    StoredKeyframe,
    StoredTile,
    decode,
    encode,
)
from streams.frame import Intrinsics, StreamId

LENS = Intrinsics(500, 501, 320, 240, 8, 6, 0.01)


def blocks(keys: list[tuple[int, int, int]], value: float = 0.0) -> StoredBlocks:
    n = len(keys)
    return StoredBlocks(
        keys=np.array(keys, np.int32).reshape(-1, 3),
        tsdf_m=np.full((n, 8, 8, 8), value, np.float16),
        weight=np.ones((n, 8, 8, 8), np.float16),
        rgb=np.full((n, 8, 8, 8, 3), int(value) % 256, np.uint8),
    )


def keyframe(stream: str = "a", seq: int = 0, capture_ns: int = 0, **more: Any) -> StoredKeyframe:
    return StoredKeyframe(
        id=KeyframeId(f"{stream}/{seq}"),
        stream=StreamId(stream),
        capture_ns=capture_ns,
        world_from_camera=np.eye(4) * (seq + 1),
        intrinsics=LENS,
        **more,
    )


def tile(key: int = 0, ver: int = 0, **more: Any) -> StoredTile:
    return StoredTile(layer="nav", key=(key, -key, "walker"), seq=ver * 10, ver=ver, wire=b"%d" % ver, **more)


EVERY_KIND: list[Record] = [
    SceneMeta(lineage="abc", epoch=3, seq_ceiling=2**40, attributes={"title": "Küche", "markers": [1, 2.5, None]}),
    blocks([(0, 0, 0), (-5, 7, 2**31 - 1)], 0.125),
    DropBlocks(),
    DropBlocks(keys=np.array([[1, 2, 3]], np.int32)),
    keyframe(seq=4, depth=np.arange(48, dtype=np.uint16).reshape(6, 8), jpeg=b"\xff\xd8"),
    keyframe(),
    MovedKeyframes(ids=[KeyframeId("a/1")], world_from_camera=np.eye(4)[None]),
    EraseKeyframes(stream=StreamId("a"), before_ns=5),
    tile(ver=2),
    tile(removed=True),
]


def plain(record: Record) -> Any:
    """Comparable by value: arrays as (dtype, nested lists)."""
    return msgspec.to_builtins(record, enc_hook=lambda array: [array.dtype.str, array.tolist()])


@pytest.mark.parametrize("record", EVERY_KIND, ids=lambda record: type(record).__name__)
def test_round_trip(record: Record) -> None:
    assert plain(decode(encode(record))) == plain(record)


def test_voxels_are_compressed() -> None:
    assert len(encode(blocks([(i, 0, 0) for i in range(100)]))) < 10_000


@given(st.binary(max_size=200))
def test_noise_is_refused(data: bytes) -> None:
    with pytest.raises(RecordError):
        decode(data)


@given(st.sampled_from(EVERY_KIND), st.data())
def test_damage_is_refused_or_harmless(record: Record, data: st.DataObject) -> None:
    """Whatever decodes holds arrays of the shapes its type promises; nothing else is ever raised."""
    damaged = bytearray(encode(record))
    damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        decoded = decode(bytes(damaged))
    except RecordError:
        return
    if isinstance(decoded, StoredBlocks):
        assert decoded.rgb.shape == (len(decoded.keys), 8, 8, 8, 3)


@pytest.mark.parametrize(
    "array",
    [
        ["float64", [4, 4], "none", b"short"],
        ["float64", [-4, -4], "none", bytes(128)],
        ["object", [4, 4], "none", bytes(128)],
        ["float64", [2**40, 2**40], "none", b""],
        ["float64", [4, 4], "zstd", b"not zstd"],
        ["nonsense", [4, 4], "none", bytes(128)],
        ["float64", [4, 4]],
        ["float32", [4, 4], "none", bytes(64)],
        7,
    ],
)
def test_hostile_arrays_are_refused(array: Any) -> None:
    data = {"t": "moved", "ids": ["a/1"], "world_from_camera": array}
    with pytest.raises(RecordError):
        decode(msgspec.msgpack.encode(data))


def test_a_compressed_bomb_is_not_inflated() -> None:
    import zstandard

    bomb = zstandard.ZstdCompressor().compress(bytes(200_000_000))
    data = {"t": "moved", "ids": ["a/1"], "world_from_camera": ["float64", [1, 4, 4], "zstd", bomb]}
    with pytest.raises(RecordError):
        decode(msgspec.msgpack.encode(data))


@pytest.mark.parametrize(
    "make",
    [
        lambda: keyframe(depth=np.zeros((8, 6), np.uint16)),
        lambda: MovedKeyframes(ids=[], world_from_camera=np.zeros((1, 4, 4))),
        lambda: StoredBlocks(**{**msgspec.structs.asdict(blocks([(0, 0, 0)])), "weight": np.ones((1, 8, 8, 8))}),
        lambda: DropBlocks(keys=np.zeros((1, 2), np.int32)),
    ],
)
def test_records_whose_arrays_do_not_fit_cannot_be_made(make: Any) -> None:
    with pytest.raises(RecordError):
        make()


def test_a_newer_minor_versions_field_is_ignored() -> None:
    data = msgspec.msgpack.decode(encode(tile(ver=3))) | {"colour": "blue"}
    assert plain(decode(msgspec.msgpack.encode(data))) == plain(tile(ver=3))


@pytest.mark.parametrize(
    ("erase", "erased"),
    [
        (EraseKeyframes(), ["a/0", "a/1", "b/2"]),
        (EraseKeyframes(stream=StreamId("a")), ["a/0", "a/1"]),
        (EraseKeyframes(before_ns=20), ["a/0", "a/1"]),
        (EraseKeyframes(stream=StreamId("a"), before_ns=10), ["a/0"]),
        (EraseKeyframes(ids=[KeyframeId("b/2")]), ["b/2"]),
    ],
)
def test_every_condition_of_an_erasure_must_hold(erase: EraseKeyframes, erased: list[str]) -> None:
    keyframes = [keyframe("a", 0, 0), keyframe("a", 1, 10), keyframe("b", 2, 20)]
    assert [k.id for k in keyframes if erase.matches(k)] == erased
