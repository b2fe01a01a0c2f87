"""Events over WebSocket and SSE: in order, resumable, and nobody is held up by somebody who does not read."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path

import pytest
import websockets

from server.api.assets_socket import SUBPROTOCOL
from server.assets.backlog import Backlog
from server.assets.bus import AssetBus
from server.assets.catalog import Catalog, Config
from server.assets.database import Event
from server.assets.feed import Feed
from server.assets.values import NewAsset
from server.auth import Grant, Role
from tests.server.assets.live import Live, Talk, live
from tests.server.assets.things import thing

FAR = 2_000_000_000


def event(seq: int, key: str, text: bytes = b"{}") -> Event:
    return Event(seq, "asset.changed", key, None, text)


def rename(bus: AssetBus, asset: str, name: str, scene: str | None = None) -> None:
    bus.do(lambda catalog, now_ns: catalog.register(asset, NewAsset(name=name, scene=scene), now_ns))


async def renamed(server: Live, asset: str, name: str, scene: str | None = None) -> None:
    await asyncio.to_thread(rename, server.bus, asset, name, scene)


def test_a_backlog_keeps_the_newest_of_each_key_and_says_so() -> None:
    backlog = Backlog(max_keys=2, max_bytes=100)
    keys = ((1, "a"), (2, "b"), (3, "a"), (4, "a"))
    for seq, key in keys:
        backlog.push(event(seq, key, b"%d" % seq))
    assert [backlog.pop() for _ in range(5)] == [b"1", b"2", b"3", b"4", None], "little is kept as it is"
    for seq, key in (*keys, (5, "b")):
        backlog.push(event(seq, key, b"%d" % seq))
    assert [backlog.pop() for _ in range(4)] == [b'{"type":"skipped","count":3}', b"4", b"5", None]
    assert not backlog.is_overflowing
    for number in range(5):
        backlog.push(event(number, f"key {number}"))
    assert backlog.is_overflowing
    large = Backlog(max_keys=9, max_bytes=10)
    large.push(event(1, "a", bytes(11)))
    assert large.is_overflowing


async def test_events_come_in_order_from_any_point(tmp_path: Path) -> None:
    async with live(tmp_path) as server:
        for number in range(5):
            await renamed(server, "chair", f"chair {number}")
        async with server.socket(since=2) as resumed, server.socket() as fresh:
            assert [(await resumed.hear())["seq"] for _ in range(3)] == [3, 4, 5]
            await fresh.say(type="ping", t0_ms=1.0)
            pong = await fresh.hear()
            assert (pong["type"], pong["t0_ms"], pong["seq"]) == ("pong", 1.0, 5)
            await renamed(server, "chair", "last")
            assert [await talk.hear() for talk in (resumed, fresh)] == [
                {"seq": 6, "type": "asset.changed", "asset": "chair", "name": "last"}
                | {"tags": [], "scene": None, "asset_type": "prop"}
            ] * 2
        async with server.socket(since=99) as ahead:
            assert (await ahead.hear()) == {"type": "resync", "seq": 6}


async def test_another_stores_numbers_mean_nothing(tmp_path: Path) -> None:
    async with live(tmp_path) as server:
        await renamed(server, "chair", "chair")
        async with server.opened("?since=0") as made:
            talk = Talk(made)
            await talk.say(type="hello", client="test", epoch="of another store")
            assert [(await talk.hear())["type"] for _ in range(2)] == ["hello", "resync"]


async def test_a_replay_meets_what_happens_meanwhile_without_a_gap(tmp_path: Path) -> None:
    with AssetBus(tmp_path, Config()) as bus:
        for number in range(40):
            rename(bus, "chair", f"chair {number}")
        feed = Feed(bus)
        await feed.start()

        class Slow:
            def __init__(self) -> None:
                self.seen: list[int] = []

            def offer(self, event: Event) -> None:
                self.seen.append(event.seq)

            async def room(self) -> None:
                await asyncio.sleep(0)
                await asyncio.to_thread(rename, bus, "chair", f"while reading {len(self.seen)}")

        readers = [Slow() for _ in range(4)]
        begins = dict(zip(readers, (0, 7, 39, 40), strict=True))
        assert all(await asyncio.gather(*(feed.follow(reader, since) for reader, since in begins.items())))
        await asyncio.to_thread(rename, bus, "chair", "the end")
        last = await bus.ask(lambda catalog, _: catalog.seq)  # its answer comes after the events before it
        for reader, since in begins.items():
            assert reader.seen == list(range(since + 1, last + 1))
        feed.stop()


async def test_swaps_are_prepared_acknowledged_and_committed(tmp_path: Path) -> None:
    async with live(tmp_path) as server:
        await server.publish("old", thing("old"))
        await server.publish("new", thing("new"))
        await server.http.put("/v1/slots/place", json={"asset": "old", "watch_s": 0})
        async with server.socket() as first, server.socket() as second:
            for talk in (first, second):
                await talk.say(type="bind", slot="place")
                bound = await talk.hear_until("bound")
                assert bound["view"]["current"] == {"asset": "old", "version": 1}
            await server.http.put("/v1/slots/place", json={"asset": "new", "deadline_s": 600})
            told = [await talk.hear_until("slot.prepare") for talk in (first, second)]
            assert told[0] == told[1]
            assert (told[0]["to"], told[0]["policy"]) == ({"asset": "new", "version": 1}, "all")
            rev = told[0]["rev"]
            await first.say(type="ack", slot="place", rev=rev, state="ready")
            shown = (await server.http.get("/v1/slots/place")).json()
            assert shown["swap"]["waiting"] >= 1
            assert shown["current"]["asset"] == "old"
            await second.say(type="ack", slot="place", rev=rev, state="ready")
            for talk in (first, second):
                commit = await talk.hear_until("slot.commit")
                assert (commit["rev"], commit["to"]["asset"], commit["from"]["asset"]) == (rev, "new", "old")
            await first.say(type="ping", t0_ms=0, held=[["place", "new", 1]])
            await first.hear_until("pong")
            assert (await server.http.get("/assets/list")).json()["assets"][0]["usage_count"] == 1
            await second.say(type="ack", slot="place", rev=rev, state="failed", reason="black")
            back = await first.hear_until("slot.rolled_back")
            assert (back["to"]["asset"], back["rev"]) == ("old", rev + 1)
        async with server.socket() as later:
            await later.say(type="ping", t0_ms=0)
            await later.hear()
            assert (await server.http.get("/assets/list")).json()["assets"][0]["usage_count"] == 0, (
                "gone with its socket"
            )


async def test_tokens_decide_what_is_seen(tmp_path: Path) -> None:
    async with live(tmp_path) as server:
        token = server.identity.tokens.issue(Grant("main", Role.SUBSCRIBE), 60, FAR)
        async with server.socket(token=token) as talk:
            await renamed(server, "theirs", "theirs", scene="other")
            await renamed(server, "ours", "ours", scene="main")
            assert (await talk.hear())["asset"] == "ours"
            await talk.say(type="bind", slot="place")
            await talk.hear()
            await server.publish("all", thing("all"))
            await server.http.put("/v1/slots/place", json={"asset": "all", "scene": "other"})
            await talk.say(type="ping", t0_ms=0)
            heard = [(await talk.hear())["type"] for _ in range(3)]
            assert heard == ["asset.created", "version.published", "pong"]
            assert (await server.http.get("/v1/slots/place")).json()["swap"]["waiting"] == 0


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ('{"type":"bind","slot":"x"}', 4400),
        ("{", 4400),
        ('{"type":"hello","client":"x","token":"bad"}', 4401),
        ('{"type":"hello","client":"' + "x" * 300 + '"}', 4400),
        (b"binary", 4400),
        ('{"type":"hello","client":"x"} twice', 4400),
    ],
)
async def test_those_who_do_not_follow_the_rules_are_closed(tmp_path: Path, sent: str | bytes, code: int) -> None:
    async with live(tmp_path) as server, server.opened() as made:
        await made.send(sent)
        with pytest.raises(websockets.ConnectionClosed):
            await made.recv()
        assert made.close_code == code


async def test_hostile_messages_after_hello_are_closed(tmp_path: Path) -> None:
    async with live(tmp_path) as server:
        for message in (
            {"type": "ack", "slot": "../x", "rev": 1, "state": "ready"},
            {"type": "ack", "slot": "x", "rev": -1, "state": "ready"},
            {"type": "ack", "slot": "x", "rev": 1, "state": "maybe"},
            {"type": "ping", "t0_ms": 0, "held": [["a", "b", 1]] * 257},
            {"type": "nonsense"},
            {"type": "hello", "client": "again"},
        ):
            async with server.socket() as talk:
                await talk.say(**message)
                with pytest.raises(websockets.ConnectionClosed):
                    await talk.hear()
        assert (await server.http.get("/healthz")).is_success


async def test_one_that_does_not_read_delays_nobody_and_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.api.assets_sender.STALLED_S", 0.5)
    monkeypatch.setattr("server.api.assets_sender.CHECK_EVERY_S", 0.1)
    async with live(tmp_path) as server, server.socket() as healthy:
        stalled = socket.create_connection(("127.0.0.1", server.port))
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        handshake = "GET /v1/assets/events HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        handshake += f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n"
        stalled.sendall(f"{handshake}Sec-WebSocket-Key: {'A' * 22}==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
        hello = b'{"type":"hello","client":"stalled"}'
        await asyncio.to_thread(stalled.recv, 1024)
        stalled.sendall(bytes([0x81, 0x80 | len(hello), 0, 0, 0, 0]) + hello)
        before = len(asyncio.all_tasks())
        closed = asyncio.Event()

        def tell(catalog: Catalog, now_ns: int) -> None:
            with catalog._db.change(now_ns) as change:
                change.emit("large", f"key {catalog.seq % 8}", None, {"content": "x" * 60_000})

        for _ in range(2000):
            await asyncio.to_thread(server.bus.do, tell)
            assert (await healthy.hear())["type"] == "large"
            if len(asyncio.all_tasks()) < before:
                closed.set()
                break
        assert closed.is_set(), "the stalled one was never given up"
        stalled.close()


async def test_sse_says_the_same(tmp_path: Path) -> None:
    async with live(tmp_path) as server:
        for number in range(3):
            await renamed(server, "chair", f"chair {number}")
        headers = {"Last-Event-ID": "1"}
        async with server.http.stream("GET", "/v1/assets/events?since=0", headers=headers) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            lines = answer.aiter_lines()
            data = [line async for line in _first(lines, 5)]
            assert json.loads(data[0].removeprefix("data: "))["type"] == "hello"
            assert [data[1], data[3]] == ["id: 2", "id: 3"]
            await renamed(server, "chair", "last")
            live_one = [line async for line in _first(lines, 2)]
            assert live_one[0] == "id: 4"
            assert json.loads(live_one[1].removeprefix("data: "))["name"] == "last"
        async with server.http.stream("GET", "/v1/assets/events?since=77") as answer:
            assert '"resync"' in [line async for line in _first(answer.aiter_lines(), 2)][1]


async def _first(lines, count):  # type: ignore[no-untyped-def]
    """The next lines that are not empty."""
    while count:
        line = await anext(lines)
        if line:
            yield line
            count -= 1
