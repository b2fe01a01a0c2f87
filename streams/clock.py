"""Phone time and RTP timestamps to server nanoseconds: three small estimators and the clock that picks among them.

Everything is sans-I/O: times come in as arguments. Server times are Unix ns; phone times are ms of
`performance.timeOrigin + performance.now()`; RTP timestamps are 32-bit counts of 1/90 ms.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt

RTP_HZ = 90_000
RTP_WRAP = 1 << 32
NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000

TimeSource = Literal["page", "rtcp", "arrival"]
"""Where a capture time came from, best first: the page's capture times, RTCP sender reports, the packets' arrival."""


class ClockConfig(BaseModel):
    """How much history the estimators keep and what they believe."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    offset_samples: PositiveInt = 16
    """Clock exchanges kept; the one with the least uncertainty wins."""
    drift_ppm: PositiveFloat = 100.0
    """How fast two crystals may part: an exchange becomes this much less certain with age."""
    step_votes: PositiveInt = 3
    """Consecutive exchanges that contradict the estimate before it is given up."""
    pairs: PositiveInt = 31
    """(RTP, capture time) pairs whose median is used."""
    step_ms: PositiveFloat = 100.0
    """A pair further than this from the fit counts as a step of the source's clock."""
    delay_window_s: PositiveFloat = 20.0
    """How long the least delay of an arriving frame is remembered."""
    max_age_s: PositiveFloat = 10.0
    """A capture time older than this when the frame arrives is not believed."""
    max_future_ms: PositiveFloat = 50.0
    """Nor is one that lies further in the future."""


@dataclass(frozen=True, slots=True)
class OffsetSample:
    """One exchange: `server = phone + offset_ns`, true to within half of `rtt_ns`."""

    offset_ns: float
    rtt_ns: float
    at_ns: int
    """Server time of the exchange."""

    @classmethod
    def from_exchange(cls, t0_ns: int, t1_ns: int, t2_ns: int, t3_ns: int) -> OffsetSample:
        """Phone sends at t0, server receives at t1 and answers at t2, phone receives at t3 (RFC 5905, section 8).

        Raises:
            ValueError: the round trip would be negative.
        """
        rtt_ns = (t3_ns - t0_ns) - (t2_ns - t1_ns)
        if rtt_ns < 0:
            raise ValueError("the answer came back before it was sent")
        return cls(((t1_ns - t0_ns) + (t2_ns - t3_ns)) / 2, float(rtt_ns), t2_ns)


class ClockOffset:
    """Offset between a phone's clock and ours: the most certain of the last exchanges, until it is contradicted.

    The truth lies within half a round trip of each sample, so two samples whose intervals do not meet (drift allowed
    for) prove that a clock stepped. Some in a row that agree with each other begin a new estimate.
    """

    def __init__(self, config: ClockConfig = ClockConfig()) -> None:  # noqa: B008
        self._config = config
        self._samples: deque[OffsetSample] = deque(maxlen=config.offset_samples)
        self._dissent: list[OffsetSample] = []
        self.steps = 0
        """Times a clock was seen to jump."""

    @property
    def known(self) -> bool:
        return bool(self._samples)

    def add(self, sample: OffsetSample) -> None:
        """Take one exchange into account."""
        if not self._samples or self._agree(self._best(sample.at_ns), sample):
            self._samples.append(sample)
            self._dissent.clear()
            return
        self._dissent = [s for s in self._dissent if self._agree(s, sample)] + [sample]
        if len(self._dissent) >= self._config.step_votes:
            self._samples.clear()
            self._samples.extend(self._dissent)
            self._dissent.clear()
            self.steps += 1

    def server_ns(self, phone_ms: float, now_ns: int) -> int | None:
        """Map a phone time; None before the first exchange."""
        if not self._samples:
            return None
        return round(phone_ms * NS_PER_MS + self._best(now_ns).offset_ns)

    def uncertainty_ns(self, now_ns: int) -> float | None:
        """Half-width of the interval that holds the true offset; None before the first exchange."""
        return self._doubt(self._best(now_ns), now_ns) if self._samples else None

    def _best(self, now_ns: int) -> OffsetSample:
        return min(self._samples, key=lambda s: self._doubt(s, now_ns))

    def _doubt(self, sample: OffsetSample, now_ns: int) -> float:
        return sample.rtt_ns / 2 + abs(now_ns - sample.at_ns) * self._config.drift_ppm * 1e-6

    def _agree(self, a: OffsetSample, b: OffsetSample) -> bool:
        now_ns = max(a.at_ns, b.at_ns)
        return abs(a.offset_ns - b.offset_ns) <= self._doubt(a, now_ns) + self._doubt(b, now_ns) + NS_PER_MS


def rtp_delta(newer: int, older: int) -> int:
    """Signed difference of two 32-bit RTP timestamps, taken the short way round."""
    return (newer - older + RTP_WRAP // 2) % RTP_WRAP - RTP_WRAP // 2


class RtpClock:
    """RTP timestamps to the sender's own ms: `rtp = 90 * capture_ms + C`, C fitted as a median over recent pairs.

    The median shrugs off single pairs that a browser matched to the wrong frame; when most of the window has moved,
    the source's clock has stepped and the newer half takes over at once.
    """

    def __init__(self, config: ClockConfig = ClockConfig()) -> None:  # noqa: B008
        self._config = config
        self._pairs: deque[tuple[int, float]] = deque(maxlen=config.pairs)
        self._outliers: list[tuple[int, float]] = []
        self._fit: tuple[int, float] | None = None
        self.steps = 0

    @property
    def known(self) -> bool:
        return self._fit is not None

    def add(self, rtp: int, capture_ms: float) -> None:
        """Learn that the frame with this RTP timestamp was captured at `capture_ms`."""
        predicted = self.capture_ms(rtp)
        if predicted is not None and abs(predicted - capture_ms) > self._config.step_ms:
            self._outliers.append((rtp, capture_ms))
            if len(self._outliers) < self._config.step_votes:
                return
            self._pairs.clear()
            self._pairs.extend(self._outliers)
            self.steps += 1
        else:
            self._pairs.append((rtp, capture_ms))
        self._outliers.clear()
        self._refit()

    def capture_ms(self, rtp: int) -> float | None:
        """Sender's time of that frame in ms; None before the first pair."""
        if self._fit is None:
            return None
        reference_rtp, reference_ms = self._fit
        return reference_ms + rtp_delta(rtp, reference_rtp) * 1000 / RTP_HZ

    def reset(self) -> None:
        """Forget everything: the sender began a new time line."""
        self._pairs.clear()
        self._outliers.clear()
        self._fit = None

    def _refit(self) -> None:
        newest_rtp, newest_ms = self._pairs[-1]
        residuals = sorted((ms - newest_ms) - rtp_delta(rtp, newest_rtp) * 1000 / RTP_HZ for rtp, ms in self._pairs)
        self._fit = newest_rtp, newest_ms + residuals[len(residuals) // 2]


class LeastDelay:
    """A sender's clock to ours from arrivals alone: what arrived fastest in the window is taken to have needed no time.

    Jitter vanishes from the result; the constant part of the delay cannot be seen and stays in it.
    """

    def __init__(self, config: ClockConfig = ClockConfig()) -> None:  # noqa: B008
        self._window_ns = int(config.delay_window_s * NS_PER_S)
        self._max_step_ns = config.max_age_s * NS_PER_S
        self._delays: deque[tuple[int, float]] = (
            deque()
        )  # (arrival, arrival - sender), delays rising: a sliding minimum

    def add(self, sender_ns: float, arrival_ns: int) -> int:
        """Note an arrival and return its server time without jitter."""
        delay_ns = arrival_ns - sender_ns
        if self._delays and abs(delay_ns - self._delays[0][1]) > self._max_step_ns:
            self._delays.clear()
        while self._delays and self._delays[-1][1] >= delay_ns:
            self._delays.pop()
        self._delays.append((arrival_ns, delay_ns))
        while self._delays[0][0] < arrival_ns - self._window_ns:
            self._delays.popleft()
        return round(sender_ns + self._delays[0][1])

    def reset(self) -> None:
        self._delays.clear()


@dataclass(frozen=True, slots=True)
class CaptureTime:
    """When a frame was captured, on the server's clock, and how we know."""

    ns: int
    source: TimeSource


class StreamClock:
    """Capture times of one stream's frames: the page's word, else RTCP, else arrival; never one that cannot be true.

    Clocks are known to some milliseconds; where by that a frame would come before it was captured, it came at once.
    """

    def __init__(self, config: ClockConfig = ClockConfig()) -> None:  # noqa: B008
        self._config = config
        self.offset = ClockOffset(config)
        self._page = RtpClock(config)
        self._rtcp = RtpClock(config)
        self._rtcp_delay = LeastDelay(config)
        self._arrival_delay = LeastDelay(config)
        self._unwrapped: tuple[int, int] | None = None  # last RTP timestamp and its count without wraps
        self.rejected = 0
        """Capture times of the page that could not be true."""

    def add_exchange(self, sample: OffsetSample) -> None:
        """The phone reports one clock exchange."""
        self.offset.add(sample)

    def add_capture(self, rtp: int, capture_ms: float) -> None:
        """The page says when it captured the frame with this RTP timestamp."""
        self._page.add(rtp, capture_ms)

    def add_sender_report(self, rtp: int, sender_ns: int) -> None:
        """An RTCP sender report pairs an RTP timestamp with the sender's wall clock (RFC 3550, section 6.4.1)."""
        self._rtcp.add(rtp, sender_ns / NS_PER_MS)

    def capture(self, rtp: int, arrival_ns: int) -> CaptureTime:
        """Capture time of the frame with this RTP timestamp that arrived (whole) at `arrival_ns`."""
        arrival_based_ns = self._arrival_delay.add(self._sender_ns(rtp), arrival_ns)
        rtcp_ms = self._rtcp.capture_ms(rtp)
        rtcp_based_ns = None if rtcp_ms is None else self._rtcp_delay.add(rtcp_ms * NS_PER_MS, arrival_ns)

        page_ms = self._page.capture_ms(rtp)
        page_based_ns = None if page_ms is None else self.offset.server_ns(page_ms, arrival_ns)
        if page_based_ns is not None:
            if self._believable(page_based_ns, arrival_ns):
                return CaptureTime(min(page_based_ns, arrival_ns), "page")
            self.rejected += 1
        if rtcp_based_ns is not None and self._believable(rtcp_based_ns, arrival_ns):
            return CaptureTime(min(rtcp_based_ns, arrival_ns), "rtcp")
        return CaptureTime(arrival_based_ns, "arrival")

    def _believable(self, capture_ns: int, arrival_ns: int) -> bool:
        age_ns = arrival_ns - capture_ns
        return -self._config.max_future_ms * NS_PER_MS <= age_ns <= self._config.max_age_s * NS_PER_S

    def _sender_ns(self, rtp: int) -> float:
        """The RTP time line itself as ns from an arbitrary origin."""
        last_rtp, count = self._unwrapped or (rtp, 0)
        count += rtp_delta(rtp, last_rtp)
        self._unwrapped = rtp, count
        return count * (NS_PER_S / RTP_HZ)
