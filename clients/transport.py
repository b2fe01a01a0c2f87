"""A socket that lasts: dialled and greeted, taken up again when lost, given up with an error that says what to do.

The map's and the assets' sockets differ in what is said on them, not in how they come about and end.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import random
import ssl
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
import websockets
from websockets.asyncio.client import ClientConnection

from server import protocol

GREETED_WITHIN_S = 10.0
MAX_MESSAGE_BYTES = 16 << 20
RETRY_FIRST_S, RETRY_MOST_S = 0.25, 8.0
logger = logging.getLogger(__name__)
Greeting = TypeVar("Greeting")


class SdkError(Exception):
    """Something between this program and the server went wrong for good."""


class ConnectionFailed(SdkError):
    """The server cannot be reached, or is not one."""


class Unauthorized(SdkError):
    """The token is missing, expired, or does not allow this."""


class UnsupportedProtocol(SdkError):
    """The server speaks another version of the protocol."""


class Refused(SdkError):
    """The server answered a subscription with an error."""


async def dial(
    url: str,
    tls: ssl.SSLContext | None,
    subprotocol: str,
    name: str,
    hello: bytes | str,
    read: Callable[[bytes | str], Greeting],
) -> tuple[ClientConnection, Greeting]:
    """Connect, say hello, and hear what is answered; `read` understands the answer or raises.

    Raises:
        SdkError: the server cannot be reached or does not want us.
    """
    try:
        socket = await websockets.connect(
            url,
            ssl=tls,
            subprotocols=[websockets.Subprotocol(subprotocol)],
            compression=None,
            max_size=MAX_MESSAGE_BYTES,
            proxy=None,
            user_agent_header=name,
            open_timeout=GREETED_WITHIN_S,
        )
    except (OSError, TimeoutError, websockets.InvalidHandshake, websockets.InvalidURI) as error:
        raise _explained(error, url, subprotocol) from _bare(error)
    try:
        if socket.subprotocol != subprotocol:
            raise UnsupportedProtocol(f"{url} does not speak {subprotocol}")
        async with asyncio.timeout(GREETED_WITHIN_S):
            await socket.send(hello)
            return socket, read(await socket.recv())
    except websockets.ConnectionClosed as error:
        raise final(error) or ConnectionFailed(f"{url} hung up: {error}") from error
    except (TimeoutError, protocol.ProtocolError, msgspec.DecodeError) as error:
        await socket.close()
        raise ConnectionFailed(f"{url} did not greet us as {subprotocol} does: {error}") from error
    except SdkError:
        await socket.close()
        raise


async def stay(
    socket: ClientConnection,
    use: Callable[[ClientConnection], Awaitable[websockets.ConnectionClosed]],
    dial_again: Callable[[], Awaitable[ClientConnection]],
    url: str,
    *,
    reconnect: bool = True,
) -> None:
    """Use a connection until it is lost, then the next one, until one ends for good.

    Raises:
        SdkError: why it did.
    """
    while True:
        lost = await use(socket)
        fatal = final(lost)
        if fatal is not None or not reconnect:
            raise fatal or ConnectionFailed(f"{url} closed the connection: {lost}")
        logger.info("connection lost, coming back", extra={"url": url, "reason": str(lost)})
        socket = await _again(dial_again, url)


async def _again(dial_again: Callable[[], Awaitable[ClientConnection]], url: str) -> ClientConnection:
    """Knock until somebody opens, after ever longer waits that differ from client to client."""
    wait_s = RETRY_FIRST_S
    while True:
        await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))
        wait_s = min(2 * wait_s, RETRY_MOST_S)
        try:
            return await dial_again()
        except ConnectionFailed as error:
            logger.info("still not there", extra={"url": url, "reason": str(error)})


async def stopped(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait for it, whatever it ended with."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, SdkError, websockets.ConnectionClosed):
        await task


def final(error: websockets.ConnectionClosed) -> SdkError | None:
    """Why a closed connection is the end; None when coming back may help."""
    code, reason = (error.rcvd.code, error.rcvd.reason) if error.rcvd else (1006, "")
    if code == protocol.CLOSE_UNAUTHORIZED:
        return Unauthorized(f"not authorized: {reason or 'is the token missing or expired?'}")
    if code == protocol.CLOSE_UNSUPPORTED:
        return UnsupportedProtocol(f"the server wants another protocol version: {reason}")
    if code == protocol.CLOSE_BAD_MESSAGE:
        return SdkError(f"the server could not read this SDK's message: {reason}")
    return None


def _explained(error: Exception, url: str, subprotocol: str) -> SdkError:
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
        return UnsupportedProtocol(f"{url} does not speak {subprotocol}: {error}")
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
        return f"no answer within {GREETED_WITHIN_S:g} s"
    return str(error) or type(error).__name__


def _bare(error: Exception) -> Exception:
    """The same without the frames of asyncio, which would bury the message."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)
