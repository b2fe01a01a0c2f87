"""Webhooks: signed, tried again, and never sent inside."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import http.client
import http.server
import json
import queue
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from server.assets.blobs import StorageFull
from server.jobs.desk import Desk
from server.jobs.events import Delivery
from server.jobs.store import Store
from server.jobs.values import Wanted, Webhook
from server.jobs.webhooks import MOST_AT_ONCE, Config, NotAllowed, Webhooks, public_address, sign
from tests.server.jobs.live import live

SECRET = base64.b64encode(bytes(range(32))).decode()
Heard = tuple[dict[str, str], bytes]


@pytest.fixture
def listener() -> Iterator[tuple[int, queue.Queue[Heard], list[int]]]:
    """Port of somebody who wants to be told, what they heard, and the statuses they will answer with."""
    heard: queue.Queue[Heard] = queue.Queue()
    statuses: list[int] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            heard.put(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(statuses.pop(0) if statuses else 204)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port, heard, statuses
        server.shutdown()


async def test_a_finished_job_is_told_signed_and_again_until_it_is_heard(
    tmp_path: Path, listener: tuple[int, queue.Queue[Heard], list[int]]
) -> None:
    port, heard, statuses = listener
    statuses += [500, 302]
    config = {"webhooks": {"allowed_hosts": ["localhost"], "pauses_s": [0.01, 0.01, 0.01]}}
    async with live(tmp_path, config) as server:
        hook = {"url": f"http://localhost:{port}/told?x=1", "secret": f"whsec_{SECRET}"}
        job = await server.submit(params={"blocks": 1, "block_ms": 1.0}, webhook=hook)
        assert job["wanted"]["webhook"] == {
            "url": f"http://localhost:{port}", "events": ["completed"], "secret": None,
        }, "others read this, too"  # fmt: skip
        await server.done(job["job"])
        tries = [await _get(heard) for _ in range(3)]
    ids = {headers["webhook-id"] for headers, _ in tries}
    assert len(ids) == 1, "the same message, so that it can be told apart from another"
    headers, body = tries[-1]
    told = json.loads(body)
    assert (told["type"], told["data"]["job"], told["data"]["state"]) == ("job.completed", job["job"], "succeeded")
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(base64.b64decode(SECRET), signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"


async def test_nobody_is_told_inside_the_house(
    tmp_path: Path, listener: tuple[int, queue.Queue[Heard], list[int]]
) -> None:
    port, heard, _ = listener
    async with live(tmp_path) as server:
        hook = {"url": f"http://localhost:{port}/"}
        job = await server.submit(params={"blocks": 1, "block_ms": 1.0}, webhook=hook)
        await server.done(job["job"])
        while await server.generation.desk.ask(lambda store: store.next_delivery_ns()) is not None:
            await server.http.get("/v1/jobs")
    assert heard.empty()


class Told:
    """A desk with somebody to be told of a job, who is told by `posts` in place of the network."""

    def __init__(self, desk: Desk, monkeypatch: pytest.MonkeyPatch, **config: Any) -> None:
        self.desk, self.posts = desk, asyncio.Queue[str]()
        self.hooks = Webhooks(desk, b"", Config(**config))
        self.slow = threading.Event()
        loop = asyncio.get_running_loop()

        def post(hook: Webhook, delivery: Delivery) -> int:
            loop.call_soon_threadsafe(self.posts.put_nowait, hook.url)
            if "slow" in hook.url:
                self.slow.wait(60)
            return 200

        monkeypatch.setattr(self.hooks, "_post", post)

    async def owe(self, url: str) -> None:
        job, _ = await self.desk.submit(Wanted(webhook=Webhook(url=url)), ())
        await self.desk.cancel(job.job)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        running = asyncio.create_task(self.hooks.run())
        try:
            yield
        finally:
            self.slow.set()
            running.cancel()
            await asyncio.wait([running])


async def test_a_full_disk_makes_nobody_hear_it_at_every_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = asyncio.Queue[None]()
    async with Desk.opened(tmp_path) as desk:
        told, loop = Told(desk, monkeypatch, pauses_s=(3600.0,)), asyncio.get_running_loop()
        delivered = Store.delivered

        def full(store: Store, delivery: int, again_at_ns: int | None) -> None:
            if again_at_ns is None:
                loop.call_soon_threadsafe(refused.put_nowait, None)
                raise StorageFull("the disk is full; nothing was changed")
            delivered(store, delivery, again_at_ns)

        monkeypatch.setattr(Store, "delivered", full)
        await told.owe("https://example.org/")
        async with told.running():
            await refused.get()
        owed = await desk.ask(lambda store: store.due_deliveries(2**62, 9))
        assert [one.tries for one in owed] == [1], "it will be told again, but not before its pause is over"
        assert await desk.ask(lambda store: store.due_deliveries(time.time_ns(), 9)) == []
        assert told.posts.qsize() == 1

        def fuller(store: Store, delivery: int, again_at_ns: int | None) -> None:
            loop.call_soon_threadsafe(refused.put_nowait, None)
            raise StorageFull("the disk is full; nothing was changed")

        monkeypatch.setattr(Store, "delivered", fuller)
        await told.owe("https://example.org/")
        async with told.running():
            await refused.get()
        assert told.posts.qsize() == 1, "what cannot be written down before is not told"


async def test_slow_hooks_keep_only_themselves_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Desk.opened(tmp_path) as desk:
        told = Told(desk, monkeypatch, timeout_s=60.0)
        async with told.running():
            await told.owe("https://slow.example.org/")
            assert await told.posts.get() == "https://slow.example.org/"
            await told.owe("https://quick.example.org/")
            assert await told.posts.get() == "https://quick.example.org/"


async def test_a_host_that_is_not_found_in_time_makes_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Desk.opened(tmp_path) as desk:
        told = Told(desk, monkeypatch, timeout_s=0.01)
        async with told.running():
            for n in range(MOST_AT_ONCE):
                await told.owe(f"https://slow{n}.example.org/")
            await told.owe("https://quick.example.org/")
            assert "https://quick.example.org/" in [await told.posts.get() for _ in range(MOST_AT_ONCE + 1)]


def test_who_answers_byte_by_byte_has_no_more_time_than_others() -> None:
    """Each byte comes within the time-out, all of them never do."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as door:

        def drip() -> None:
            connection, _ = door.accept()
            with connection, contextlib.suppress(OSError):
                while not over.wait(0.02):
                    connection.sendall(b"H")

        dripping = threading.Thread(target=drip)
        dripping.start()
        port = door.getsockname()[1]
        hooks = Webhooks(None, b"", Config(allowed_hosts=("127.0.0.1",), timeout_s=0.3))  # type: ignore[arg-type]
        with pytest.raises((OSError, http.client.HTTPException)):
            hooks._post(Webhook(url=f"http://127.0.0.1:{port}/"), Delivery(1, "job-1", "completed", b"{}", 0))
        over.set()
        dripping.join()


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "localhost", "10.0.0.1", "192.168.1.1", "172.16.0.1", "169.254.169.254", "0.0.0.0", "[::1]",
        "[64:ff9b::a00:1]", "[64:ff9b:1::1]", "[::7f00:1]",
        "[fe80::1]", "[fc00::1]", "[::ffff:127.0.0.1]", "[::ffff:10.0.0.1]", "2130706433", "0x7f.1", "224.0.0.1",
        "100.64.0.1", "user:pw@8.8.8.8", "",
    ],
)  # fmt: skip
def test_hosts_with_private_addresses_are_refused(host: str) -> None:
    with pytest.raises(NotAllowed):
        public_address(urlsplit(f"http://{host}/x"), ())


def test_public_hosts_and_those_that_are_allowed_are_told() -> None:
    assert public_address(urlsplit("https://8.8.8.8/x"), ()) == "8.8.8.8"
    assert public_address(urlsplit("http://127.0.0.1:1/x"), ("127.0.0.1",)) == "127.0.0.1"


def test_the_signature_is_the_one_of_the_standard() -> None:
    """The example of the Standard Webhooks specification."""
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signature = sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def _get(heard: queue.Queue[Heard]) -> Heard:
    return await asyncio.to_thread(heard.get, timeout=20)
