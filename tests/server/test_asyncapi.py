"""The AsyncAPI document says what the server says: same messages, same fields, and every emitted header fits."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, get_args

import jsonschema
import msgspec
import numpy as np
import pytest
import yaml

from mapping.changes import KeyframeId
from mapping.transforms import Sim3, look_at
from mapping.volume.visibility import DepthView
from navmesh.islands import IslandTile
from navmesh.tiles import TileKey
from server import protocol as p
from server.api import socket
from server.bus import encode
from server.bus.channel import Channel
from server.bus.outbox import Outbox
from streams.frame import Intrinsics, StreamId
from tests.server.documents import check_document, check_message
from tests.server.test_encode import nav_tile, surface_tile

DOCUMENT: dict[str, Any] = yaml.safe_load((Path(p.__file__).parent / "asyncapi.yaml").read_text())
SCHEMAS = DOCUMENT["components"]["schemas"]
STRUCTS = {m.__name__: m for union in (p.ClientMessage, p.ServerMessage) for m in get_args(union)}


def check(name: str, header: Any) -> None:
    check_message(DOCUMENT, name, header)


def header_of(frame: bytes) -> Any:
    (length,) = struct.unpack_from("<I", frame)
    return msgspec.msgpack.decode(frame[4 : 4 + length])


def test_every_reference_leads_somewhere_and_every_schema_is_one() -> None:
    check_document(DOCUMENT, "map")


def test_the_document_has_the_address_and_subprotocol_of_the_code() -> None:
    channel = DOCUMENT["channels"]["map"]
    headers = channel["bindings"]["ws"]["headers"]["properties"]
    assert headers["Sec-WebSocket-Protocol"]["const"] == p.SUBPROTOCOL
    routes = socket.router(None, None, None).routes  # type: ignore[arg-type]
    assert [route.path for route in routes] == [channel["address"]]  # type: ignore[attr-defined]
    for code in (p.CLOSE_BAD_MESSAGE, p.CLOSE_UNAUTHORIZED, p.CLOSE_UNSUPPORTED, p.CLOSE_TOO_SLOW):
        assert str(code) in DOCUMENT["info"]["description"]


@pytest.mark.parametrize("name", sorted(STRUCTS))
def test_messages_have_the_fields_of_the_code(name: str) -> None:
    struct_type, schema = STRUCTS[name], SCHEMAS[name]
    config = struct_type.__struct_config__
    assert schema["properties"]["t"]["const"] == config.tag
    assert DOCUMENT["components"]["messages"][config.tag]["payload"]["$ref"].endswith(f"/{name}")
    assert set(schema["properties"]) == {"t", *struct_type.__struct_encode_fields__}
    needed = {f.name for f in msgspec.structs.fields(struct_type) if f.required}
    always = set(schema["required"]) - {"t"}
    assert needed <= always <= set(struct_type.__struct_encode_fields__)


def test_every_header_of_a_busy_scene_fits() -> None:
    channel = Channel("flat", "lineage")
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 255, (90, 120, 3), np.uint8)
    points = rng.random((50, 3), np.float32)
    camera, k = look_at([0, 1, 0], [1, 1, 1]), Intrinsics(100, 100, 60, 45, 120, 90)
    stream = StreamId("s")
    items: list[encode.Publication | encode.Removal] = [
        encode.pose(stream, 1, "tracked", camera, k, "marker"),
        encode.pose(stream, 2, "lost", None, None),
        encode.thumbnail(stream, rgb),
        encode.points(KeyframeId("s/1"), stream, camera, points, rgb[:50, 0]),
        encode.nav(nav_tile()),
        encode.islands(IslandTile(TileKey(0, 0), "human", (0, 2))),
        encode.surface("mesh", surface_tile()),
        encode.surface("occluder", surface_tile(n=70_000)),
        encode.surface("culling", surface_tile()),
        encode.depth(stream, 1, DepthView(camera, k, rng.random((90, 120), np.float32))),
    ]
    outbox = Outbox(max_message_bytes=4096)
    for message in (
        p.Welcome(session="x", server="y", clock_ns=1, limits=p.Limits(1, 2), scenes=[channel.info()]),
        p.Pong(t0_ns=1, t1_ns=2, t2_ns=3),
    ):
        outbox.post(message)
    layers = frozenset(p.LAYERS)
    roi = p.Roi(radius_m=100.0, center_m=(0.0, 0.0, 0.0))
    frames: list[bytes] = []

    def drain(now: float) -> None:
        frames.extend(iter(lambda: outbox.pop(now), None))

    outbox.subscribe(channel, layers, roi=roi)
    for i, item in enumerate(items):
        channel.publish(item, capture_ns=1, infer_ns=2, now_ns=3)
        drain(2.0 * i)
    channel.move(Sim3.identity(), 1, "marker")
    channel.publish(encode.Removal("mesh", (0, 0)), capture_ns=1, infer_ns=2, now_ns=3)
    channel.announce("scene_closed", {})
    drain(90.0)
    drain(92.0)
    outbox.update_roi("flat", p.Roi(radius_m=1.0, center_m=(500.0, 0.0, 0.0)))
    drain(94.0)
    big = Outbox(max_message_bytes=1 << 30)
    big.subscribe(channel, layers)
    frames += list(iter(lambda: big.pop(0.0), None))
    for parts in (["detail"], ["blob"], ["detail", "blob"]):
        big.subscribe(channel, frozenset({"nav"}), parts=frozenset(parts))
        frames += list(iter(lambda: big.pop(0.0), None))

    short = Outbox(max_message_bytes=1 << 30)
    short.subscribe(channel, layers, codecs=frozenset(p.CODECS))
    short_headers = [header_of(frame) for frame in iter(lambda: short.pop(0.0), None)]
    lists = [header for header in short_headers if isinstance(header, list)]
    for header in lists:
        check("ShortDelta", header)
    assert {"pose", "nav", "culling"} <= {header[3] for header in lists}

    names = {m.__struct_config__.tag: name for name, m in STRUCTS.items()}
    seen, layers_seen, nav_buffers = set(), set(), set()
    for frame in frames:
        header = header_of(frame)
        check(names[header["t"]], header)
        seen.add(header["t"])
        layers_seen.add(header.get("layer"))
        if header["t"] == "delta" and header["layer"] == "nav":
            nav_buffers.add(tuple(buffer["name"] for buffer in header["buffers"]))
    assert seen == {m.__struct_config__.tag for m in get_args(p.ServerMessage)}
    assert set(p.LAYERS) - {"asset", "event"} <= layers_seen
    always = ("verts", "polys", "neighbours", "areas")
    detail = ("detail_verts", "detail_tris")
    assert nav_buffers == {always, (*always, *detail), (*always, "blob"), (*always, *detail, "blob")}


def test_the_check_can_fail() -> None:
    channel = Channel("s", "l")
    item = encode.Publication("pose", ("s",), {"stream": "s"})
    channel.publish(item, capture_ns=1, infer_ns=2, now_ns=3)
    with pytest.raises(jsonschema.ValidationError):
        check("Delta", header_of(channel.entries()[0].frame))


def test_requests_of_clients_fit() -> None:
    for message in (
        p.Hello(client="x"),
        p.Subscribe(scene="s", layers=["nav"], roi=p.Roi(radius_m=1.0, follow="x"), resume=p.Resume("l", 1)),
        p.Subscribe(scene="s", layers=["nav"], parts=["detail", "blob"]),
        p.UpdateRoi(scene="s", roi=None),
        p.Unsubscribe(scene="s"),
        p.Ack(seq=1, applied_ns=2),
        p.Ping(t0_ns=1),
    ):
        check(type(message).__name__, header_of(p.pack(message)))
