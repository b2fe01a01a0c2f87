"""The map socket with real clients over a real port: greeting, refusals, snapshots, and one that does not read."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import websockets

from server import protocol as p
from server.auth import Grant, Role
from server.bus.bus import Config as BusConfig
from server.bus.encode import Publication
from server.bus.pace import Config as PaceConfig
from server.protocol import pack_buffers
from tests.server.fakes import Served, binary, served
from tests.server.map_client import MapClient


def tile(i: int, size: int = 100, fill: int | None = None) -> Publication:
    rng = np.random.default_rng(i)
    data = rng.integers(0, 255, size, dtype=np.uint8) if fill is None else np.full(size, fill, np.uint8)
    buffers, payload = pack_buffers({"data": data})
    return Publication("mesh", (i, 0), {}, tuple(buffers), payload, (3.2 * i, 0, 3.2 * i + 3.2, 3.2))


def publish(server: Served, *items: Publication, capture_ns: int = 1) -> None:
    channel = server.scenes.bus.find("main")
    assert channel is not None
    for item in items:
        channel.publish(item, capture_ns=capture_ns, infer_ns=2, now_ns=3)


async def receive_until(socket: Any, client: MapClient, kind: type) -> Any:
    while True:
        message = client.receive(await binary(socket))
        if isinstance(message, kind):
            return message


async def test_snapshot_then_deltas_nearest_first(tmp_path: Path) -> None:
    async with served(tmp_path) as server, server.client() as socket:
        publish(server, *(tile(i) for i in range(5)))
        roi = p.Roi(radius_m=100, center_m=(3.2 * 3 + 1, 0, 1))
        await socket.send(p.pack(p.Subscribe(scene="main", layers=["mesh"], roi=roi)))
        client = MapClient()
        await receive_until(socket, client, p.SnapshotEnd)
        assert [key for _, (key, _) in client.deltas] == [3, 2, 4, 1, 0]
        publish(server, tile(9))
        message = await receive_until(socket, client, p.Delta)
        assert message.key == [9, 0]


async def rest(socket: Any) -> list[bytes]:
    """What still comes until the connection is closed."""
    frames: list[bytes] = []
    with contextlib.suppress(websockets.ConnectionClosed):
        while True:
            frames.append(await binary(socket))
    return frames


async def close_code(server: Served, *frames: bytes | str) -> int | None:
    async with server.socket() as socket:
        for frame in frames:
            await socket.send(frame)
        await rest(socket)
        return socket.close_code


async def test_what_is_no_hello_is_closed(tmp_path: Path) -> None:
    hello = p.pack(p.Hello(client="x"))
    async with served(tmp_path) as server:
        assert await close_code(server, "text") == p.CLOSE_BAD_MESSAGE
        assert await close_code(server, b"") == p.CLOSE_BAD_MESSAGE
        assert await close_code(server, b"\xff\xff\xff\xff") == p.CLOSE_BAD_MESSAGE
        assert await close_code(server, p.pack(p.Ping(t0_ns=1))) == p.CLOSE_BAD_MESSAGE
        assert await close_code(server, hello, hello) == p.CLOSE_BAD_MESSAGE
        assert await close_code(server, hello, p.pack(p.Ping(t0_ns=1))[:-2]) == p.CLOSE_BAD_MESSAGE
        assert await close_code(server, b"\0" * (65 << 10)) == 1009
        assert await close_code(server, p.pack(p.Hello(client="x", token="no"))) == p.CLOSE_UNAUTHORIZED
        assert await close_code(server, p.pack(p.Hello(client="x", max_message_bytes=1))) == p.CLOSE_BAD_MESSAGE


async def test_grants_limit_scenes_and_layers(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        token = server.identity.tokens.issue(Grant("main", Role.SUBSCRIBE, frozenset({"nav"})), 60, 2_000_000_000)
        server.scenes.bus.open("other")
        async with server.socket() as socket:
            await socket.send(p.pack(p.Hello(client="t", token=token)))
            welcome, _ = p.unpack_server(await binary(socket))
            assert isinstance(welcome, p.Welcome)
            assert [scene.scene for scene in welcome.scenes] == ["main"]

            async def answer(message: p.Subscribe) -> p.ServerMessage:
                await socket.send(p.pack(message))
                return p.unpack_server(await binary(socket))[0]

            for refused in (
                p.Subscribe(scene="other", layers=["nav"]),
                p.Subscribe(scene="main", layers=["nav", "pose"]),
            ):
                error = await answer(refused)
                assert isinstance(error, p.Error)
                assert error.code == "forbidden"
            assert isinstance(await answer(p.Subscribe(scene="main", layers=["nav"])), p.SnapshotBegin)


async def test_requests_that_make_no_sense_are_answered_and_survived(tmp_path: Path) -> None:
    nan = float("nan")
    async with served(tmp_path) as server, server.client() as socket:
        bad: list[tuple[p.ClientMessage, str]] = [
            (p.Subscribe(scene="nope", layers=["nav"]), "unknown_scene"),
            (p.Subscribe(scene="main", layers=["nav"], max_hz=0), "bad_request"),
            (p.Subscribe(scene="main", layers=["nav"], max_hz=nan), "bad_request"),
            (p.Subscribe(scene="main", layers=["nav"], roi=p.Roi(radius_m=nan, center_m=(0, 0, 0))), "bad_request"),
            (p.Subscribe(scene="main", layers=["nav"], roi=p.Roi(radius_m=1)), "bad_request"),
            (p.Subscribe(scene="main", layers=["nav"], agents=["nobody"]), "bad_request"),
            (p.UpdateRoi(scene="main", roi=None), "not_subscribed"),
        ]
        for message, code in bad:
            await socket.send(p.pack(message))
            error, _ = p.unpack_server(await binary(socket))
            assert isinstance(error, p.Error)
            assert error.code == code
        await socket.send(p.pack(p.Ping(t0_ns=5)))
        pong, _ = p.unpack_server(await binary(socket))
        assert isinstance(pong, p.Pong)
        assert pong.t0_ns == 5
        assert pong.t1_ns <= pong.t2_ns


async def test_a_message_too_large_for_the_client_is_named_once(tmp_path: Path) -> None:
    async with served(tmp_path) as server, server.socket() as socket:
        publish(server, tile(1, 9000), tile(2, 9000), tile(3, 10))
        await socket.send(p.pack(p.Hello(client="godot", max_message_bytes=4096)))
        await socket.send(p.pack(p.Subscribe(scene="main", layers=["mesh"])))
        got = [p.unpack_server(await binary(socket))[0] for _ in range(5)]
        assert [type(m).__name__ for m in got] == ["Welcome", "SnapshotBegin", "Delta", "Error", "SnapshotEnd"] or [
            type(m).__name__ for m in got
        ] == ["Welcome", "SnapshotBegin", "Delta", "SnapshotEnd", "Error"]


async def test_acks_prove_the_age_at_the_client(tmp_path: Path) -> None:
    async with served(tmp_path) as server, server.client() as socket:
        publish(server, tile(1), capture_ns=10**18)
        await socket.send(p.pack(p.Subscribe(scene="main", layers=["mesh"])))
        delta = await receive_until(socket, MapClient(), p.Delta)
        await socket.send(p.pack(p.Ack(seq=delta.seq, applied_ns=10**18 + 250_000_000)))
        await socket.send(p.pack(p.Ping(t0_ns=1)))
        await receive_until(socket, MapClient(), p.Pong)
        registry = server.metrics.registry
        assert registry.get_sample_value("commonground_age_at_client_seconds_sum") == pytest.approx(0.25)


async def test_one_that_does_not_read_is_closed_and_resumes_with_what_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the middle of 48 MB it is closed with 4008, and comes back for the rest."""
    pace = PaceConfig(slow_after_s=0.05, close_after_s=0.4)
    async with served(tmp_path, BusConfig(pace=pace)) as server, server.client() as good:
        client, given_up = MapClient(), asyncio.Event()
        channel = server.scenes.bus.find("main")
        assert channel is not None
        unlisten = channel.unlisten
        monkeypatch.setattr(channel, "unlisten", lambda listener: (unlisten(listener), given_up.set()))
        async with server.client(max_queue=1) as stalled:
            await stalled.send(p.pack(p.Subscribe(scene="main", layers=["mesh"])))
            await receive_until(stalled, client, p.Synced)
            await good.send(p.pack(p.Subscribe(scene="main", layers=["mesh"])))
            other = MapClient()
            publish(server, tile(50))
            await receive_until(good, other, p.Delta)
            for i in range(48):
                publish(server, tile(i % 24, 1 << 20))
                while ("mesh", (i % 24, 0)) not in other.held or other.held["mesh", (i % 24, 0)].ver < i // 24 + 1:
                    other.receive(await binary(good))
            await given_up.wait()
            for frame in await rest(stalled):
                client.receive(frame)
            assert stalled.close_code == p.CLOSE_TOO_SLOW
        assert client.resume is not None
        publish(server, tile(99))
        client.deltas.clear()
        async with server.client() as back:
            resume = client.resume
            await back.send(p.pack(p.Subscribe(scene="main", layers=["mesh"], resume=resume)))
            begin = await receive_until(back, client, p.SnapshotBegin)
            assert begin.resumed
            await receive_until(back, client, p.SnapshotEnd)
        newer = {(e.layer, e.key) for e in channel.entries() if e.seq > resume.seq}
        assert set(client.deltas) == newer
        assert {k: h.ver for k, h in client.held.items()} == {(e.layer, e.key): e.ver for e in channel.entries()}
