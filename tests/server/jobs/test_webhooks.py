"""Webhooks: signed, tried again, and never sent inside."""

from __future__ import annotations

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
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from server.jobs.events import Delivery
from server.jobs.values import Webhook
from server.jobs.webhooks import Config, NotAllowed, Webhooks, public_address, sign
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
        assert "secret" not in json.dumps(job["wanted"]["webhook"]) or job["wanted"]["webhook"]["secret"] is None
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
    import asyncio

    return await asyncio.to_thread(heard.get, timeout=20)
