"""The Python SDK against a small real WebSocket server that speaks the protocol."""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
import websockets
from websockets.asyncio.server import ServerConnection, serve

from clients import sdk
from server import protocol
from server.protocol import Delta, Event, Remove, Resume, SceneInfo, SnapshotBegin, SnapshotEnd, Synced, Xform

INFO = SceneInfo("flat", 0, "lineage", "marker", "posed")
CLOCK_AHEAD_NS = 3_600_000_000_000
"""The server's clock runs an hour ahead of ours."""


def delta(seq: int, key: tuple[int, ...] = (0, 0), ver: int = 1, epoch: int = 0, value: int = 0) -> bytes:
    buffers, payload = protocol.pack_buffers({"values": np.full(3, value, np.uint16)})
    message = Delta(
        scene="flat", seq=seq, epoch=epoch, layer="mesh", key=list(key), ver=ver, capture_ns=10, infer_ns=20,
        publish_ns=30, body={"value": value}, buffers=buffers,
    )  # fmt: skip
    return protocol.pack(message, payload)


def begin(resumed: bool = False, entries: int = 0, seq: int = 0) -> bytes:
    return protocol.pack(SnapshotBegin(scene=INFO, seq=seq, entries=entries, resumed=resumed))


def end(seq: int = 0) -> bytes:
    return protocol.pack(SnapshotEnd(scene="flat", seq=seq))


@dataclass
class FakeServer:
    """Greets, answers pings, remembers what clients sent, and plays one script a connection."""

    scripts: list[Callable[[ServerConnection], Awaitable[None]]]
    got: list[protocol.ClientMessage] = field(default_factory=list)
    news: asyncio.Condition = field(default_factory=asyncio.Condition)
    url: str = ""

    async def handle(self, socket: ServerConnection) -> None:
        script = self.scripts.pop(0)
        playing: asyncio.Task[None] | None = None
        with contextlib.suppress(websockets.ConnectionClosed):
            async for frame in socket:
                assert isinstance(frame, bytes)
                message = protocol.unpack_client(frame)
                async with self.news:
                    self.got.append(message)
                    self.news.notify_all()
                if isinstance(message, protocol.Hello):
                    if message.token == "bad":
                        await socket.close(protocol.CLOSE_UNAUTHORIZED, "token expired")
                        return
                    limits = protocol.Limits(protocol.MAX_INBOUND_BYTES, 1 << 20)
                    await socket.send(
                        protocol.pack(
                            protocol.Welcome(session="s", server="fake", clock_ns=0, limits=limits, scenes=[INFO])
                        )
                    )
                elif isinstance(message, protocol.Ping):
                    there = message.t0_ns + CLOCK_AHEAD_NS
                    await socket.send(protocol.pack(protocol.Pong(t0_ns=message.t0_ns, t1_ns=there, t2_ns=there)))
                elif isinstance(message, protocol.Subscribe):
                    playing = asyncio.create_task(script(socket))
        if playing is not None:
            playing.cancel()

    async def wait_for(self, kind: type[protocol.ClientMessage], count: int = 1) -> list[protocol.ClientMessage]:
        def found() -> list[protocol.ClientMessage]:
            return [m for m in self.got if isinstance(m, kind)]

        async with asyncio.timeout(20), self.news:
            await self.news.wait_for(lambda: len(found()) >= count)
        return found()


@contextlib.asynccontextmanager
async def fake_server(*scripts: Callable[[ServerConnection], Awaitable[None]]) -> AsyncIterator[FakeServer]:
    fake = FakeServer(list(scripts))
    subprotocols = [websockets.Subprotocol(protocol.SUBPROTOCOL)]
    async with serve(fake.handle, "127.0.0.1", 0, subprotocols=subprotocols, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        fake.url = f"http://127.0.0.1:{port}"
        yield fake


def plays(*frames: bytes, then_close: int | None = None) -> Callable[[ServerConnection], Awaitable[None]]:
    async def script(socket: ServerConnection) -> None:
        for frame in frames:
            await socket.send(frame)
        if then_close is not None:
            await socket.close(then_close, "scripted")

    return script


async def take(subscription: sdk.Subscription, count: int) -> list[sdk.Update]:
    out: list[sdk.Update] = []
    async with asyncio.timeout(20):
        async for update in subscription:
            out.append(update)
            if len(out) == count:
                break
    return out


async def test_snapshot_then_deltas_arrive_in_order_with_their_arrays() -> None:
    frames = (begin(entries=1), delta(1, value=7), end(1), delta(2, key=(1, 0), value=8))
    async with fake_server(plays(*frames)) as fake, sdk.connect(fake.url) as client:
        scene = client.subscribe("flat", ["mesh"])
        cleared, first, complete, second = await take(scene, 4)
        assert isinstance(cleared, sdk.Cleared)
        assert isinstance(first, sdk.Put)
        assert first.body == {"value": 7}
        np.testing.assert_array_equal(first.arrays["values"], [7, 7, 7])
        assert complete == sdk.Complete(resumed=False)
        assert isinstance(second, sdk.Put)
        assert list(scene.tiles["mesh"]) == [(0, 0), (1, 0)]
        assert scene.info == INFO


async def test_what_waits_is_the_newest_of_each_key() -> None:
    versions = [delta(seq, ver=seq, value=seq) for seq in range(1, 101)]
    async with fake_server(plays(begin(), *versions, end(100))) as fake, sdk.connect(fake.url) as client:
        scene = client.subscribe("flat", ["mesh"])
        # Nobody iterates while the hundred versions come in: the acknowledgement of the last says they are here.
        async with asyncio.timeout(20):
            while acks := await fake.wait_for(
                protocol.Ack, len([m for m in fake.got if isinstance(m, protocol.Ack)]) + 1
            ):
                if isinstance(acks[-1], protocol.Ack) and acks[-1].seq == 100:
                    break
        updates = await take(scene, 3)
        puts = [u for u in updates if isinstance(u, sdk.Put)]
        assert [p.version for p in puts] == [100]


async def test_an_older_copy_from_the_snapshot_does_not_replace_a_live_delta() -> None:
    frames = (begin(entries=1), delta(9, ver=3, value=3), delta(4, ver=2, value=2), end(9))
    async with fake_server(plays(*frames)) as fake, sdk.connect(fake.url) as client:
        scene = client.subscribe("flat", ["mesh"])
        await scene.complete()
        assert scene.tiles["mesh"][(0, 0)].version == 3


async def test_removal_takes_the_key_out() -> None:
    gone = protocol.pack(Remove(scene="flat", seq=2, layer="mesh", key=[0, 0], ver=2))
    async with fake_server(plays(begin(), delta(1), end(1), gone)) as fake, sdk.connect(fake.url) as client:
        scene = client.subscribe("flat", ["mesh"])
        updates = await take(scene, 3)
        if not any(isinstance(u, sdk.Removed) for u in updates):
            updates += await take(scene, 1)
        assert sdk.Removed("mesh", (0, 0)) in updates
        assert scene.tiles["mesh"] == {}


async def test_moves_compose_for_tiles_of_older_epochs_and_repeats_are_ignored() -> None:
    def move(seq: int, epoch: int, x: float, scale: float) -> bytes:
        turn = (float(np.sqrt(0.5)), 0.0, float(np.sqrt(0.5)), 0.0)  # a quarter around +Y
        message = Xform(
            scene="flat", seq=seq, epoch=epoch, scale=scale, quat_wxyz=turn, translation_m=(x, 0, 0), reason="loop"
        )
        return protocol.pack(message)

    frames = (begin(), delta(1), end(1), move(2, 1, 1.0, 2.0), move(3, 1, 1.0, 2.0), move(4, 2, 0.0, 1.0))
    async with fake_server(plays(*frames)) as fake, sdk.connect(fake.url) as client:
        scene = client.subscribe("flat", ["mesh"])
        updates = await take(scene, 5)
        assert [u.epoch for u in updates if isinstance(u, sdk.Moved)] == [1, 2]
        # (1, 0, 0) turns to (0, 0, -1), doubles, moves: (1, 0, -2); then turns to (-2, 0, -1).
        now = scene.now_from(scene.tiles["mesh"][(0, 0)].epoch) @ [1.0, 0.0, 0.0, 1.0]
        np.testing.assert_allclose(now[:3], [-2.0, 0.0, -1.0], atol=1e-12)
        np.testing.assert_array_equal(scene.now_from(2), np.eye(4))


async def test_events_wait_in_a_bounded_line_and_the_oldest_go_first() -> None:
    events = [protocol.pack(Event(scene="flat", seq=i, name=str(i), data={})) for i in range(1, 601)]
    async with fake_server(plays(begin(), *events, end(600))) as fake, sdk.connect(fake.url) as client:
        scene = client.subscribe("flat", ["event"])
        async with asyncio.timeout(20):
            while not any(isinstance(m, protocol.Ack) and m.seq == 600 for m in fake.got):
                await fake.wait_for(protocol.Ack, sum(isinstance(m, protocol.Ack) for m in fake.got) + 1)
        names = [u.name for u in await take(scene, 258) if isinstance(u, sdk.Happened)]
        assert names == [str(i) for i in range(345, 601)]


async def test_a_lost_connection_resumes_where_the_server_said() -> None:
    resume = Resume("lineage", 5)
    synced = protocol.pack(Synced(scene="flat", resume=resume))
    first = plays(begin(), delta(1, value=1), end(1), synced, then_close=1012)
    second = plays(begin(resumed=True), delta(6, ver=2, value=2), end(6))
    async with fake_server(first, second) as fake, sdk.connect(fake.url) as client:
        scene = client.subscribe("flat", ["mesh"])
        seen: list[sdk.Update] = []
        async with asyncio.timeout(20):
            async for update in scene:
                seen.append(update)
                if update == sdk.Complete(resumed=True):
                    break
        subscribes = await fake.wait_for(protocol.Subscribe, 2)
        assert [getattr(s, "resume", None) for s in subscribes] == [None, resume]
        assert sum(isinstance(u, sdk.Cleared) for u in seen) == 1
        assert scene.tiles["mesh"][(0, 0)].version == 2


async def test_a_new_lineage_clears_what_was_held() -> None:
    first = plays(begin(), delta(1), end(1), then_close=protocol.CLOSE_TOO_SLOW)
    second = plays(begin(resumed=False), delta(1, key=(5, 5)), end(1))
    async with fake_server(first, second) as fake, sdk.connect(fake.url) as client:
        scene = client.subscribe("flat", ["mesh"])
        await scene.complete()
        await scene.complete()
        assert list(scene.tiles["mesh"]) == [(5, 5)]


async def test_clock_offset_and_age_follow_the_servers_clock() -> None:
    async with fake_server(plays(begin(), delta(1), end(1))) as fake, sdk.connect(fake.url) as client:
        client.subscribe("flat", ["mesh"])
        await fake.wait_for(protocol.Ping, 3)
        acks = await fake.wait_for(protocol.Ack)
        assert client.rtt_ns is not None
        assert abs(client.offset_ns - CLOCK_AHEAD_NS) <= client.rtt_ns
        assert isinstance(acks[-1], protocol.Ack)
        assert acks[-1].seq == 1


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (protocol.CLOSE_UNAUTHORIZED, sdk.Unauthorized),
        (protocol.CLOSE_UNSUPPORTED, sdk.UnsupportedProtocol),
        (protocol.CLOSE_BAD_MESSAGE, sdk.SdkError),
    ],
)
async def test_closings_that_are_final_end_the_iteration_with_an_error(code: int, kind: type[sdk.SdkError]) -> None:
    async with fake_server(plays(begin(), end(), then_close=code)) as fake, sdk.connect(fake.url) as client:
        with pytest.raises(kind, match="scripted"):
            await take(client.subscribe("flat"), 99)


async def test_a_bad_token_is_refused_at_once() -> None:
    async with fake_server(plays()) as fake:
        with pytest.raises(sdk.Unauthorized, match="token expired"):
            async with sdk.connect(fake.url, token="bad"):
                pass


async def test_an_error_answer_ends_the_subscription_it_belongs_to() -> None:
    refusal = protocol.pack(protocol.Error(code="no_such_scene", detail="there is no scene 'flat'"))
    async with fake_server(plays(refusal)) as fake, sdk.connect(fake.url) as client:
        with pytest.raises(sdk.Refused, match="no scene 'flat'"):
            await take(client.subscribe("flat"), 1)


async def test_nobody_listening_is_said_plainly() -> None:
    async with fake_server() as fake:
        url = fake.url
    with pytest.raises(sdk.ConnectionFailed, match=r"connection refused.*commonground serve") as failed:
        async with sdk.connect(url):
            pass
    assert isinstance(failed.value.__cause__, OSError)
    shown = "".join(traceback.format_exception(failed.value)).splitlines()
    assert len([line for line in shown if line.startswith("  File")]) <= 2, "the frames of asyncio bury the message"


async def test_closing_a_subscription_ends_its_iteration_and_tells_the_server() -> None:
    async with fake_server(plays(begin(), end())) as fake, sdk.connect(fake.url) as client:
        scene = client.subscribe("flat")
        await scene.complete()
        await scene.close()
        assert [u async for u in scene] == []
        await fake.wait_for(protocol.Unsubscribe)
        with pytest.raises(ValueError, match="no layer"):
            client.subscribe("flat", ["walls"])  # type: ignore[list-item]
