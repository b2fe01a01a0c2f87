"""Messages between the lane and its workers: a length of four bytes, then JSON. Standard library only; never pickle."""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

MAX_BYTES = 1 << 20
PROTOCOL = 1
LENGTH = struct.Struct("<I")
Message = dict[str, Any]


class WireError(ValueError):
    """What came is no message."""


def pack(type: str, **fields: Any) -> bytes:
    """
    Raises:
        WireError: it is too long, or no JSON.
    """
    try:
        body = json.dumps({"type": type, **fields}, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise WireError(f"this cannot be said in JSON: {error}") from error
    if len(body) > MAX_BYTES:
        raise WireError(f"a message of {len(body)} bytes; at most {MAX_BYTES}")
    return LENGTH.pack(len(body)) + body


def body_length(head: bytes) -> int:
    """
    Raises:
        WireError: longer than any message may be.
    """
    length = int(LENGTH.unpack(head)[0])
    if length > MAX_BYTES:
        raise WireError(f"a message of {length} bytes; at most {MAX_BYTES}")
    return length


def unpack(body: bytes) -> Message:
    """
    Raises:
        WireError: that is no message.
    """
    try:
        message = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise WireError(str(error)) from error
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise WireError("a message is an object with a type")
    return message


def receive(connection: socket.socket) -> Message | None:
    """The next message; None when the other side is gone."""
    head = _exactly(connection, LENGTH.size)
    body = None if head is None else _exactly(connection, body_length(head))
    return None if body is None else unpack(body)


def _exactly(connection: socket.socket, size: int) -> bytes | None:
    received = bytearray()
    while len(received) < size:
        try:
            chunk = connection.recv(size - len(received))
        except OSError:
            return None
        if not chunk:
            return None
        received += chunk
    return bytes(received)
