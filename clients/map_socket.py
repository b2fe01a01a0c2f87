"""The map's socket: hello, welcome, and binary messages from there on."""

from __future__ import annotations

import ssl

from websockets.asyncio.client import ClientConnection

from clients.transport import MAX_MESSAGE_BYTES, ConnectionFailed, Refused, dial
from server import protocol


async def open_socket(
    url: str, tls: ssl.SSLContext | None, *, token: str | None, name: str
) -> tuple[ClientConnection, protocol.Welcome]:
    """Connect to an `address.socket_url` and say hello.

    Raises:
        SdkError: the server cannot be reached or does not want us.
    """
    hello = protocol.Hello(client=name, token=token, max_message_bytes=MAX_MESSAGE_BYTES)
    return await dial(url, tls, protocol.SUBPROTOCOL, name, protocol.pack(hello), _welcome)


def _welcome(frame: bytes | str) -> protocol.Welcome:
    match protocol.unpack_server(binary(frame))[0]:
        case protocol.Welcome() as welcome:
            return welcome
        case protocol.Error(code=code, detail=detail):
            raise Refused(f"{code}: {detail}")
        case message:
            raise ConnectionFailed(f"a {type(message).__name__} came before the welcome")


def binary(frame: bytes | str) -> bytes:
    """A received message, if it is binary.

    Raises:
        ProtocolError: it is text.
    """
    if isinstance(frame, str):
        raise protocol.ProtocolError("a text message")
    return frame
