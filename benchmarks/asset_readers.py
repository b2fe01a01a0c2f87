"""Clients of the asset bus in a process of their own, for `benchmarks.asset_swap`.

With `--slot` they are the SDK's: each binds the slot, shows what is in it, and writes down when. A quarter of them
finds assets called `bad...` bad a moment after they were shown. Without it they only note when events come. They print
`ready`, go on until a line comes in, and print one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from contextlib import AsyncExitStack
from typing import Any, cast

import uvloop
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from clients.asset_messages import SUBPROTOCOL
from clients.assets import AssetClient, Prepared, connect_assets

FRAME_S = 1 / 60
READ_AFTER_S = 0.02
BAD_SHARE = 0.25
BAD_AFTER_S = 0.3


class LeanReader(asyncio.Protocol):
    """Notes when each event came (Unix ns), on the sans-I/O half of `websockets`."""

    def __init__(self, url: str, token: str | None) -> None:
        self._websocket = ClientProtocol(parse_uri(url), subprotocols=[Subprotocol(SUBPROTOCOL)], max_size=None)
        self._token = token
        self._is_open = False
        self._unread: list[tuple[int, bytes]] = []
        self.came_ns: dict[int, int] = {}
        self.greeted: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._websocket.send_request(self._websocket.connect())
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Only note it now: reading it would delay those who come next in this process."""
        self._unread.append((time.time_ns(), data))
        if len(self._unread) == 1:
            asyncio.get_running_loop().call_later(READ_AFTER_S, self._read)

    def _read(self) -> None:
        for came_ns, data in self._unread:
            self._websocket.receive_data(data)
            for event in self._websocket.events_received():
                if not self._is_open:
                    self._is_open = True
                    token = {"token": self._token} if self._token else {}
                    self._websocket.send_text(json.dumps({"type": "hello", "client": "benchmark", **token}).encode())
                elif isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                    head = bytes(event.data[:30])
                    if head.startswith(b'{"seq":'):
                        self.came_ns[int(head[7:].partition(b",")[0])] = came_ns
                    elif not self.greeted.done():
                        self.greeted.set_result(None)
        self._unread.clear()
        self._flush()

    def _flush(self) -> None:
        if output := b"".join(self._websocket.data_to_send()):
            self._transport.write(output)


class Shower:
    """A program that shows what is in the slot."""

    def __init__(self, number: int, num_clients: int) -> None:
        self._is_picky = number < BAD_SHARE * num_clients
        self.log: list[tuple[int, str, int]] = []
        """When (Unix ns), what, and the slot's revision."""
        self.is_showing = asyncio.Event()

    def bind(self, bus: AssetClient, slot: str) -> None:
        self._bus, self._slot = bus, slot
        self.binding = bus.bind(slot, prepare=self._prepare, commit=self._commit, rollback=self._rollback)

    def _prepare(self, new: Prepared) -> str:
        return new.what.asset

    def _commit(self, new: str, old: str | None) -> None:
        self.log.append((time.time_ns(), "commit", self.binding.revision))
        self.is_showing.set()
        if new.startswith("bad") and self._is_picky:
            asyncio.get_running_loop().call_later(BAD_AFTER_S, self._complain)

    def _rollback(self, old: str) -> None:
        self.log.append((time.time_ns(), "rollback", self.binding.revision))

    def _complain(self) -> None:
        revision = self.binding.revision
        self.log.append((time.time_ns(), "fail", revision))
        self._saying = asyncio.create_task(self._bus._acknowledge(self._slot, revision, False, "it is bad"))


async def lean(url: str, num_clients: int, token: str | None) -> dict[str, Any]:
    uri, loop = parse_uri(url.replace("http", "ws", 1) + "/v1/assets/events"), asyncio.get_running_loop()
    address = url.replace("http", "ws", 1) + "/v1/assets/events"
    readers = []
    for _ in range(num_clients):
        _, reader = await loop.create_connection(lambda: LeanReader(address, token), uri.host, uri.port)
        await reader.greeted
        readers.append(reader)
    await _until_told()
    return {"came_ns": [reader.came_ns for reader in readers]}


async def show(url: str, num_clients: int, slot: str) -> dict[str, Any]:
    showers = [Shower(number, num_clients) for number in range(num_clients)]
    async with AsyncExitStack() as stack:
        for shower in showers:
            shower.bind(await stack.enter_async_context(connect_assets(url)), slot)
        await asyncio.gather(*(shower.is_showing.wait() for shower in showers))
        count = {"frames": 0, "gap_frames": 0}
        drawing = asyncio.create_task(_draw(showers, count))
        await _until_told()
        drawing.cancel()
    return {"logs": [shower.log for shower in showers], **count}


async def _draw(showers: list[Shower], count: dict[str, int]) -> None:
    """Look at every client's picture, 60 times a second as far as there is time."""
    while True:
        count["frames"] += 1
        count["gap_frames"] += any(shower.binding.resource is None for shower in showers)
        await asyncio.sleep(FRAME_S)


async def _until_told() -> None:
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--clients", type=int, default=1)
    parser.add_argument("--slot")
    parser.add_argument("--token")
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if options.slot is None:
            work = lean(options.url, options.clients, options.token)
        else:
            work = show(options.url, options.clients, options.slot)
        json.dump(runner.run(work), sys.stdout)


if __name__ == "__main__":
    main()
