"""The one framing of all messages: a header, then arrays that can be read where they lie.

A message is one binary frame: `u32 header_len | msgpack header | zeros to a multiple of 8 | buffers`, little-endian.
Buffers are 8-byte aligned (offsets count from the start of the first buffer) and described in the header, so that
JavaScript typed arrays, C# spans and GDScript packed arrays read them in place.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import zstandard
from numpy.typing import NDArray

from server.protocol import meshopt, planes
from server.protocol import short as short_form
from server.protocol.messages import (
    COMPRESS_ABOVE_BYTES,
    MAX_BUFFER_BYTES,
    MAX_INBOUND_BYTES,
    Buffer,
    ClientMessage,
    Delta,
    PackedAs,
    ProtocolError,
    ServerMessage,
)

_encoder = msgspec.msgpack.Encoder()
_decode_client = msgspec.msgpack.Decoder(ClientMessage)
_decode_server = msgspec.msgpack.Decoder(ServerMessage)
_decode_list = msgspec.msgpack.Decoder(list[Any])
_SHORT = bytes([0x90 | short_form.LENGTH])  # how a list of that length begins
_DTYPES = frozenset(short_form.DTYPES)


def pack(message: ClientMessage | ServerMessage, payload: bytes = b"") -> bytes:
    """Frame a message; `payload` is what `pack_buffers` returned beside the descriptions in the header."""
    return framed(_encoder.encode(message), payload)


def framed(header: bytes, payload: bytes) -> bytes:
    """A frame of an encoded header and the buffers behind it."""
    pad = -(4 + len(header)) % 8 if payload else 0
    return b"".join((struct.pack("<I", len(header)), header, b"\0" * pad, payload))


def pack_buffers(
    arrays: dict[str, NDArray[Any]], codecs: dict[str, PackedAs] | None = None
) -> tuple[list[Buffer], bytes]:
    """Lay arrays out behind a header, each compressed (zstd level 1) when that is worth it.

    `codecs` names arrays that are packed in another way; for those who do not know meshopt, see `bus.variants`.

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


def unpack_client(frame: bytes) -> ClientMessage:
    """Decode what a client sent.

    Raises:
        ProtocolError: it is too long, cut short, or not a message of ours.
    """
    if len(frame) > MAX_INBOUND_BYTES:
        raise ProtocolError(f"message of {len(frame)} bytes; at most {MAX_INBOUND_BYTES}")
    header, _ = split(frame)
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
    header, payload = split(frame)
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


def split(frame: bytes) -> tuple[bytes, memoryview]:
    """A frame's encoded header, and the buffers behind it.

    Raises:
        ProtocolError: it is cut short.
    """
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
