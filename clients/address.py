"""A server's address: what its socket and its pages are called, and whom to trust there."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit


def socket_url(url: str) -> str:
    """`wss://host/v1/map` of a server's address.

    Raises:
        ValueError: the scheme is none of https, http, wss, ws.
    """
    parts = urlsplit(url)
    schemes = {"https": "wss", "http": "ws", "wss": "wss", "ws": "ws"}
    if parts.scheme not in schemes or not parts.hostname:
        raise ValueError(f"{url!r} is not a server's address; want something like https://localhost:8443")
    path = parts.path.rstrip("/")
    return urlunsplit(
        (schemes[parts.scheme], parts.netloc, path if path.endswith("/v1/map") else f"{path}/v1/map", "", "")
    )


def events_url(url: str) -> str:
    """`wss://host/v1/assets/events` of a server's address.

    Raises:
        ValueError: see `socket_url`.
    """
    return socket_url(url).removesuffix("map") + "assets/events"


def page_url(url: str) -> str:
    """The address of a server's pages, given that or its socket's.

    Raises:
        ValueError: see `socket_url`.
    """
    parts = urlsplit(socket_url(url))
    return urlunsplit((parts.scheme.replace("ws", "http"), parts.netloc, parts.path.removesuffix("v1/map"), "", ""))


def tls_context(url: str, ca: str | os.PathLike[str] | bool) -> ssl.SSLContext | None:
    """Trust for a URL; None when it needs no TLS. `ca` is a file (PEM, or DER as `/ca` serves it), or False for none.

    Raises:
        OSError: the file cannot be read, or holds no certificate.
    """
    if urlsplit(url).scheme not in ("https", "wss"):
        return None
    context = ssl.create_default_context()
    if not isinstance(ca, bool):
        certificate = Path(ca).read_bytes()
        context.load_verify_locations(cadata=certificate.decode() if certificate.startswith(b"-----") else certificate)
    if ca is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
