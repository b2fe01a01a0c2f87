"""What the server tells about itself: `/metrics` for Prometheus, in a registry of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

HOP_BUCKETS_S = (0.001, 0.002, 0.003, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.5, 1.0, 2.0, 5.0)
AGE_BUCKETS_S = (0.02, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
LAG_BUCKETS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5)
PROBE_EVERY_S = 0.05


class Metrics:
    """Counters, gauges and histograms of one server."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.hop_s = Histogram(
            "commonground_hop_seconds", "Time per hop", ["hop"], buckets=HOP_BUCKETS_S, registry=registry
        )
        self.age_s = Histogram(
            "commonground_age_at_client_seconds",
            "Capture to applied at a client",
            buckets=AGE_BUCKETS_S,
            registry=registry,
        )
        self.loop_lag_s = Histogram(
            "commonground_event_loop_lag_seconds",
            "How late the event loop is",
            buckets=LAG_BUCKETS_S,
            registry=registry,
        )
        self.streams = Gauge("commonground_streams", "Open streams", ["kind"], registry=registry)
        self.scenes = Gauge("commonground_scenes", "Open scenes", registry=registry)
        self.nav_tiles = Gauge("commonground_nav_tiles", "NavMesh tiles served", ["scene"], registry=registry)
        self.nav_tiles_refused = Gauge(
            "commonground_nav_tiles_refused",
            "NavMesh tiles so far that Detour would not take",
            ["scene"],
            registry=registry,
        )
        self.saturated = Gauge(
            "commonground_saturated", "1 while the host does not keep up: poses are late", registry=registry
        )
        self.tracked_share = Gauge(
            "commonground_tracked_share", "Frames tracked, of those the open streams sent, 0..1", registry=registry
        )
        self.waiting = Gauge(
            "commonground_waiting_windows", "Windows that wait for a device", ["device"], registry=registry
        )
        self.lane_depth = Gauge(
            "commonground_lane_depth", "Those of them in one lane", ["device", "lane"], registry=registry
        )
        self.busy_share = Gauge(
            "commonground_device_busy_share", "Of the last minute, 0..1", ["device"], registry=registry
        )
        self.device_windows = Gauge(
            "commonground_device_windows", "Windows so far, by how they ended", ["device", "outcome"], registry=registry
        )
        self.device_restarts = Gauge(
            "commonground_device_restarts", "Workers so far that had to be replaced", ["device"], registry=registry
        )
        self.device_up = Gauge("commonground_device_up", "1 while it takes windows", ["device"], registry=registry)
        self.device_bytes = Gauge("commonground_device_bytes", "GPU memory held", ["device"], registry=registry)
        self.window_ms = Gauge(
            "commonground_window_ms", "Milliseconds per window", ["device", "quantile"], registry=registry
        )
        self.clients = Gauge("commonground_clients", "Open map connections", registry=registry)
        self.sent_bytes = Counter("commonground_sent_bytes", "Bytes sent to map clients", registry=registry)
        self.sent_messages = Counter("commonground_sent_messages", "Messages sent to map clients", registry=registry)
        self.closed = Counter("commonground_closed", "Map connections closed by us", ["code"], registry=registry)
        self.refused = Counter(
            "commonground_refused", "Requests and connections refused", ["status"], registry=registry
        )

    def hop(self, hop: str, seconds: float) -> None:
        """Time one step took: decode, track, infer, fuse, tiles, publish, ... (a fixed, small set)."""
        self.hop_s.labels(hop).observe(max(0.0, seconds))

    def exposition(self) -> tuple[bytes, str]:
        """The text that Prometheus reads, and its content type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST


class LoopProbe:
    """Measures how late the event loop runs a timer: work that blocks it shows here."""

    def __init__(self, observe: Callable[[float], None]) -> None:
        self._observe = observe
        self._handle: asyncio.TimerHandle | None = None
        self._due = 0.0

    def start(self) -> None:
        self._due = time.perf_counter() + PROBE_EVERY_S
        self._handle = asyncio.get_running_loop().call_later(PROBE_EVERY_S, self._tick)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()

    def _tick(self) -> None:
        self._observe(max(0.0, time.perf_counter() - self._due))
        self.start()
