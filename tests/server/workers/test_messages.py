"""What crosses the process border is typed, sized and never believed."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mapping.changes import KeyframeId
from server.workers import messages
from server.workers.messages import (
    Answers,
    ArrayRef,
    Beat,
    Failed,
    FromWorker,
    MessageError,
    Predict,
    Predicted,
    PredictionRef,
    Ready,
    Start,
    StartFailed,
    Stop,
    ToWorker,
    ViewRef,
    pack,
    receive_to_worker,
    unpack_from_worker,
)
from streams.frame import Intrinsics

REF = ArrayRef(64, "uint8", (4, 4, 3))
LENS = Intrinsics(1.0, 2.0, 3.0, 4.0, 5, 6)
TO_WORKER: list[ToWorker] = [
    Start("classical", {"views": 3}, threads=1, nice=10, heartbeat_s=0.5),
    Predict(
        7, [[ViewRef(KeyframeId("a/1"), REF, LENS, None, REF)], [ViewRef(KeyframeId("a/2"), REF, None, REF, None)]]
    ),
    Stop(),
]
FROM_WORKER: list[FromWorker] = [
    Ready(1.5),
    StartFailed("ValueError", "no"),
    Beat(1000),
    Answers(7, [Predicted([PredictionRef(KeyframeId("a/1"), REF, LENS, REF, None)]), Failed("ValueError", "empty")]),
]


@pytest.mark.parametrize("message", TO_WORKER, ids=lambda m: type(m).__name__)
def test_to_worker(message: ToWorker) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(pack(message) + pack(Stop()))
        assert receive_to_worker(theirs) == message
        assert receive_to_worker(theirs) == Stop()


@pytest.mark.parametrize("message", FROM_WORKER, ids=lambda m: type(m).__name__)
def test_from_worker(message: FromWorker) -> None:
    assert unpack_from_worker(pack(message)[4:]) == message


@pytest.mark.parametrize("sent", [b"", b"\x05", struct.pack("<I", 10) + b"half"])
def test_the_end_of_the_parent_is_no_error(sent: bytes) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        ours.sendall(sent)
        ours.close()
        assert receive_to_worker(theirs) is None


def test_lengths_are_capped_before_anything_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(struct.pack("<I", 2**31))
        with pytest.raises(MessageError, match="at most"):
            receive_to_worker(theirs)
    monkeypatch.setattr(messages, "MAX_MESSAGE_BYTES", 10)
    with pytest.raises(MessageError):
        pack(StartFailed("ValueError", "x" * 100))


@given(st.binary(max_size=64))
def test_noise_is_refused(data: bytes) -> None:
    with pytest.raises(MessageError):
        unpack_from_worker(data)
