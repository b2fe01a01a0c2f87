"""Every message on the map's WebSocket, and the one framing they all share.

A message is one binary frame: `u32 header_len | msgpack header | zeros to a multiple of 8 | buffers`, little-endian.
Buffers are 8-byte aligned (offsets count from the start of the first buffer) and described in the header, so that
JavaScript typed arrays, C# spans and GDScript packed arrays read them in place. A client may ask for deltas in fewer
bytes (`short`). Imports nothing of ours but `meshopt`, `planes`, `polygons` and `short`: the Python SDK and any tool
can use these five files alone. `asyncapi.yaml` beside it says the same to other languages, and how a client has to
treat what it receives; a test holds them together.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Annotated, Any, Literal, get_args

import msgspec
import numpy as np
import zstandard
from numpy.typing import NDArray

from server import meshopt, planes, polygons
from server import short as short_form

SUBPROTOCOL = "commonground.map.v1"
CLOSE_UNSUPPORTED = 4406
CLOSE_UNAUTHORIZED = 4401
CLOSE_BAD_MESSAGE = 4400
CLOSE_TOO_SLOW = 4008
MAX_INBOUND_BYTES = 64 * 1024
MAX_BUFFER_BYTES = 64 * 1024 * 1024
COMPRESS_ABOVE_BYTES = 512

Layer = Literal[
    "pose", "thumbnail", "points", "mesh", "nav", "islands", "occluder", "culling", "depth", "asset", "event"
]
LAYERS: tuple[Layer, ...] = get_args(Layer)
DEFAULT_LAYERS: tuple[Layer, ...] = tuple(layer for layer in LAYERS if layer not in ("culling", "depth"))
"""What our clients ask for when they are not told: all but what serves a special purpose."""

Part = Literal["detail", "blob"]
PARTS: dict[Part, frozenset[str]] = {"detail": frozenset({"detail_verts", "detail_tris"}), "blob": frozenset({"blob"})}
"""Buffers of `nav` tiles that are sent only to clients that ask for that part."""

Codec = Literal["meshopt", "short"]
CODECS: tuple[Codec, ...] = get_args(Codec)
"""What is packed only for clients that say they can undo it: triangles with `meshopt`, whole deltas with `short`."""
PackedAs = Literal["meshopt_vertices", "meshopt_triangles", "planes"]

Vector3 = tuple[float, float, float]
Short = Annotated[str, msgspec.Meta(max_length=256)]
Token = Annotated[str, msgspec.Meta(max_length=4096)]


class ProtocolError(ValueError):
    """A message that does not follow this file."""


class _Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="t", forbid_unknown_fields=False):
    """Unknown fields are ignored: a newer minor version may add some."""


# -- client to server -------------------------------------------------------------------------------------------------


class Resume(msgspec.Struct, frozen=True):
    """Where a client that comes back had got to; the server sends only what is newer."""

    lineage: Short
    seq: int
    roi: Roi | None = None
    """The region that was complete then; None = the whole scene. Give back what `synced` said."""


class Hello(_Message, frozen=True, tag="hello"):
    """First message on the socket, within 5 s."""

    client: Short
    token: Token | None = None
    max_message_bytes: int | None = None


class Roi(msgspec.Struct, frozen=True):
    """Region of interest: a sphere in world metres, or around a stream's camera as it moves."""

    radius_m: float
    center_m: Vector3 | None = None
    follow: Short | None = None


class Subscribe(_Message, frozen=True, tag="subscribe"):
    """Ask for layers of a scene; answered by snapshot, the tiles nearest to the region first, then deltas."""

    scene: Short
    layers: Annotated[list[Layer], msgspec.Meta(max_length=16)]
    roi: Roi | None = None
    max_hz: float | None = None
    """At most this many updates a second for each key."""
    resume: Resume | None = None
    agents: Annotated[list[Short], msgspec.Meta(max_length=64)] | None = None
    """Whose `nav` tiles; None = every agent's. A client that resumes asks for the same again."""
    parts: Annotated[list[Part], msgspec.Meta(max_length=16)] = []
    """What `nav` tiles are to bring besides polygons; a client that resumes asks for the same again."""
    codecs: Annotated[list[Codec], msgspec.Meta(max_length=16)] = []
    """What the client can undo besides `none`, `zstd` and `planes`; without them, deltas come larger."""


class UpdateRoi(_Message, frozen=True, tag="update_roi"):
    scene: Short
    roi: Roi | None


class Unsubscribe(_Message, frozen=True, tag="unsubscribe"):
    scene: Short


class Ack(_Message, frozen=True, tag="ack"):
    """Every 250 ms: the newest sequence number applied and when (client's estimate of server time)."""

    seq: int
    applied_ns: int


class Ping(_Message, frozen=True, tag="ping"):
    t0_ns: int


ClientMessage = Hello | Subscribe | UpdateRoi | Unsubscribe | Ack | Ping

# -- server to client -------------------------------------------------------------------------------------------------


class Limits(msgspec.Struct, frozen=True):
    max_inbound_bytes: int
    max_message_bytes: int


class SceneInfo(msgspec.Struct, frozen=True):
    """A scene as listed in the welcome."""

    scene: str
    epoch: int
    lineage: str
    """Changes when the server lost the scene's state: resume is then impossible."""
    scale_source: str
    """`posed`, `marker`, `camera_height`, `distance` or `none`: with `none`, lengths are not metres."""
    gravity_source: str


class Welcome(_Message, frozen=True, tag="welcome"):
    session: str
    server: str
    clock_ns: int
    limits: Limits
    scenes: list[SceneInfo]


class SnapshotBegin(_Message, frozen=True, tag="snapshot_begin"):
    scene: SceneInfo
    seq: int
    entries: int
    """How many deltas follow before `snapshot_end`."""
    resumed: bool


class SnapshotEnd(_Message, frozen=True, tag="snapshot_end"):
    scene: str
    seq: int


class Buffer(msgspec.Struct, frozen=True):
    """Where an array lies behind the header."""

    name: str
    off: int
    len: int
    """Bytes on the wire (after the codec)."""
    dtype: str
    """numpy's name: uint8, uint16, uint32, int16, int32, float32."""
    shape: list[int]
    codec: Literal["none", "zstd", "meshopt_vertices", "meshopt_triangles", "planes"] = "none"


class Delta(_Message, frozen=True, tag="delta"):
    """The newest version of one key of one layer; replaces whatever the client had for it."""

    scene: str
    seq: int
    epoch: int
    layer: Layer
    key: list[int | str]
    """`[x, z]` of a tile (nav, islands: `[x, z, agent]`), `[stream]` of a pose or thumbnail, `[keyframe]` of points."""
    ver: int
    capture_ns: int
    """Newest pixels that went into it."""
    infer_ns: int
    """When the engine (for poses: the tracker) answered."""
    publish_ns: int
    body: dict[str, Any]
    buffers: list[Buffer] = []


class Remove(_Message, frozen=True, tag="remove"):
    scene: str
    seq: int
    layer: Layer
    key: list[int | str]
    ver: int


class Xform(_Message, frozen=True, tag="xform"):
    """The whole map moved: `new = scale * R(quat) * old + translation`. Tiles of the new epoch follow.

    Move all you hold, once an epoch (ignore one whose epoch you have), and keep the message: a delta of an older epoch
    that comes later is moved by the ones since.
    """

    scene: str
    seq: int
    epoch: int
    scale: float
    quat_wxyz: tuple[float, float, float, float]
    translation_m: Vector3
    reason: str


class Synced(_Message, frozen=True, tag="synced"):
    """Everything up to here has been sent: a client that loses its connection gives `resume` back in `subscribe`.

    Sent about once a second. None takes the last one back: start over until a new one comes.
    """

    scene: str
    resume: Resume | None


class Event(_Message, frozen=True, tag="event"):
    scene: str
    seq: int
    name: str
    data: dict[str, Any]


class Pong(_Message, frozen=True, tag="pong"):
    t0_ns: int
    t1_ns: int
    t2_ns: int


class Error(_Message, frozen=True, tag="error"):
    code: str
    detail: str


SceneMessage = SnapshotBegin | SnapshotEnd | Delta | Remove | Xform | Synced | Event
ServerMessage = Welcome | SceneMessage | Pong | Error

_encoder = msgspec.msgpack.Encoder()
_decode_client = msgspec.msgpack.Decoder(ClientMessage)
_decode_server = msgspec.msgpack.Decoder(ServerMessage)
_decode_list = msgspec.msgpack.Decoder(list[Any])
_SHORT = bytes([0x90 | short_form.LENGTH])  # how a list of that length begins
_DTYPES = frozenset(short_form.DTYPES)


def pack(message: ClientMessage | ServerMessage, payload: bytes = b"") -> bytes:
    """Frame a message; `payload` is what `pack_buffers` returned beside the descriptions in the header."""
    return _framed(_encoder.encode(message), payload)


def _framed(header: bytes, payload: bytes) -> bytes:
    pad = -(4 + len(header)) % 8 if payload else 0
    return b"".join((struct.pack("<I", len(header)), header, b"\0" * pad, payload))


def pack_buffers(
    arrays: dict[str, NDArray[Any]], codecs: dict[str, PackedAs] | None = None
) -> tuple[list[Buffer], bytes]:
    """Lay arrays out behind a header, each compressed (zstd level 1) when that is worth it.

    `codecs` names arrays that are packed in another way; for clients that do not know meshopt, see `plain`.

    Raises:
        ValueError: an array has a dtype the wire does not carry.
    """
    buffers, parts, offset = [], [], 0
    for name, array in arrays.items():
        if array.dtype.name not in _DTYPES:
            raise ValueError(f"{name}: dtype {array.dtype.name} is not on the wire")
        raw = np.ascontiguousarray(array).tobytes()
        data, codec = raw, "none"
        if codecs is not None and name in codecs:
            codec = codecs[name]
            data = _PACK[codec](array)
        elif len(raw) > COMPRESS_ABOVE_BYTES:
            packed = zstandard.ZstdCompressor(level=1).compress(raw)
            if len(packed) < 0.9 * len(raw):
                data, codec = packed, "zstd"
        buffers.append(Buffer(name, offset, len(data), array.dtype.name, list(array.shape), codec))  # type: ignore[arg-type]
        pad = -len(data) % 8
        parts += [data, b"\0" * pad]
        offset += len(data) + pad
    return buffers, b"".join(parts)


def plain(frame: bytes) -> bytes:
    """A packed delta whose buffers need no codec but zstd.

    Raises:
        ProtocolError: the frame is no delta, or broken.
    """
    delta, arrays = unpack_server(frame)
    if not isinstance(delta, Delta):
        raise ProtocolError("only deltas have buffers")
    buffers, payload = pack_buffers(arrays)
    return pack(msgspec.structs.replace(delta, buffers=buffers), payload)


def without(frame: bytes, names: frozenset[str]) -> bytes:
    """A packed delta without the buffers of these names, the others as they were.

    Raises:
        ProtocolError: the frame is no delta.
    """
    header, payload = _split(frame)
    delta = _decode_server.decode(header)
    if not isinstance(delta, Delta):
        raise ProtocolError("only deltas have buffers")
    kept, parts, offset = [], [], 0
    for buffer in delta.buffers:
        if buffer.name in names:
            continue
        span = buffer.len + -buffer.len % 8
        kept.append(msgspec.structs.replace(buffer, off=offset))
        parts.append(payload[buffer.off : buffer.off + span])
        offset += span
    return pack(msgspec.structs.replace(delta, buffers=kept), b"".join(parts))


def short(frame: bytes) -> bytes:
    """A packed delta in its short form; as it is where that cannot say the same.

    Raises:
        ProtocolError: the frame is no delta, or broken.
    """
    header, payload = _split(frame)
    fields = msgspec.msgpack.decode(header)  # names as they are: checked when it was packed
    if not isinstance(fields, dict) or fields.get("t") != "delta":
        raise ProtocolError("only deltas have a short form")
    body, buffers = fields["body"], fields["buffers"]
    if fields["layer"] == "nav":
        _, arrays = unpack_server(frame)
        packed = polygons.pack(body, arrays)
        if packed is None:
            return frame
        body, gone = packed, {"verts", "polys", "neighbours", "areas"}
        begins = min((b["off"] for b in buffers if b["name"] not in gone), default=len(payload))
        buffers, payload = [b for b in buffers if b["name"] not in gone], payload[begins:]
    header = _encoder.encode(short_form.header(fields | {"buffers": buffers}, body))
    return _framed(header, bytes(payload))


def unpack_client(frame: bytes) -> ClientMessage:
    """Decode what a client sent.

    Raises:
        ProtocolError: it is too long, cut short, or not a message of ours.
    """
    if len(frame) > MAX_INBOUND_BYTES:
        raise ProtocolError(f"message of {len(frame)} bytes; at most {MAX_INBOUND_BYTES}")
    header, _ = _split(frame)
    try:
        message: ClientMessage = _decode_client.decode(header)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(str(error)) from error
    return message


def unpack_server(frame: bytes) -> tuple[ServerMessage, dict[str, NDArray[Any]]]:
    """Decode what a server sent, with its arrays by name.

    Raises:
        ProtocolError: the frame does not follow this file.
    """
    header, payload = _split(frame)
    arrays: dict[str, NDArray[Any]] = {}
    try:
        if header[:1] == _SHORT:
            fields, arrays = short_form.fields(_decode_list.decode(header))
            message = msgspec.convert(fields, Delta)
        else:
            message = _decode_server.decode(header)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, short_form.ShortError) as error:
        raise ProtocolError(str(error)) from error
    if isinstance(message, Delta):
        arrays |= {b.name: _array(b, payload) for b in message.buffers}
    return message, arrays


def _split(frame: bytes) -> tuple[bytes, memoryview]:
    if len(frame) < 4:
        raise ProtocolError("shorter than its own length field")
    (header_len,) = struct.unpack_from("<I", frame)
    if header_len > len(frame) - 4:
        raise ProtocolError(f"header of {header_len} bytes in a frame of {len(frame)}")
    start = 4 + header_len
    return frame[4:start], memoryview(frame)[min(start + -start % 8, len(frame)) :]


def _array(buffer: Buffer, payload: memoryview) -> NDArray[Any]:
    if buffer.dtype not in _DTYPES or buffer.off < 0 or buffer.len < 0 or buffer.off + buffer.len > len(payload):
        raise ProtocolError(f"buffer {buffer.name!r} lies outside its frame")
    dtype = np.dtype(buffer.dtype).newbyteorder("<")
    if any(n < 0 for n in buffer.shape):
        raise ProtocolError(f"buffer {buffer.name!r} has a negative size")
    count = 1
    for n in buffer.shape:
        count *= n
    raw_len = count * dtype.itemsize
    if raw_len > MAX_BUFFER_BYTES:
        raise ProtocolError(f"buffer {buffer.name!r} of {raw_len} bytes")
    data: bytes | memoryview = payload[buffer.off : buffer.off + buffer.len]
    if buffer.codec != "none" and buffer.codec != "zstd":
        try:
            return _unpacked(data, buffer)
        except (meshopt.MeshoptError, planes.PlanesError) as error:
            raise ProtocolError(f"buffer {buffer.name!r}: {error}") from error
    if buffer.codec == "zstd":
        try:
            data = zstandard.ZstdDecompressor().decompress(data, max_output_size=raw_len)
        except zstandard.ZstdError as error:
            raise ProtocolError(f"buffer {buffer.name!r}: {error}") from error
    if len(data) != raw_len:
        raise ProtocolError(f"buffer {buffer.name!r} has {len(data)} bytes for shape {buffer.shape}")
    return np.frombuffer(data, dtype=dtype).reshape(buffer.shape)


_PACK: dict[PackedAs, Callable[[NDArray[Any]], bytes]] = {
    "meshopt_vertices": lambda array: meshopt.pack(array, "vertices"),
    "meshopt_triangles": lambda array: meshopt.pack(array, "triangles"),
    "planes": planes.pack,
}


def _unpacked(data: bytes | memoryview, buffer: Buffer) -> NDArray[Any]:
    shape = tuple(buffer.shape)
    if buffer.codec == "planes":
        if buffer.dtype != "uint16":
            raise ProtocolError(f"buffer {buffer.name!r}: planes of {buffer.dtype}")
        return planes.unpack(data, shape)
    mode: meshopt.Mode = "vertices" if buffer.codec == "meshopt_vertices" else "triangles"
    return meshopt.unpack(data, mode, np.dtype(buffer.dtype), shape)
