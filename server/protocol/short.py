"""Deltas whose header takes a tenth of the bytes, for clients that ask for the codec `short`. Part of the protocol.

The header is a list instead of a map; what a plain delta says by name stands at a fixed place:

`[scene, seq, epoch, layer, key, ver, capture_ns, infer_ns - capture_ns, publish_ns - capture_ns, body, buffers]`

`buffers` is a list of `[name, dtype, codec, len, *shape]`, where dtype and codec are places in `DTYPES` and `CODECS`;
each array begins at the next multiple of 8. The body of a `nav` tile is a string of bytes (see `polygons`) that holds
its four arrays too; its agent is the last part of the key. All else is as in a plain delta.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from server.protocol import polygons

DTYPES = ("uint8", "uint16", "uint32", "int16", "int32", "float32")
CODECS = ("none", "zstd", "meshopt_vertices", "meshopt_triangles", "planes")
LENGTH = 11
Arrays = dict[str, NDArray[Any]]


class ShortError(ValueError):
    """A list that is no short delta."""


def header(delta: dict[str, Any], body: dict[str, Any] | bytes) -> list[Any]:
    """The list for the fields of a plain delta, its body replaced if a nav tile's was packed."""
    began_ns = delta["capture_ns"]
    buffers = [
        [b["name"], DTYPES.index(b["dtype"]), CODECS.index(b["codec"]), b["len"], *b["shape"]] for b in delta["buffers"]
    ]
    names = ("scene", "seq", "epoch", "layer", "key", "ver")
    times_ns = (began_ns, delta["infer_ns"] - began_ns, delta["publish_ns"] - began_ns)
    return [*(delta[name] for name in names), *times_ns, body, buffers]


def fields(short: list[Any]) -> tuple[dict[str, Any], Arrays]:
    """The fields of the plain delta, not yet checked, and the arrays that a nav tile's body held.

    Args:
        short: a list of `LENGTH` parts.

    Raises:
        ShortError: a part cannot be read, or the tile in it is broken.
    """
    scene, seq, epoch, layer, key, ver, capture_ns, infer_after_ns, publish_after_ns, body, described = short
    arrays: Arrays = {}
    try:
        if isinstance(body, bytes):
            body, arrays = polygons.unpack(body)
            body = {"agent": key[-1], **body}
        buffers, offset = [], 0
        for name, dtype, codec, length, *shape in described:
            place = {"name": name, "off": offset, "len": length, "shape": shape}
            buffers.append({**place, "dtype": DTYPES[dtype], "codec": CODECS[codec]})
            offset += length + -length % 8
        times_ns = {"infer_ns": capture_ns + infer_after_ns, "publish_ns": capture_ns + publish_after_ns}
    except polygons.PolygonsError as error:
        raise ShortError(str(error)) from error
    except (TypeError, ValueError, IndexError) as error:
        raise ShortError(f"no short delta: {error}") from error
    named = {"scene": scene, "seq": seq, "epoch": epoch, "layer": layer, "key": key, "ver": ver}
    return {**named, "capture_ns": capture_ns, **times_ns, "body": body, "buffers": buffers}, arrays
