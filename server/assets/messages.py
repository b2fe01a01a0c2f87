"""What clients say on the asset socket: JSON text, checked here.

What the server says are the events as they are, and besides: `hello {seq, epoch, session, clock_ms, lease_ttl_ms}`,
`bound {slot, view}`, `pong {t0_ms, t1_ms, t2_ms, seq}`, `resync {seq}` (too much happened since: look anew), `skipped
{count}` (so many events were replaced by newer ones of their key, which follow) and `error {code, detail}`.
`asyncapi.yaml` says all of it in schemas.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from server.assets.leases import MAX_HELD
from server.assets.values import MAX_COUNT, NAME_PATTERN

MAX_BYTES = 64 << 10
Name = Annotated[str, msgspec.Meta(pattern=NAME_PATTERN)]
Short = Annotated[str, msgspec.Meta(max_length=256)]
Number = Annotated[int, msgspec.Meta(ge=1, le=MAX_COUNT)]


class Malformed(ValueError):
    """A message that does not follow this file."""


class _Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", forbid_unknown_fields=False):
    """Unknown fields are ignored: a newer client may send some."""


class Hello(_Message, frozen=True, tag="hello"):
    """First message, within 5 s."""

    client: Short
    token: Annotated[str, msgspec.Meta(max_length=4096)] | None = None
    epoch: Short | None = None
    """That of the sequence number in the URL; of another, it means nothing."""


class Bind(_Message, frozen=True, tag="bind"):
    """Look at a slot, and take part in its swaps."""

    slot: Name


class Unbind(_Message, frozen=True, tag="unbind"):
    slot: Name


class Ack(_Message, frozen=True, tag="ack"):
    """Ready for what a slot prepares, or failed; also after the commit, when it turns out bad."""

    slot: Name
    rev: Number
    state: Literal["ready", "failed"]
    reason: Short = ""


class HeldVersion(msgspec.Struct, frozen=True, array_like=True):
    slot: Name
    asset: Name
    version: Number


class Ping(_Message, frozen=True, tag="ping"):
    """Every few seconds, and when what is held changes."""

    t0_ms: float
    held: Annotated[tuple[HeldVersion, ...], msgspec.Meta(max_length=MAX_HELD)] | None = None
    """All that this client holds; left out: as before, and still."""


Message = Hello | Bind | Unbind | Ack | Ping
_decoder = msgspec.json.Decoder(Message)


def read(text: str) -> Message:
    """
    Raises:
        Malformed: it is too long or no message of ours.
    """
    if len(text) > MAX_BYTES:
        raise Malformed(f"message of {len(text)} characters; at most {MAX_BYTES}")
    try:
        message: Message = _decoder.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError) as error:
        raise Malformed(str(error)) from error
    return message


def pack(type: str, **fields: Any) -> bytes:
    """A message of the server."""
    return msgspec.json.encode({"type": type, **fields})
