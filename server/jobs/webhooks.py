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

from server.jobs.desk import Desk
from server.jobs.events import Delivery
from server.jobs.steady import happens_within, steadily
from server.jobs.values import Webhook

log = logging.getLogger(__name__)
PAGE = 16
LOOK_EVERY_S = 30.0


class Config(BaseModel):
    """How patiently others are told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    allowed_hosts: tuple[str, ...] = ()
    """Hosts that may have private addresses."""
    timeout_s: float = Field(default=10.0, gt=0)
    """Of one try, all together, however slowly the other side speaks."""
    pauses_s: tuple[float, ...] = (5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0)
    """Between tries; after the last it is given up."""


class NotAllowed(Exception):
    """An address that nobody is told at."""


class Webhooks:
    """`run` it as a task."""

    def __init__(self, desk: Desk, key: bytes, config: Config) -> None:
        """`key` signs what is sent to those who gave no secret of their own."""
        self._desk, self._key, self._config = desk, key, config

    async def run(self) -> None:
        """Until cancelled."""
        threads = ThreadPoolExecutor(PAGE, thread_name_prefix="webhooks")
        try:
            await steadily("telling webhooks", lambda: self._turn(threads))
        finally:
            threads.shutdown(wait=False, cancel_futures=True)

    async def _turn(self, threads: ThreadPoolExecutor) -> None:
        """Tell what is due; else wait until something is."""
        desk = self._desk
        desk.owes.clear()
        if due := await desk.ask(lambda store: store.due_deliveries(time.time_ns(), PAGE)):
            await asyncio.gather(*(self._deliver(delivery, threads) for delivery in due))
            return
        next_ns = await desk.ask(lambda store: store.next_delivery_ns())
        wait_s = LOOK_EVERY_S if next_ns is None else max(0.0, (next_ns - time.time_ns()) / 1e9)
        await happens_within(desk.owes, min(wait_s, LOOK_EVERY_S))

    async def _deliver(self, delivery: Delivery, threads: ThreadPoolExecutor) -> None:
        """Try once, and write down whether it is to be tried again."""
        job = await self._desk.get(delivery.job)
        hook, retry_at_ns = job.wanted.webhook, None
        assert hook is not None
        try:
            status = await asyncio.get_running_loop().run_in_executor(threads, self._post, hook, delivery)
            is_done, why = 200 <= status < 300, f"status {status}"
        except NotAllowed as error:
            is_done, why = True, str(error)
            log.warning("a webhook is not allowed", extra={"job": delivery.job, "reason": why})
        except Exception as error:  # whatever it is, it must not keep the others waiting
            is_done, why = False, f"{type(error).__name__}: {error}"
        if not is_done and delivery.tries < len(self._config.pauses_s):
            retry_at_ns = time.time_ns() + int(self._config.pauses_s[delivery.tries] * 1e9)
        elif not is_done:
            log.warning("a webhook is given up", extra={"job": delivery.job, "reason": why})
        await self._desk.ask(lambda store: store.delivered(delivery.id, retry_at_ns))

    def _post(self, hook: Webhook, delivery: Delivery) -> int:
        """The status of the answer; blocks.

        Raises:
            NotAllowed, OSError, http.client.HTTPException: nothing was said.
        """
        url = urlsplit(hook.url)
        address = public_address(url, self._config.allowed_hosts)
        stamp = int(time.time())
        id = f"msg_{hashlib.sha256(f'{delivery.job} {delivery.id}'.encode()).hexdigest()[:32]}"
        body = b'{"type":"job.%s","data":%s}' % (delivery.event.encode(), delivery.body)
        secret = self._key if hook.secret is None else base64.b64decode(hook.secret.removeprefix("whsec_"))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "commonground",
            "webhook-id": id,
            "webhook-timestamp": str(stamp),
            "webhook-signature": sign(secret, id, stamp, body),
        }
        with _connected(url, address, self._config.timeout_s) as connection:
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
def _connected(url: SplitResult, address: str, timeout_s: float) -> Iterator[http.client.HTTPConnection]:
    """To this very address, by the host's name (and its certificate); it breaks off when the time is over."""
    assert url.hostname is not None
    until = time.monotonic() + timeout_s
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
