"""Clocks: a virtual phone whose clock is off, drifts, jitters and jumps; the truth is known, so errors are exact."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.clock import (
    NS_PER_MS,
    NS_PER_S,
    RTP_WRAP,
    ClockOffset,
    LeastDelay,
    OffsetSample,
    RtpClock,
    StreamClock,
    rtp_delta,
)

EPOCH_NS = 1_800_000_000 * NS_PER_S


def exchange(offset_ns: float, now_ns: int, up_ns: int, down_ns: int) -> OffsetSample:
    """What both sides stamp when `server = phone + offset`."""
    t1_ns = now_ns
    t0_ns = round(t1_ns - up_ns - offset_ns)
    t2_ns = t1_ns + 1000
    return OffsetSample.from_exchange(t0_ns, t1_ns, t2_ns, round(t2_ns + down_ns - offset_ns))


@given(
    offset_ms=st.floats(-1e9, 1e9),
    delays_ms=st.lists(st.tuples(st.floats(0, 500), st.floats(0, 500)), min_size=1, max_size=20),
)
def test_the_true_offset_lies_within_half_a_round_trip(offset_ms: float, delays_ms: list[tuple[float, float]]) -> None:
    clock = ClockOffset()
    for i, (up_ms, down_ms) in enumerate(delays_ms):
        now_ns = EPOCH_NS + i * NS_PER_S
        clock.add(exchange(offset_ms * NS_PER_MS, now_ns, round(up_ms * NS_PER_MS), round(down_ms * NS_PER_MS)))
        doubt_ns = clock.uncertainty_ns(now_ns)
        mapped_ns = clock.server_ns((now_ns / NS_PER_MS) - offset_ms, now_ns)
        assert doubt_ns is not None
        assert mapped_ns is not None
        assert abs(mapped_ns - now_ns) <= doubt_ns + 2000  # float64 holds ms of today to 0.2 us, times four sums


def test_one_slow_exchange_does_not_move_a_good_estimate() -> None:
    clock = ClockOffset()
    clock.add(exchange(5e9, EPOCH_NS, 2 * NS_PER_MS, 2 * NS_PER_MS))
    clock.add(exchange(5e9, EPOCH_NS + NS_PER_S, 400 * NS_PER_MS, 0))
    mapped_ns = clock.server_ns(EPOCH_NS / NS_PER_MS, EPOCH_NS + NS_PER_S)
    assert mapped_ns == pytest.approx(EPOCH_NS + 5e9, abs=NS_PER_MS)


@pytest.mark.parametrize("step_s", [-3600.0, -0.2, 0.2, 86400.0])
def test_a_jump_of_the_phone_clock_is_followed_after_three_exchanges(step_s: float) -> None:
    clock = ClockOffset()
    for i in range(10):
        clock.add(exchange(0, EPOCH_NS + i * NS_PER_S, 3 * NS_PER_MS, 3 * NS_PER_MS))
    for i in range(10, 13):
        clock.add(exchange(step_s * NS_PER_S, EPOCH_NS + i * NS_PER_S, 3 * NS_PER_MS, 3 * NS_PER_MS))
    now_ns = EPOCH_NS + 13 * NS_PER_S
    assert clock.steps == 1
    assert clock.server_ns(now_ns / NS_PER_MS, now_ns) == pytest.approx(now_ns + step_s * NS_PER_S, abs=4 * NS_PER_MS)


def test_a_single_absurd_exchange_is_ignored() -> None:
    clock = ClockOffset()
    for i in range(5):
        clock.add(exchange(0, EPOCH_NS + i * NS_PER_S, NS_PER_MS, NS_PER_MS))
    clock.add(exchange(9e12, EPOCH_NS + 5 * NS_PER_S, NS_PER_MS, NS_PER_MS))
    clock.add(exchange(0, EPOCH_NS + 6 * NS_PER_S, NS_PER_MS, NS_PER_MS))
    assert clock.steps == 0
    assert clock.server_ns(0.0, EPOCH_NS + 6 * NS_PER_S) == pytest.approx(0, abs=NS_PER_MS)


def test_drift_of_a_bad_crystal_is_followed() -> None:
    clock = ClockOffset()
    errors_ms = []
    for i in range(600):
        now_ns = EPOCH_NS + i * 5 * NS_PER_S
        true_ns = 50e-6 * i * 5 * NS_PER_S  # 50 ppm
        clock.add(exchange(true_ns, now_ns, 5 * NS_PER_MS, 5 * NS_PER_MS))
        errors_ms.append(abs((clock.server_ns(0.0, now_ns) or 0) - true_ns) / NS_PER_MS)
    assert max(errors_ms) < 5


def test_an_answer_before_its_question_is_refused() -> None:
    with pytest.raises(ValueError, match="before it was sent"):
        OffsetSample.from_exchange(100, 0, 10, 105)


@given(st.integers(0, RTP_WRAP - 1), st.integers(-(RTP_WRAP // 2) + 1, RTP_WRAP // 2 - 1))
def test_rtp_delta_is_the_short_way_round(older: int, delta: int) -> None:
    assert rtp_delta((older + delta) % RTP_WRAP, older) == delta


@given(start=st.integers(0, RTP_WRAP - 1), jitter_seed=st.integers(0, 1000))
def test_rtp_fit_survives_the_wrap_and_jitter(start: int, jitter_seed: int) -> None:
    rng = random.Random(jitter_seed)
    clock = RtpClock()
    for i in range(60):
        ms = 1e12 + i * 1000 / 30
        clock.add((start + round(90 * (ms - 1e12))) % RTP_WRAP, ms + rng.uniform(-2, 2))
    later_ms = 1e12 + 3000.0
    assert clock.capture_ms((start + 90 * 3000) % RTP_WRAP) == pytest.approx(later_ms, abs=2.0)


def test_a_pair_of_the_wrong_frame_does_not_move_the_fit() -> None:
    clock = RtpClock()
    for i in range(20):
        clock.add(3000 * i, 1000 + i * 100 / 3)
    clock.add(3000 * 20, 1000 + 15 * 100 / 3)  # five frames off: beyond the step threshold
    assert clock.steps == 0
    assert clock.capture_ms(3000 * 21) == pytest.approx(1000 + 21 * 100 / 3, abs=1e-6)


def test_a_restarted_camera_is_followed() -> None:
    clock = RtpClock()
    for i in range(40):
        clock.add(3000 * i, 1000 + i * 100 / 3)
    for i in range(40, 43):
        clock.add(3000 * i + 777_000, 1000 + i * 100 / 3)
    assert clock.steps == 1
    assert clock.capture_ms(3000 * 43 + 777_000) == pytest.approx(1000 + 43 * 100 / 3, abs=1e-6)


def test_least_delay_removes_jitter_and_follows_a_slower_path() -> None:
    rng = random.Random(0)
    clock = LeastDelay()
    for i in range(2000):
        sent_ns = i * NS_PER_S // 30
        base_ns = (20 if i < 500 else 60) * NS_PER_MS
        arrived_ns = EPOCH_NS + sent_ns + base_ns + round(rng.expovariate(1 / 8) * NS_PER_MS)
        error_ms = (clock.add(sent_ns, arrived_ns) - (EPOCH_NS + sent_ns)) / NS_PER_MS
        if 100 < i < 500:
            assert 20 <= error_ms < 22
        if i > 1200:  # the old minimum has left the window
            assert 60 <= error_ms < 62


def feed(clock: StreamClock, *, phone_off_ms: float, page: bool, rtcp: bool) -> tuple[str, float]:
    """Play 3 s of 30 fps that take 40 to 60 ms to arrive; return the last source and its error in ms."""
    rng = random.Random(1)
    source, error_ms = "", 0.0
    for i in range(90):
        captured_ns = EPOCH_NS + i * NS_PER_S // 30
        arrival_ns = captured_ns + 40 * NS_PER_MS + round(rng.uniform(0, 20) * NS_PER_MS)
        rtp = (4_294_900_000 + i * 3000) % RTP_WRAP
        phone_ms = captured_ns / NS_PER_MS + phone_off_ms
        if page and i % 10 == 0:
            clock.add_exchange(exchange(-phone_off_ms * NS_PER_MS, arrival_ns, 5 * NS_PER_MS, 5 * NS_PER_MS))
        if page:
            clock.add_capture(rtp, phone_ms)
        if rtcp and i % 30 == 0:
            clock.add_sender_report(rtp, round(phone_ms * NS_PER_MS))
        captured = clock.capture(rtp, arrival_ns)
        source, error_ms = captured.source, (captured.ns - captured_ns) / NS_PER_MS
    return source, error_ms


@pytest.mark.parametrize("phone_off_ms", [0.0, -5000.0, 3.6e6])
def test_the_best_source_at_hand_is_used(phone_off_ms: float) -> None:
    source, error_ms = feed(StreamClock(), phone_off_ms=phone_off_ms, page=True, rtcp=True)
    assert (source, abs(error_ms) < 1) == ("page", True)
    source, error_ms = feed(StreamClock(), phone_off_ms=phone_off_ms, page=False, rtcp=True)
    assert (source, 39 < error_ms < 42) == ("rtcp", True)
    source, error_ms = feed(StreamClock(), phone_off_ms=phone_off_ms, page=False, rtcp=False)
    assert (source, 39 < error_ms < 42) == ("arrival", True)


def test_a_page_that_lies_about_its_clock_is_not_believed() -> None:
    clock = StreamClock()
    clock.add_exchange(OffsetSample(3600e9, 1e6, EPOCH_NS))  # an hour off
    clock.add_capture(0, EPOCH_NS / NS_PER_MS)
    captured = clock.capture(0, EPOCH_NS + NS_PER_MS)
    assert captured.source == "arrival"
    assert clock.rejected == 1
    assert abs(captured.ns - EPOCH_NS) <= NS_PER_MS


def test_a_frame_is_captured_before_it_comes_though_clocks_are_not_known_so_well() -> None:
    clock = StreamClock()
    clock.add_exchange(OffsetSample(0.0, 1e6, EPOCH_NS))
    clock.add_capture(0, EPOCH_NS / NS_PER_MS + 8)
    captured = clock.capture(0, EPOCH_NS)
    assert (captured.ns, captured.source) == (EPOCH_NS, "page")


@given(
    st.lists(
        st.tuples(
            st.integers(0, RTP_WRAP - 1),
            st.integers(0, 2**62),
            st.floats(-1e14, 1e14),
            st.floats(0, 6e4),
            st.integers(0, 2**63),
        ),
        max_size=40,
    )
)
def test_no_history_makes_an_impossible_capture_time(history: list[tuple[int, int, float, float, int]]) -> None:
    clock = StreamClock()
    for rtp, arrival_ns, phone_ms, rtt_ms, sender_ns in history:
        clock.add_exchange(OffsetSample(phone_ms * 1e3, rtt_ms * 1e6, arrival_ns))
        clock.add_capture(rtp, phone_ms)
        clock.add_sender_report(rtp, sender_ns)
        captured = clock.capture(rtp, arrival_ns)
        # 0.2 s: float64 holds the extremes of this test to about that
        assert arrival_ns - 10.2 * NS_PER_S <= captured.ns <= arrival_ns + 0.2 * NS_PER_S
