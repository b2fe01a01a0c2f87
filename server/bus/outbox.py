"""All that one connection still has to be sent: control messages first, then its scenes in turn."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from server.bus.channel import Channel, Entry
from server.bus.subscription import Subscription
from server.protocol import Codec, Error, Layer, Part, Resume, Roi, ServerMessage, pack


class Outbox:
    """Sans-I/O: `on_ready` is called when there is something new to send, `pop` gives it.

    Bounds: `max_controls` control messages and events (past them the connection is given up: `is_overflowing`), and
    one reference per key of the scenes subscribed to.
    """

    def __init__(
        self, *, max_message_bytes: int, max_controls: int = 1024, on_ready: Callable[[], None] = lambda: None
    ) -> None:
        self._max_message_bytes = max_message_bytes
        self._max_controls = max_controls
        self._on_ready = on_ready
        self._controls: deque[bytes] = deque()
        self._subscriptions: dict[str, Subscription] = {}
        self._too_large: set[Layer] = set()
        self.is_overflowing = False

    # -- what goes in -------------------------------------------------------------------------------------------------

    def post(self, message: ServerMessage) -> None:
        """Queue a control message."""
        self._post_frame(pack(message))

    def subscribe(
        self,
        channel: Channel,
        layers: frozenset[Layer],
        *,
        roi: Roi | None = None,
        max_hz: float | None = None,
        resume: Resume | None = None,
        parts: frozenset[Part] = frozenset(),
        codecs: frozenset[Codec] = frozenset(),
        agents: frozenset[str] | None = None,
    ) -> None:
        """Start sending a scene; a subscription it had is replaced."""
        self.unsubscribe(channel.scene)
        self._subscriptions[channel.scene] = Subscription(
            channel,
            layers,
            roi=roi,
            max_hz=max_hz,
            resume=resume,
            parts=parts,
            codecs=codecs,
            agents=agents,
            on_change=self._on_ready,
            on_event=self._post_frame,
        )
        self._on_ready()

    def update_roi(self, scene: str, roi: Roi | None) -> bool:
        """False when the scene is not subscribed to."""
        subscription = self._subscriptions.get(scene)
        if subscription is not None:
            subscription.update_roi(roi)
        return subscription is not None

    def unsubscribe(self, scene: str) -> None:
        if (subscription := self._subscriptions.pop(scene, None)) is not None:
            subscription.close()

    def close(self) -> None:
        for scene in list(self._subscriptions):
            self.unsubscribe(scene)

    # -- what comes out -----------------------------------------------------------------------------------------------

    def pop(self, now: float, floor_s: float = 0.0) -> bytes | None:
        """The next message; `floor_s` is the least time between two updates of one key (seconds, monotonic)."""
        if self._controls:
            return self._controls.popleft()
        for scene, subscription in tuple(self._subscriptions.items()):
            if len(self._subscriptions) > 1:
                self._subscriptions[scene] = self._subscriptions.pop(scene)  # the others' turn is next
            while (item := subscription.pop(now, floor_s)) is not None:
                if not isinstance(item, Entry):
                    return item if isinstance(item, bytes) else item.frame
                frame = item.frame_with(subscription.parts, subscription.codecs)
                if len(frame) > self._max_message_bytes:
                    self._refuse(item, len(frame))
                    continue
                return frame
        return self._controls.popleft() if self._controls else None

    def wait_s(self, now: float) -> float | None:
        """How long until `pop` may give something; None = only after `on_ready`."""
        waits = [wait for s in self._subscriptions.values() if (wait := s.wait_s(now)) is not None]
        return min(waits, default=None)

    @property
    def unsent_bytes(self) -> int:
        return sum(map(len, self._controls)) + sum(s.unsent_bytes for s in self._subscriptions.values())

    def capture_ns(self, seq: int) -> int | None:
        """Capture time of a recent message, for the age that an ack proves."""
        found = (subscription.channel.capture_ns(seq) for subscription in self._subscriptions.values())
        return next((capture_ns for capture_ns in found if capture_ns is not None), None)

    # -----------------------------------------------------------------------------------------------------------------

    def _post_frame(self, frame: bytes) -> None:
        if len(self._controls) >= self._max_controls:
            self.is_overflowing = True
        else:
            self._controls.append(frame)
        self._on_ready()

    def _refuse(self, entry: Entry, size: int) -> None:
        if entry.layer not in self._too_large:
            self._too_large.add(entry.layer)
            limit = self._max_message_bytes
            detail = f"{entry.layer} {list(entry.key)} has {size} bytes, max_message_bytes is {limit}: not sent"
            self.post(Error(code="message_too_large", detail=detail))
