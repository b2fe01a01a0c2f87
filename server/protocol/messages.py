"""What can be said on the map's WebSocket: every message, its fields, and the names that travel in them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

import msgspec

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
