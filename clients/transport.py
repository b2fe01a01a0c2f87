"""Opening a map socket: from a server's address to a greeted connection, or to an error that says what to do."""

from __future__ import annotations

import asyncio
import errno
import os
import ssl
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import websockets
from websockets.asyncio.client import ClientConnection

from server import protocol

WELCOME_WITHIN_S = 10.0
MAX_MESSAGE_BYTES = 16 << 20


class SdkError(Exception):
    """Something between this program and the server went wrong for good."""


class ConnectionFailed(SdkError):
    """The server cannot be reached, or is not one."""


class Unauthorized(SdkError):
    """The token is missing, expired, or does not allow this."""


class UnsupportedProtocol(SdkError):
    """The server speaks another version of the map protocol."""


class Refused(SdkError):
    """The server answered a subscription with an error."""


async def open_socket(
    url: str, tls: ssl.SSLContext | None, *, token: str | None, name: str
) -> tuple[ClientConnection, protocol.Welcome]:
    """Connect to a `socket_url` and say hello.

    Raises:
        SdkError: the server cannot be reached or does not want us.
    """
    try:
        socket = await websockets.connect(
            url,
            ssl=tls,
            subprotocols=[websockets.Subprotocol(protocol.SUBPROTOCOL)],
            compression=None,
            max_size=MAX_MESSAGE_BYTES,
            proxy=None,
            user_agent_header=name,
            open_timeout=WELCOME_WITHIN_S,
        )
    except (OSError, TimeoutError, websockets.InvalidHandshake, websockets.InvalidURI) as error:
        raise _explained(error, url) from _bare(error)
    try:
        return socket, await _greeted(socket, url, token, name)
    except SdkError:
        await socket.close()
        raise


async def _greeted(socket: ClientConnection, url: str, token: str | None, name: str) -> protocol.Welcome:
    if socket.subprotocol != protocol.SUBPROTOCOL:
        raise UnsupportedProtocol(f"{url} does not speak {protocol.SUBPROTOCOL}")
    hello = protocol.Hello(client=name, token=token, max_message_bytes=MAX_MESSAGE_BYTES)
    try:
        async with asyncio.timeout(WELCOME_WITHIN_S):
            await socket.send(protocol.pack(hello))
            message, _ = protocol.unpack_server(binary(await socket.recv()))
    except websockets.ConnectionClosed as error:
        raise final(error) or ConnectionFailed(f"{url} hung up: {error}") from error
    except (TimeoutError, protocol.ProtocolError) as error:
        raise ConnectionFailed(f"{url} did not greet us as a map server does: {error}") from error
    match message:
        case protocol.Welcome():
            return message
        case protocol.Error(code=code, detail=detail):
            raise Refused(f"{code}: {detail}")
        case _:
            raise ConnectionFailed(f"{url} sent {type(message).__name__} before its welcome")


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


def _explained(error: Exception, url: str) -> SdkError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return ConnectionFailed(
            f"the certificate of {url} is not trusted ({error.verify_message}): "
            "pass ca=, the file the server printed at its start and serves at /ca"
        )
    if isinstance(error, websockets.InvalidStatus):
        status = error.response.status_code
        if status in (401, 403):
            return Unauthorized(f"{url} refused the connection with {status}: is the origin or the token allowed?")
        return ConnectionFailed(f"{url} answered {status}: is a Commonground server behind this address?")
    if isinstance(error, websockets.NegotiationError):
        return UnsupportedProtocol(f"{url} does not speak {protocol.SUBPROTOCOL}: {error}")
    if isinstance(error, websockets.InvalidHandshake):
        return ConnectionFailed(f"{url} is no WebSocket of a Commonground server: {error}")
    return ConnectionFailed(
        f"cannot connect to {url}: {_reason(error)}. Is the server running there (`commonground serve`), "
        "and is the address right?"
    )


def _reason(error: Exception) -> str:
    """Several addresses that refuse are one refusal to people."""
    if isinstance(error, ConnectionRefusedError) or f"[Errno {errno.ECONNREFUSED}]" in str(error):
        return "nothing answers there (connection refused)"
    if isinstance(error, TimeoutError):
        return f"no answer within {WELCOME_WITHIN_S:g} s"
    return str(error) or type(error).__name__


def _bare(error: Exception) -> Exception:
    """The same without the frames of asyncio, which would bury the message."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def final(error: websockets.ConnectionClosed) -> SdkError | None:
    """Why a closed connection is the end; None when coming back may help."""
    code, reason = (error.rcvd.code, error.rcvd.reason) if error.rcvd else (1006, "")
    if code == protocol.CLOSE_UNAUTHORIZED:
        return Unauthorized(f"not authorized: {reason or 'is the token missing or expired?'}")
    if code == protocol.CLOSE_UNSUPPORTED:
        return UnsupportedProtocol(f"the server wants another protocol version: {reason or protocol.SUBPROTOCOL}")
    if code == protocol.CLOSE_BAD_MESSAGE:
        return SdkError(f"the server could not read this SDK's message: {reason}")
    return None


def binary(frame: bytes | str) -> bytes:
    """A received message, if it is binary.

    Raises:
        ProtocolError: it is text.
    """
    if isinstance(frame, str):
        raise protocol.ProtocolError("a text message")
    return frame
