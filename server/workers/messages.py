"""What crosses the border between the main process and a device's worker: small typed messages; arrays stay in memory
both share and travel as `ArrayRef`. A message on the socket is `u32 length | msgpack`. Nothing is ever unpickled.
"""

from __future__ import annotations

import socket
import struct
from typing import Any

import msgspec

from mapping.changes import KeyframeId
from streams.frame import Intrinsics

MAX_MESSAGE_BYTES = 1024 * 1024
LENGTH = struct.Struct("<I")


class MessageError(ValueError):
    """Bytes that are no message of ours."""


class ArrayRef(msgspec.Struct, frozen=True, array_like=True):
    """Where an array lies in the shared memory."""

    offset: int
    dtype: str
    shape: tuple[int, ...]


class ViewRef(msgspec.Struct, frozen=True):
    """A `View` whose arrays lie in shared memory."""

    keyframe: KeyframeId
    rgb: ArrayRef
    intrinsics: Intrinsics | None
    prior_window_from_camera: ArrayRef | None
    landmarks_window: ArrayRef | None


class PredictionRef(msgspec.Struct, frozen=True):
    """A `ViewPrediction` whose arrays lie in shared memory."""

    keyframe: KeyframeId
    window_from_camera: ArrayRef
    intrinsics: Intrinsics
    depth: ArrayRef | None
    confidence: ArrayRef | None
    descriptor: ArrayRef | None = None
    own_from_camera: ArrayRef | None = None


class Start(msgspec.Struct, frozen=True, tag="start"):
    """First message to a worker: what to become."""

    engine: str
    engine_config: dict[str, Any]
    threads: int
    nice: int
    heartbeat_s: float


class Predict(msgspec.Struct, frozen=True, tag="predict"):
    """Windows to answer: one, or several of one shape."""

    job: int
    windows: list[list[ViewRef]]


class Stop(msgspec.Struct, frozen=True, tag="stop"):
    """Finish what you do, then exit."""


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The engine is made and warm."""

    warm_up_s: float
    provenance: dict[str, str] = {}
    """What has to be told about a map that it makes: the engine, its weights and their licence."""
    together: int = 1
    """So many windows of one shape it may be asked at once."""


class StartFailed(msgspec.Struct, frozen=True, tag="start_failed"):
    """The engine could not be made; trying again will not help before somebody changes something."""

    kind: str
    message: str


class Beat(msgspec.Struct, frozen=True, tag="beat"):
    """I live."""

    rss_bytes: int
    device_bytes: int = 0
    """Of its GPU."""
    fetching: str = ""
    """What it downloads before it can start, and how far that is; empty = nothing."""


class Logged(msgspec.Struct, frozen=True, tag="logged"):
    """A line for the main process's log."""

    level: int
    logger: str
    message: str


class Predicted(msgspec.Struct, frozen=True, tag="predicted"):
    """The answer to one window."""

    views: list[PredictionRef]


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The engine raised over one window; the worker lives on."""

    kind: str
    message: str


class Answers(msgspec.Struct, frozen=True, tag="answers"):
    """To every window of a `Predict`, in its order."""

    job: int
    windows: list[Predicted | Failed]


ToWorker = Start | Predict | Stop
FromWorker = Ready | StartFailed | Beat | Logged | Answers

_encoder = msgspec.msgpack.Encoder()
_to_worker = msgspec.msgpack.Decoder(ToWorker)
_from_worker = msgspec.msgpack.Decoder(FromWorker)


def pack(message: ToWorker | FromWorker) -> bytes:
    """A message with its length in front.

    Raises:
        MessageError: it is larger than MAX_MESSAGE_BYTES.
    """
    data = _encoder.encode(message)
    return LENGTH.pack(check_length(len(data))) + data


def check_length(length: int) -> int:
    """Refuse to read or write a message that is too long.

    Raises:
        MessageError: it is.
    """
    if length > MAX_MESSAGE_BYTES:
        raise MessageError(f"message of {length} bytes; at most {MAX_MESSAGE_BYTES}")
    return length


def unpack_from_worker(data: bytes) -> FromWorker:
    """Decode what a worker sent.

    Raises:
        MessageError: it is no message of ours.
    """
    try:
        message: FromWorker = _from_worker.decode(data)
    except msgspec.DecodeError as error:
        raise MessageError(str(error)) from error
    return message


def receive_to_worker(connection: socket.socket) -> ToWorker | None:
    """Wait for the next message to a worker; None when the main process is gone.

    Raises:
        MessageError: it is no message of ours.
    """
    head = _receive_exactly(connection, LENGTH.size)
    if head is None:
        return None
    data = _receive_exactly(connection, check_length(LENGTH.unpack(head)[0]))
    if data is None:
        return None
    try:
        message: ToWorker = _to_worker.decode(data)
    except msgspec.DecodeError as error:
        raise MessageError(str(error)) from error
    return message


def _receive_exactly(connection: socket.socket, count: int) -> bytes | None:
    data = bytearray()
    while len(data) < count:
        part = connection.recv(count - len(data))
        if not part:
            return None
        data += part
    return bytes(data)
