"""One packed delta in the forms that different clients asked for: fewer buffers, other codecs, a short header."""

from __future__ import annotations

from typing import Any

import msgspec

from server.protocol import Delta, ProtocolError, framing, pack, pack_buffers, polygons, unpack_server
from server.protocol import short as short_form

_encoder = msgspec.msgpack.Encoder()
_decode_delta = msgspec.msgpack.Decoder(Delta)


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
    header, payload = framing.split(frame)
    try:
        delta = _decode_delta.decode(header)
    except msgspec.DecodeError as error:
        raise ProtocolError("only deltas have buffers") from error
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
    header, payload = framing.split(frame)
    fields: Any = msgspec.msgpack.decode(header)  # names as they are: checked when it was packed
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
    return framing.framed(header, bytes(payload))
