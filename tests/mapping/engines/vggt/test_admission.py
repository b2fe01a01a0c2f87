"""A device whose memory is too small for what is asked: windows get shorter, nothing fails, and it is told once."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.mapping.engines.vggt.needs import needs_torch
from tests.mapping.walking import Phone

needs_torch()

import torch  # noqa: E402

from mapping.engines import Window  # noqa: E402
from mapping.engines.vggt.admission import Admission, shortened  # noqa: E402
from mapping.engines.vggt.passes import Said, Shape  # noqa: E402
from tests.mapping.engines.vggt.test_known_room import Knows, depth_of, engine_of, view  # noqa: E402

PER_TOKEN, FIXED = 1000, 50_000


@dataclass
class Device:
    """Memory that a window takes so much of: a fixed part and one that grows with its tokens."""

    capacity: int
    others: int = 0
    """What somebody else has taken."""
    taken: int = 0

    def free(self) -> int | None:
        return self.capacity - self.others

    def total(self) -> int | None:
        return self.capacity

    def held(self) -> int:
        return 0

    def mark(self) -> None:
        self.taken = 0

    def peak(self) -> int:
        return self.taken

    def run(self, tokens: int) -> None:
        self.taken = FIXED + PER_TOKEN * tokens
        if self.taken > self.capacity - self.others:
            raise torch.OutOfMemoryError("out of memory")


@dataclass(slots=True)
class Cramped(Knows):
    """Knows the room, on such a device."""

    memory: Device = field(default_factory=lambda: Device(10**9))
    asked: list[int] = field(default_factory=list)
    recorded: set[int] = field(default_factory=set)
    """Lengths of windows that are replayed, in memory set aside for that."""

    def needs_no_memory(self, shape: Shape) -> bool:
        return shape.views in self.recorded

    def ask(self, patches: torch.Tensor, shape: Shape) -> list[Said]:
        self.asked.append(shape.views)
        if not self.needs_no_memory(shape):
            self.memory.run(shape.tokens)
        return Knows.ask(self, patches, shape)


TOKENS = 5 + 8 * 11
"""Of one view of these tests."""


def test_a_window_that_does_not_fit_is_asked_again_shorter_and_the_next_one_at_once() -> None:
    phone = Phone("a")
    poses = phone.poses(9)
    network = Cramped(poses, memory=Device(FIXED + PER_TOKEN * TOKENS * 5))
    engine = engine_of(network)
    views = [view(phone, pose, n) for n, pose in enumerate(poses)]
    answers = engine.predict(Window(tuple(views[:8]))).views
    assert network.asked == [8, 4], "half of it fits"
    assert [answer.keyframe for answer in answers] == ["a/0", "a/5", "a/6", "a/7"]
    assert (depth_of(answers[-1])[0] > 0).mean() > 0.9
    network.asked.clear()
    engine.predict(Window(tuple(views[1:9])))
    assert len(network.asked) == 1, "by now it is known"
    assert 4 <= network.asked[0] < 8


def test_under_pressure_windows_shrink_and_grow_again_and_that_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    phone = Phone("a")
    poses = phone.poses(12)
    device = Device(FIXED + PER_TOKEN * TOKENS * 20)
    network = Cramped(poses, memory=device)
    engine = engine_of(network)
    views = [view(phone, pose, n) for n, pose in enumerate(poses)]
    for n in range(8, 12):
        device.others = 7 * device.capacity // 10 if n in (9, 10) else 0
        engine.predict(Window(tuple(views[n - 8 : n])))
    assert network.asked[0] == network.asked[3] == 8
    assert 1 < network.asked[1] == network.asked[2] < 8
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "windows of 8 views need" in caplog.records[0].message
    assert "room for 8 views again" in caplog.records[1].message


def test_a_replayed_window_is_never_shortened_and_says_nothing_of_what_others_take() -> None:
    phone = Phone("a")
    poses = phone.poses(9)
    network = Cramped(poses, memory=Device(FIXED + PER_TOKEN * TOKENS * 5), recorded={8})
    engine = engine_of(network)
    views = [view(phone, pose, n) for n, pose in enumerate(poses)]
    engine.predict(Window(tuple(views[:4])))
    engine.predict(Window(tuple(views[:8])))
    assert network.asked == [4, 8], "what four views took does not keep out eight that take nothing more"
    network.recorded.clear()
    network.asked.clear()
    engine.predict(Window(tuple(views[1:9])))
    assert network.asked == [4], "the replay, which took nothing, was not taken for a measurement"


def test_memory_that_runs_out_is_given_back_before_the_next_try() -> None:
    phone = Phone("a")
    poses = phone.poses(8)
    network = Cramped(poses, memory=Device(FIXED + PER_TOKEN * TOKENS * 5))
    engine = engine_of(network)
    engine.predict(Window(tuple(view(phone, pose, n) for n, pose in enumerate(poses))))
    assert network.forgotten == 1
    assert engine.tokens.encoded == 8 + 4, "cached tokens went, too"


def test_windows_that_do_not_fit_together_are_asked_one_by_one() -> None:
    phone = Phone("a")
    poses = phone.poses(5)
    network = Cramped(poses, memory=Device(FIXED + PER_TOKEN * TOKENS * 5))
    engine = engine_of(network)
    views = [view(phone, pose, n) for n, pose in enumerate(poses)]
    windows = [Window(tuple(views[:4])), Window(tuple(views[1:5]))]
    for _ in range(2):
        assert all(not isinstance(answer, Exception) for answer in engine.predict_together(windows))
    assert network.asked == [4, 4, 4, 4, 4], "together only once"


def test_one_view_that_does_not_fit_is_an_error() -> None:
    phone = Phone("a")
    network = Cramped(phone.poses(1), memory=Device(10))
    with pytest.raises(torch.OutOfMemoryError):
        engine_of(network).predict(Window((view(phone, phone.poses(1)[0], 0),)))


@given(st.lists(st.integers(1, 40), min_size=1, max_size=20), st.integers(1, 40))
def test_expectations_hold_what_was_measured_and_grow_with_the_window(measured: list[int], asked: int) -> None:
    device = Device(10**9)
    admission = Admission(device)
    assert admission.expected(asked) == 0
    for tokens in measured:
        with admission.watched(tokens):
            device.run(tokens)
    for tokens in measured:
        assert admission.expected(tokens) == FIXED + PER_TOKEN * tokens
    assert 0 < admission.expected(asked) <= admission.expected(asked + 1)
    if asked > max(measured):
        assert admission.expected(asked) >= FIXED + PER_TOKEN * asked


@given(st.integers(1, 20), st.integers(1, 20))
def test_what_is_left_of_a_window_begins_with_its_first_and_ends_with_its_newest(views: int, count: int) -> None:
    whole = list(range(views))
    left = shortened(whole, min(count, views))
    assert len(left) == min(count, views)
    assert left[-1] == views - 1
    assert left == sorted(set(left))
    if len(left) > 1:
        assert left[0] == 0
