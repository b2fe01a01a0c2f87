"""What is said on the assets' socket, and what it means for a slot."""

from __future__ import annotations

from typing import Any

import msgspec

from clients.asset_slot import Binding, Goal
from clients.asset_store import AssetFile, Ref
from clients.transport import ConnectionFailed

SUBPROTOCOL = "commonground.assets.v1"


class Heard(msgspec.Struct, frozen=True):
    """Any message of the server; fields that are not there keep their defaults."""

    type: str
    seq: int = 0
    epoch: str = ""
    clock_ms: float = 0.0
    slot: str = ""
    rev: int = 0
    to: Ref | None = None
    files: tuple[AssetFile, ...] = ()
    commit_at_ms: float = 0.0
    view: dict[str, Any] | None = None
    t0_ms: float = 0.0
    t1_ms: float = 0.0
    t2_ms: float = 0.0
    code: str = ""
    detail: str = ""


class _Swap(msgspec.Struct, frozen=True):
    phase: str
    to: Ref
    files: tuple[AssetFile, ...] = ()
    commit_at_ms: float | None = None


class _View(msgspec.Struct, frozen=True):
    rev: int
    current: Ref | None
    files: tuple[AssetFile, ...] = ()
    swap: _Swap | None = None


def pack(**message: Any) -> str:
    """As it is sent; what is None is left out."""
    return msgspec.json.encode({name: value for name, value in message.items() if value is not None}).decode()


def read(message: str | bytes) -> Heard:
    """
    Raises:
        msgspec.DecodeError: it is none of the server's messages.
    """
    return msgspec.json.decode(message, type=Heard)


def greeting(message: str | bytes) -> Heard:
    """The server's answer to our hello.

    Raises:
        msgspec.DecodeError: see `read`.
        ConnectionFailed: it is another message.
    """
    heard = read(message)
    if heard.type != "hello":
        raise ConnectionFailed(f"{heard.type!r} came before the server's hello: {heard.detail}")
    return heard


def direct(binding: Binding[Any], heard: Heard) -> None:
    """Tell a binding what an event or a view of its slot means for it."""
    match heard.type:
        case "slot.prepare" if heard.to is not None:
            binding.prepare(Goal(heard.rev, heard.to, heard.files))
        case "slot.commit" | "slot.rolled_back" if heard.to is not None:
            is_rollback = heard.type == "slot.rolled_back"
            binding.show(Goal(heard.rev, heard.to, heard.files, heard.commit_at_ms, is_rollback))
        case "slot.settled" if heard.to is not None:
            binding.show(Goal(heard.rev, heard.to, heard.files))
            binding.settle(heard.rev)
        case "slot.removed":
            binding.restarted()
        case "bound" if heard.view is not None:
            view = msgspec.convert(heard.view, _View)
            swap = view.swap
            is_going = swap is not None and swap.phase == "prepare"
            if view.current is not None:
                at_ms = 0.0 if swap is None or is_going else swap.commit_at_ms or 0.0
                binding.show(Goal(view.rev - is_going, view.current, view.files, at_ms))
            if swap is not None and is_going:
                binding.prepare(Goal(view.rev, swap.to, swap.files))
