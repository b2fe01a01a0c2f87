"""Tells others of jobs: signed as Standard Webhooks says, tried again with growing pauses, never into our own house.

Headers: `webhook-id` (the same at every try), `webhook-timestamp`, `webhook-signature` = v1,base64(HMAC-SHA256(secret,
"id.timestamp.body")). A host is resolved once, every address it has must be a public one, and the connection goes to
the address that was looked at: neither a name that resolves to something else a moment later nor a redirect leads
inside.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import http.client
import ipaddress
import logging
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import SplitResult, urlsplit

from pydantic import BaseModel, ConfigDict, Field

from server.assets.blobs import StorageFull
from server.jobs.desk import Desk
from server.jobs.events import Delivery
from server.jobs.steady import happens_within, steadily
from server.jobs.values import Webhook

log = logging.getLogger(__name__)
MOST_AT_ONCE = 16
MOST_THREADS = 4 * MOST_AT_ONCE
"""More than are told at once: looking up a host cannot be broken off, only left alone."""
LOOK_EVERY_S = 30.0


class Config(BaseModel):
    """How patiently others are told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    allowed_hosts: tuple[str, ...] = ()
    """Hosts that may have private addresses."""
    timeout_s: float = Field(default=10.0, gt=0)
    """Of one try, all together, however slowly its host is found or speaks."""
    pauses_s: tuple[float, ...] = (5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0)
    """From the beginning of one try to the next; after the last it is given up."""


class NotAllowed(Exception):
    """An address that nobody is told at."""


class Webhooks:
    """`run` it as a task."""

    def __init__(self, desk: Desk, key: bytes, config: Config) -> None:
        """`key` signs what is sent to those who gave no secret of their own."""
        self._desk, self._key, self._config = desk, key, config
        self._going: dict[int, asyncio.Task[None]] = {}
        """Who is being told, by delivery."""

    async def run(self) -> None:
        """Until cancelled."""
        threads = ThreadPoolExecutor(MOST_THREADS, thread_name_prefix="webhooks")
        try:
            await steadily("telling webhooks", lambda: self._turn(threads))
        finally:
            for task in self._going.values():
                task.cancel()
            threads.shutdown(wait=False, cancel_futures=True)

    async def _turn(self, threads: ThreadPoolExecutor) -> None:
        """Begin with what is due, as far as others are not still being told; then wait until something is or changes.

        When each is to be told again is written down before it is told: whatever happens then, even a disk that takes
        no answer any more, nobody is told at every turn.
        """
        desk, going = self._desk, self._going
        desk.owes.clear()
        now_ns = time.time_ns()
        for delivery in await desk.ask(lambda store: store.due_deliveries(now_ns, MOST_AT_ONCE + len(going))):
            if delivery.id in going or len(going) >= MOST_AT_ONCE:
                continue
            again_at_ns = self._again_at_ns(delivery)
            await desk.ask(lambda store, id=delivery.id, at_ns=again_at_ns: store.delivered(id, at_ns))  # type: ignore[misc]
            task = asyncio.create_task(self._deliver(delivery, again_at_ns is None, threads))
            going[delivery.id] = task
            task.add_done_callback(lambda _, id=delivery.id: self._is_over(id))  # type: ignore[misc]
        next_ns = await desk.ask(lambda store: store.next_delivery_ns(now_ns))
        wait_s = LOOK_EVERY_S if next_ns is None else max(0.0, (next_ns - time.time_ns()) / 1e9)
        await happens_within(desk.owes, min(wait_s, LOOK_EVERY_S))

    def _again_at_ns(self, delivery: Delivery) -> int | None:
        pauses_s = self._config.pauses_s
        return time.time_ns() + int(pauses_s[delivery.tries] * 1e9) if delivery.tries < len(pauses_s) else None

    def _is_over(self, delivery: int) -> None:
        del self._going[delivery]
        self._desk.owes.set()

    async def _deliver(self, delivery: Delivery, is_last: bool, threads: ThreadPoolExecutor) -> None:
        """Try once; if it is heard or may not be, it is not tried again."""
        told = {"job": delivery.job}
        try:
            hook = (await self._desk.get(delivery.job)).wanted.webhook
            assert hook is not None
            async with asyncio.timeout(self._config.timeout_s):
                status = await asyncio.get_running_loop().run_in_executor(threads, self._post, hook, delivery)
            if not 200 <= status < 300:
                raise OSError(f"status {status}")
        except NotAllowed as error:
            log.warning("a webhook is not allowed", extra=told | {"reason": str(error)})
        except Exception as error:  # whatever it is, it must not keep the others waiting
            if is_last:
                log.warning("a webhook is given up", extra=told | {"reason": f"{type(error).__name__}: {error}"})
            return
        with contextlib.suppress(StorageFull):  # then it is told once more, later
            await self._desk.ask(lambda store: store.delivered(delivery.id, None))

    def _post(self, hook: Webhook, delivery: Delivery) -> int:
        """The status of the answer; blocks.

        Raises:
            NotAllowed, OSError, http.client.HTTPException: nothing was said.
        """
        url, until = urlsplit(hook.url), time.monotonic() + self._config.timeout_s
        address = public_address(url, self._config.allowed_hosts)
        stamp = int(time.time())
        id = f"msg_{hashlib.sha256(f'{delivery.job} {delivery.id}'.encode()).hexdigest()[:32]}"
        body = b'{"type":"job.%s","data":%s}' % (delivery.event.encode(), delivery.body)
        secret = self._key if hook.key is None else hook.key
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "commonground",
            "webhook-id": id,
            "webhook-timestamp": str(stamp),
            "webhook-signature": sign(secret, id, stamp, body),
        }
        with _connected(url, address, until) as connection:
            connection.request("POST", (url.path or "/") + (f"?{url.query}" if url.query else ""), body, headers)
            return connection.getresponse().status


def sign(secret: bytes, id: str, stamp: int, body: bytes) -> str:
    """The signature of a message, Standard Webhooks v1."""
    digest = hmac.new(secret, f"{id}.{stamp}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def public_address(url: SplitResult, allowed_hosts: tuple[str, ...]) -> str:
    """An address of the URL's host.

    Raises:
        NotAllowed: the host has an address within somebody's house.
        OSError: it has none.
    """
    host = url.hostname
    if not host or url.username or url.password:
        raise NotAllowed("a webhook needs a host, and no password")
    found = {info[4][0] for info in socket.getaddrinfo(host, _port(url), type=socket.SOCK_STREAM)}
    for address in found:
        if host not in allowed_hosts and not _is_public(str(address)):
            raise NotAllowed(f"{host} has an address that is not public; see generation.webhooks.allowed_hosts")
    return str(sorted(found, key=str)[0])


_HIDES_IPV4 = tuple(map(ipaddress.IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48", "::/96")))
"""Addresses that a gateway may turn into any IPv4 address (NAT64: RFC 6052, RFC 8215; IPv4-compatible: RFC 4291)."""


def _is_public(address: str) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and any(ip in hides for hides in _HIDES_IPV4):
        return False
    mapped = getattr(ip, "ipv4_mapped", None) or getattr(ip, "sixtofour", None)
    return ip.is_global and not ip.is_multicast and (mapped is None or mapped.is_global)


def _port(url: SplitResult) -> int:
    return url.port or (443 if url.scheme == "https" else 80)


@contextlib.contextmanager
def _connected(url: SplitResult, address: str, until: float) -> Iterator[http.client.HTTPConnection]:
    """To this very address, by the host's name (and its certificate); it breaks off at `until`, monotonic seconds."""
    assert url.hostname is not None
    if (timeout_s := until - time.monotonic()) <= 0:
        raise TimeoutError("its host was found too late")
    with socket.create_connection((address, _port(url)), timeout_s) as raw, raw.dup() as twin:

        def end() -> None:
            with contextlib.suppress(OSError):  # it is closed
                twin.shutdown(socket.SHUT_RDWR)

        ending = threading.Timer(max(0.0, until - time.monotonic()), end)
        ending.daemon = True
        ending.start()
        try:
            connection = http.client.HTTPConnection(url.hostname, _port(url), timeout=timeout_s)
            is_tls = url.scheme == "https"
            context = ssl.create_default_context() if is_tls else None
            connection.sock = raw if context is None else context.wrap_socket(raw, server_hostname=url.hostname)
            with contextlib.closing(connection):
                yield connection
        finally:
            ending.cancel()
