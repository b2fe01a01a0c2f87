"""The talk between a phone page and the server on the WebRTC DataChannel `commonground`: JSON text, one object each.

| from | message | meaning |
|---|---|---|
| phone | `{"t":"ping","t0":ms}` | clock exchange; t0 = `performance.timeOrigin + performance.now()` |
| server | `{"t":"pong","t0":ms,"t1":ms,"t2":ms}` | t0 given back; server's Unix ms at receipt and at the answer |
| phone | `{"t":"offset","offset_ms":ms,"rtt_ms":ms}` | after each exchange: server = phone + offset |
| phone | `{"t":"capture","rtp":u32,"capture_ms":ms}` | when (phone) the frame with this RTP timestamp was captured |
| phone | `{"t":"motion","up":[3]|null,"rate":[3]|null,"at_ms":ms}` | (1) |
| phone | `{"t":"info","label":s,"width":px,"height":px,"screen_angle":0|90|180|270}` | the camera in use |
| phone | `{"t":"intrinsics","fx":,"fy":,"cx":,"cy":,"width":,"height":,"k1":}` | (2) |
| server | `{"t":"pose","capture_ns":"..","state":..,"world_from_camera":..,"seen_share":..,..}` | (3) |
| server | `{"t":"late","is_aligned":bool,"poses":[{"capture_ns":"..","world_from_camera":..},..]}` | (4) |
| server | `{"t":"notice","level":"info"|"warn","text":s}` | for the person who holds the phone |

(1) Sensors in OpenCV camera axes: unit vector against gravity, angular velocity in rad/s.
(2) A calibrated camera in pixels; holds for every frame size of the same shape.
(3) Where a frame was taken. capture_ns: decimal text, as JavaScript numbers cannot hold it. state: starting, tracked or
lost; a pose while starting says how a camera that has hardly moved is turned, and that it is about where it was.
is_aligned: the pose lies in the shared map; false: in a frame of this phone's own, until the map knows where that lies.
world_from_camera: `{"t":[3],"q_wxyz":[4]}` or null. seen_share: 0..1. scale_source: text. points: count.
(4) Once, after the first pose of a map: where frames were that had been answered without a pose, oldest first, in the
frame that this first pose is in.

Times in ms may have fractions. Unknown messages and fields are ignored, so that either side may be newer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec

LABEL = "commonground"
MAX_MESSAGE_BYTES = 16 * 1024

Ms = Annotated[float, msgspec.Meta(ge=-1e14, le=1e14)]
Vector3 = tuple[float, float, float]
Pixels = Annotated[float, msgspec.Meta(gt=0, le=1e5)]
Side = Annotated[int, msgspec.Meta(gt=0, le=16384)]


class MessageError(ValueError):
    """A DataChannel message that does not follow this file."""


class _Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="t"):
    pass


class Ping(_Message, frozen=True, kw_only=True, tag="ping"):
    t0: Ms


class Pong(_Message, frozen=True, kw_only=True, tag="pong"):
    t0: float
    t1: float
    t2: float


class Offset(_Message, frozen=True, kw_only=True, tag="offset"):
    offset_ms: Ms
    rtt_ms: Annotated[float, msgspec.Meta(ge=0, le=60_000)]


class Capture(_Message, frozen=True, kw_only=True, tag="capture"):
    rtp: Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]
    capture_ms: Ms


class PhoneMotion(_Message, frozen=True, kw_only=True, tag="motion"):
    at_ms: Ms
    up: Vector3 | None = None
    rate: Vector3 | None = None


class Info(_Message, frozen=True, kw_only=True, tag="info"):
    label: Annotated[str, msgspec.Meta(max_length=256)] = ""
    width: Side | None = None
    height: Side | None = None
    screen_angle: Literal[0, 90, 180, 270] = 0


class KnownCamera(_Message, frozen=True, kw_only=True, tag="intrinsics"):
    fx: Pixels
    fy: Pixels
    cx: Pixels
    cy: Pixels
    width: Side
    height: Side
    k1: Annotated[float, msgspec.Meta(ge=-2, le=2)] = 0.0


class PoseOfCamera(msgspec.Struct, frozen=True):
    t: Vector3
    q_wxyz: tuple[float, float, float, float]


class PoseAnswer(_Message, frozen=True, kw_only=True, tag="pose"):
    capture_ns: str
    state: Literal["starting", "tracked", "lost"]
    is_aligned: bool = False
    world_from_camera: PoseOfCamera | None = None
    seen_share: float = 0.0
    scale_source: str = "none"
    points: int = 0


class LatePose(msgspec.Struct, frozen=True):
    capture_ns: str
    world_from_camera: PoseOfCamera


class LatePoses(_Message, frozen=True, kw_only=True, tag="late"):
    is_aligned: bool
    poses: tuple[LatePose, ...]


class Notice(_Message, frozen=True, kw_only=True, tag="notice"):
    level: Literal["info", "warn"]
    text: str


FromPhone = Ping | Offset | Capture | PhoneMotion | Info | KnownCamera
ToPhone = Pong | PoseAnswer | LatePoses | Notice

_decoder = msgspec.json.Decoder(FromPhone)
_tag_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encoder = msgspec.json.Encoder()
_KNOWN = frozenset({b'"ping"', b'"offset"', b'"capture"', b'"motion"', b'"info"', b'"intrinsics"'})


def read_message(data: str | bytes) -> FromPhone | None:
    """Decode what a phone sent; None for a kind this version does not know.

    Raises:
        MessageError: it is binary, too long, not JSON, or its fields have other types or absurd values.
    """
    if isinstance(data, bytes):
        raise MessageError("binary message; send JSON text")
    if len(data) > MAX_MESSAGE_BYTES:
        raise MessageError(f"message of {len(data)} characters; at most {MAX_MESSAGE_BYTES}")
    try:
        message: FromPhone = _decoder.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError) as error:
        if _is_unknown(data):
            return None
        raise MessageError(str(error)) from error
    if isinstance(message, PhoneMotion):
        _check_motion(message)
    return message


def write_message(message: ToPhone) -> str:
    """Encode what the phone shall get."""
    return _encoder.encode(message).decode()


def _is_unknown(data: str) -> bool:
    try:
        kind = _tag_decoder.decode(data).get("t")
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return False
    return kind is not None and bytes(kind).startswith(b'"') and bytes(kind) not in _KNOWN


def _check_motion(message: PhoneMotion) -> None:
    if message.up is not None and not 0.5 < _length(message.up) < 2.0:
        raise MessageError("up must be a unit vector")
    if message.rate is not None and not _length(message.rate) < 100.0:
        raise MessageError("rate must be in rad/s")


def _length(vector: Sequence[float]) -> float:
    return math.hypot(*vector)
