"""Whatever is published, removed, moved, lost and resumed: in the end the client's map equals the server's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from mapping.transforms import Sim3, exp_so3
from server.bus.channel import Channel
from server.bus.encode import Publication, Removal
from server.bus.outbox import Outbox
from server.bus.region import LEAVE_FACTOR
from server.protocol import Layer, Roi, unpack_server
from tests.server.map_client import MapClient

LAYERS: tuple[Layer, ...] = ("nav", "mesh", "pose")
WANTED = frozenset(LAYERS)
keys = st.tuples(st.sampled_from(LAYERS), st.integers(0, 3))
rois = st.one_of(
    st.none(),
    st.builds(
        lambda x, r: Roi(radius_m=r, center_m=(x, 0.0, 0.0)),
        st.sampled_from([0.0, 5.0, 12.0]),
        st.sampled_from([2.0, 6.0]),
    ),
    st.builds(lambda s, r: Roi(radius_m=r, follow=s), st.sampled_from(["0", "1"]), st.sampled_from([2.0, 6.0])),
)


class ClientMachine(RuleBasedStateMachine):
    """One channel, one client that connects, reads in bits, breaks off and comes back."""

    def __init__(self) -> None:
        super().__init__()
        self.channel = Channel("s", "lineage", max_tombstones=3, max_moves=3)
        self.truth: dict[tuple[str, tuple[object, ...]], tuple[int, np.ndarray]] = {}
        self.client = MapClient()
        self.outbox: Outbox | None = None
        self.roi: Roi | None = None
        self.now = 0.0

    @initialize(roi=rois, max_hz=st.sampled_from([None, 1.0, 100.0]))
    def connect_first(self, roi: Roi | None, max_hz: float | None) -> None:
        self.max_hz = max_hz
        self.connect(roi)

    def connect(self, roi: Roi | None) -> None:
        self.roi = roi
        self.outbox = Outbox(max_message_bytes=1 << 20)
        self.outbox.subscribe(self.channel, WANTED, roi=roi, max_hz=self.max_hz, resume=self.client.resume)
        self.client.resume = None

    @rule(key=keys, dt=st.floats(0, 2), x=st.integers(0, 20))
    def publish(self, key: tuple[Layer, int], dt: float, x: int) -> None:
        self.now += dt
        layer, i = key
        place = float(x) if layer == "pose" else 4.0 * i
        name = (str(i),) if layer == "pose" else (i, 0)
        size = 0.0 if layer == "pose" else 1.0
        item = Publication(
            layer, name, {"at": [place, 0.0, 0.0]}, footprint_m=(place - size, -size, place + size, size)
        )
        ver = self.channel.publish(item, capture_ns=1, infer_ns=2, now_ns=3)
        self.truth[layer, name] = (ver, np.array([place, 0.0, 0.0]))

    @rule(key=keys)
    def remove(self, key: tuple[Layer, int]) -> None:
        layer, i = key
        name = (str(i),) if layer == "pose" else (i, 0)
        self.channel.publish(Removal(layer, name), capture_ns=1, infer_ns=2, now_ns=3)
        self.truth.pop((layer, name), None)

    @rule(angle=st.sampled_from([0.0, 0.5, 3.0]), scale=st.sampled_from([1.0, 2.0]), x=st.sampled_from([0.0, 4.0]))
    def move(self, angle: float, scale: float, x: float) -> None:
        new_from_old = Sim3(scale, exp_so3(np.array([0.0, angle, 0.0])), np.array([x, 0.0, 0.0]))
        self.channel.move(new_from_old, self.channel.epoch + 1, "test")
        kept = {(e.layer, e.key) for e in self.channel.entries()}
        self.truth = {k: (v, new_from_old.apply(at)) for k, (v, at) in self.truth.items() if k in kept}

    @precondition(lambda self: self.outbox is not None)
    @rule(roi=rois)
    def look_elsewhere(self, roi: Roi | None) -> None:
        assert self.outbox is not None
        self.roi = roi
        self.outbox.update_roi("s", roi)

    @precondition(lambda self: self.outbox is not None)
    @rule(count=st.integers(1, 8), dt=st.floats(0, 1.5))
    def read_some(self, count: int, dt: float) -> None:
        assert self.outbox is not None
        self.now += dt
        for _ in range(count):
            if (frame := self.outbox.pop(self.now)) is None:
                break
            self.client.receive(frame)

    @precondition(lambda self: self.outbox is not None)
    @rule(lost=st.integers(0, 4))
    def break_off(self, lost: int) -> None:
        """Messages in flight are lost with the connection."""
        assert self.outbox is not None
        for _ in range(lost):
            self.outbox.pop(self.now)
        self.outbox.close()
        self.outbox = None

    @precondition(lambda self: self.outbox is None)
    @rule(roi=rois)
    def come_back(self, roi: Roi | None) -> None:
        self.connect(roi)

    @precondition(lambda self: self.outbox is not None)
    @rule()
    def catch_up(self) -> None:
        """Read all there is; then the maps have to be equal."""
        assert self.outbox is not None
        for _ in range(1000):
            if (frame := self.outbox.pop(self.now)) is not None:
                self.client.receive(frame)
            elif (wait_s := self.outbox.wait_s(self.now)) is not None:
                self.now += wait_s + 1e-6
            else:
                break
        else:
            raise AssertionError("it never ends")
        self.compare()

    @precondition(lambda self: self.outbox is not None)
    @rule(lost=st.integers(0, 3), roi=rois, is_same=st.booleans())
    def blink(self, lost: int, roi: Roi | None, is_same: bool) -> None:
        """Off and on again."""
        self.break_off(lost)
        self.connect(self.roi if is_same else roi)
        self.catch_up()

    def teardown(self) -> None:
        if self.outbox is None:
            self.connect(self.roi)
        self.catch_up()

    def compare(self) -> None:
        region = next(iter(self.outbox._subscriptions.values()))._region  # type: ignore[union-attr]
        entries = {(e.layer, e.key): e for e in self.channel.entries()}
        assert set(entries) == set(self.truth)
        must = {k for k, e in entries.items() if region is None or region.covers(e)}
        may = {k for k, e in entries.items() if region is None or region.covers(e, LEAVE_FACTOR)}
        assert must <= set(self.client.held) <= may
        for key, held in self.client.held.items():
            ver, at = self.truth[key]
            assert held.ver == ver
            np.testing.assert_allclose(held.at, at, atol=1e-6)
        assert self.client.resume is not None

    @invariant()
    def what_is_kept_is_bounded(self) -> None:
        assert len(self.channel.removed_since(0)) <= 3
        assert len(self.channel.moves_since(0)) <= 3


ClientMachine.TestCase.settings = settings(max_examples=300, stateful_step_count=40, deadline=None, derandomize=True)
TestClient = ClientMachine.TestCase


@pytest.mark.slow
def test_many_more_histories() -> None:
    run_state_machine_as_test(
        ClientMachine, settings=settings(max_examples=8000, stateful_step_count=40, deadline=None)
    )


def test_the_machine_can_fail() -> None:
    """A client that makes its resume point up from the deltas it saw misses the slowed key."""
    channel = Channel("s", "lineage")
    outbox = Outbox(max_message_bytes=1 << 20)
    outbox.subscribe(channel, WANTED, max_hz=1.0)

    def publish(i: int) -> None:
        channel.publish(Publication("nav", (i, 0), {}), capture_ns=1, infer_ns=2, now_ns=3)

    def read(now: float) -> list[int]:
        frames = iter(lambda: outbox.pop(now), None)
        return [m.seq for f in frames if hasattr(m := unpack_server(f)[0], "seq")]

    publish(1)
    read(0.0)
    publish(1)
    publish(2)
    assert read(0.1)[-1] == 3
    assert [e.seq for e in channel.entries() if e.key == (1, 0)] == [2]
