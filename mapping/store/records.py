"""What a stored scene is made of: the records of its log, and how they become bytes.

A record states the newest value of something (a tile, a block, a keyframe) or takes something away; applying the
records in order gives the scene. Arrays travel as `[dtype, shape, codec, bytes]`, zstd where that pays. Decoding trusts
nothing.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import zstandard
from numpy.typing import NDArray

from mapping.changes import BLOCK_VOXELS, KeyframeId
from streams.frame import Intrinsics, StreamId

LayerKey = tuple[int | str, ...]
"""Names one tile within its layer, as on the wire: (x, z), (x, z, agent), (asset,)."""

MAX_ARRAY_BYTES = 256 * 1024 * 1024
COMPRESS_ABOVE_BYTES = 512
_ROW_SHAPE = (BLOCK_VOXELS, BLOCK_VOXELS, BLOCK_VOXELS)


class RecordError(ValueError):
    """Bytes that are no record of ours, or a record whose arrays do not fit together."""


class _Record(msgspec.Struct, frozen=True, kw_only=True, eq=False, tag_field="t"):
    """Unknown fields are ignored, so that a newer minor version's log stays readable."""


class SceneMeta(_Record, frozen=True, eq=False, tag="meta"):
    """Facts of the whole scene; the newest replaces the ones before."""

    lineage: str
    """Changes when the scene's state was lost: what clients remember is then worthless."""
    epoch: int = 0
    voxel_size_m: float = 0.05
    truncation_m: float = 0.2
    scale_source: str = "none"
    gravity_source: str = "none"
    seq_ceiling: int = 0
    """Every sequence number given to clients so far is below this; after a restart count on from here."""
    attributes: dict[str, Any] = {}
    """Whatever else the owner of the scene wants back (its title, known markers); plain msgpack values."""


class StoredBlocks(_Record, frozen=True, eq=False, tag="blocks"):
    """The newest voxels of some TSDF blocks. Half precision: 0.1 mm at 20 cm, an eighth of the bytes with zstd."""

    keys: NDArray[np.int32]  # (n, 3) BlockKeys
    tsdf_m: NDArray[np.float16]  # (n, 8, 8, 8) axes (x, y, z) as VoxelWindow's
    weight: NDArray[np.float16]  # (n, 8, 8, 8) 0 = unknown
    rgb: NDArray[np.uint8]  # (n, 8, 8, 8, 3)

    def __post_init__(self) -> None:
        n = len(self.keys)
        _require("keys", self.keys, np.int32, (n, 3))
        _require("tsdf_m", self.tsdf_m, np.float16, (n, *_ROW_SHAPE))
        _require("weight", self.weight, np.float16, (n, *_ROW_SHAPE))
        _require("rgb", self.rgb, np.uint8, (n, *_ROW_SHAPE, 3))


class DropBlocks(_Record, frozen=True, eq=False, tag="drop_blocks"):
    """Blocks that are no longer part of the map; None = all of them (a new epoch starts afresh)."""

    keys: NDArray[np.int32] | None = None  # (n, 3)

    def __post_init__(self) -> None:
        if self.keys is not None:
            _require("keys", self.keys, np.int32, (len(self.keys), 3))


class StoredKeyframe(_Record, frozen=True, eq=False, tag="keyframe"):
    """A keyframe without its picture: where the camera was and, maybe, how far things were."""

    id: KeyframeId
    stream: StreamId
    capture_ns: int
    world_from_camera: NDArray[np.float64]  # (4, 4)
    intrinsics: Intrinsics
    """Of the depth map's size when there is one."""
    depth: NDArray[np.uint16] | None = None  # (h, w) in steps of depth_step_m, 0 = unknown
    depth_step_m: float = 0.001
    jpeg: bytes | None = None
    """The picture; kept only by a store that was opened to retain pixels."""

    def __post_init__(self) -> None:
        _require("world_from_camera", self.world_from_camera, np.float64, (4, 4))
        if self.depth is not None:
            _require("depth", self.depth, np.uint16, (self.intrinsics.height, self.intrinsics.width))


class StoredPlace(_Record, frozen=True, eq=False, tag="place"):
    """What can be recognised in a keyframe: descriptors of its corners, no picture."""

    id: KeyframeId
    stream: StreamId
    component: int
    """Which of the stream's unconnected maps the pose and the depths belong to."""
    capture_ns: int
    component_from_camera: NDArray[np.float64]  # (4, 4)
    intrinsics: Intrinsics
    focal_px: float
    descriptors: NDArray[np.uint8]  # (n, 32)
    xy: NDArray[np.float32]  # (n, 2) undistorted, at z = 1
    depth: NDArray[np.float32]  # (n,) component units, 0 = unknown
    focal_sigma: float = 0.01
    """What the focal length may be off by, relative."""

    def __post_init__(self) -> None:
        n = len(self.descriptors)
        _require("component_from_camera", self.component_from_camera, np.float64, (4, 4))
        _require("descriptors", self.descriptors, np.uint8, (n, 32))
        _require("xy", self.xy, np.float32, (n, 2))
        _require("depth", self.depth, np.float32, (n,))


class MovedKeyframes(_Record, frozen=True, eq=False, tag="moved"):
    """New poses of keyframes that are stored already (a loop closed, the map turned)."""

    ids: list[KeyframeId]
    world_from_camera: NDArray[np.float64]  # (n, 4, 4)

    def __post_init__(self) -> None:
        _require("world_from_camera", self.world_from_camera, np.float64, (len(self.ids), 4, 4))


class EraseKeyframes(_Record, frozen=True, eq=False, tag="erase"):
    """Forget the keyframes that fit every condition given: of this stream, captured before this, among these."""

    stream: StreamId | None = None
    before_ns: int | None = None
    ids: list[KeyframeId] | None = None

    def matches(self, keyframe: StoredKeyframe | StoredPlace) -> bool:
        return (
            (self.stream is None or keyframe.stream == self.stream)
            and (self.before_ns is None or keyframe.capture_ns < self.before_ns)
            and (self.ids is None or keyframe.id in self.ids)
        )


class StoredTile(_Record, frozen=True, eq=False, tag="tile"):
    """The newest published message of one key of one layer, as opaque wire bytes; a removal is kept like any other."""

    layer: str
    key: LayerKey
    seq: int
    ver: int
    wire: bytes
    removed: bool = False


Record = (
    SceneMeta | StoredBlocks | DropBlocks | StoredKeyframe | StoredPlace | MovedKeyframes | EraseKeyframes | StoredTile
)


def encode(record: Record) -> bytes:
    """One record as bytes."""
    return _encoder.encode(record)


def decode(data: bytes | memoryview) -> Record:
    """The record that `encode` was given; its arrays are read-only.

    Raises:
        RecordError: the bytes are not a record of ours.
    """
    try:
        record: Record = _decoder.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise RecordError(str(error)) from error
    return record


def _require(name: str, array: NDArray[Any], dtype: Any, shape: tuple[int, ...]) -> None:
    if array.dtype != dtype or array.shape != shape:
        raise RecordError(f"{name} must be {shape} {np.dtype(dtype).name}, got {array.shape} {array.dtype.name}")


def _encode_array(array: Any) -> list[Any]:
    if not isinstance(array, np.ndarray):
        raise RecordError(f"cannot store a {type(array).__name__}")
    raw = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()
    packed = zstandard.ZstdCompressor(level=1).compress(raw) if len(raw) > COMPRESS_ABOVE_BYTES else raw
    codec, data = ("zstd", packed) if len(packed) < len(raw) else ("none", raw)
    return [array.dtype.name, list(array.shape), codec, data]


def _decode_array(_: type, fields: Any) -> NDArray[Any]:
    name, shape, codec, data = fields
    dtype = np.dtype(name).newbyteorder("<")
    size = math.prod(shape) * dtype.itemsize
    if dtype.hasobject or any(n < 0 for n in shape) or size > MAX_ARRAY_BYTES:
        raise RecordError(f"array of {shape} {name}")
    if codec == "zstd":
        try:
            data = zstandard.ZstdDecompressor().decompress(data, max_output_size=max(size, 1))
        except zstandard.ZstdError as error:
            raise RecordError(str(error)) from error
    if len(data) != size:
        raise RecordError(f"array of {shape} {name} has {len(data)} bytes")
    return np.frombuffer(data, dtype).reshape(shape)


_encoder = msgspec.msgpack.Encoder(enc_hook=_encode_array)
_decoder = msgspec.msgpack.Decoder(Record, dec_hook=_decode_array)
