"""One scene as a client holds it: the newest version of every key, kept right through moves, resumes and gaps.

Sans-I/O: messages of the map protocol go in, updates come out in order, at most one per key (newest wins).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server import protocol
from server.protocol import (
    Delta,
    Event,
    Layer,
    Remove,
    Resume,
    SceneInfo,
    SceneMessage,
    SnapshotBegin,
    SnapshotEnd,
    Synced,
    Xform,
)

Key = tuple[int | str, ...]
"""`(x, z)` of a tile (nav: `(x, z, agent)`), `(stream,)` of a pose or thumbnail, `(keyframe,)` of points."""


@dataclass(frozen=True, slots=True, eq=False)
class Put:
    """The newest version of one key."""

    layer: Layer
    key: Key
    version: int
    epoch: int
    """The epoch its coordinates are in: see `SceneMirror.now_from`."""
    capture_ns: int
    infer_ns: int
    publish_ns: int
    received_ns: int
    """Server clock, as this client estimates it, when the message came; the others are the server's own stamps."""
    body: dict[str, Any]
    arrays: dict[str, NDArray[Any]]

    @property
    def age_s(self) -> float:
        """From the newest pixels in it to this client."""
        return (self.received_ns - self.capture_ns) * 1e-9


@dataclass(frozen=True, slots=True)
class Removed:
    """The key has no content any more."""

    layer: Layer
    key: Key


@dataclass(frozen=True, slots=True, eq=False)
class Moved:
    """The whole map moved: everything of earlier epochs now lies at `new_from_old` of where it was."""

    epoch: int
    new_from_old: NDArray[np.float64]  # (4, 4), scale folded in
    scale: float
    reason: str


@dataclass(frozen=True, slots=True)
class Happened:
    """Something worth telling that is no part of the map."""

    name: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Cleared:
    """Forget everything: the server could not resume and sends the scene anew."""


@dataclass(frozen=True, slots=True)
class Complete:
    """The snapshot is in: the map is what the server's was when it began, or newer."""

    resumed: bool


Update = Put | Removed | Moved | Happened | Cleared | Complete


@dataclass(slots=True, eq=False)
class SceneMirror:
    """The state of one scene, and the updates nobody has taken yet.

    Bounds: one held and one waiting version a key, `max_events` waiting events (the oldest go first).
    """

    scene: str
    max_events: int = 256
    info: SceneInfo | None = None
    epoch: int = 0
    resume: Resume | None = None
    """What to hand back to the server after a lost connection."""
    seq: int = 0
    tiles: dict[Layer, dict[Key, Put]] = field(default_factory=lambda: {layer: {} for layer in protocol.LAYERS})
    _moves: list[Moved] = field(default_factory=list)
    _waiting: OrderedDict[object, Update] = field(default_factory=OrderedDict)
    _num_events: int = 0
    _counter: int = 0
    _resuming: bool = False

    def apply(
        self,
        message: SceneMessage,
        arrays: dict[str, NDArray[Any]],
        received_ns: int,
    ) -> None:
        """Take in one message of this scene."""
        match message:
            case SnapshotBegin():
                self._begin(message)
            case Delta():
                self._put(message, arrays, received_ns)
            case Remove():
                key = tuple(message.key)
                if self.tiles[message.layer].pop(key, None) is not None:
                    self._wait((message.layer, key), Removed(message.layer, key))
            case Xform():
                self._move(message)
            case Synced():
                self.resume = message.resume
            case Event():
                self._happen(Happened(message.name, message.data))
            case SnapshotEnd():
                self._wait("complete", Complete(self._resuming))
        if not isinstance(message, Synced):
            self.seq = max(self.seq, message.seq)

    def take(self) -> Update | None:
        """The oldest update nobody has taken."""
        if not self._waiting:
            return None
        token, update = self._waiting.popitem(last=False)
        self._num_events -= isinstance(token, int)
        return update

    def now_from(self, epoch: int) -> NDArray[np.float64]:
        """(4, 4) that carries coordinates of an earlier epoch into the present one."""
        out = np.eye(4)
        for move in self._moves:
            if move.epoch > epoch:
                out = move.new_from_old @ out
        return out

    def _begin(self, begin: SnapshotBegin) -> None:
        self.info = begin.scene
        self._resuming = begin.resumed
        if begin.resumed:
            return
        for held in self.tiles.values():
            held.clear()
        self._moves.clear()
        self._waiting.clear()
        self._num_events = 0
        self.epoch, self.seq, self.resume = begin.scene.epoch, 0, None
        self._wait("cleared", Cleared())

    def _put(self, delta: Delta, arrays: dict[str, NDArray[Any]], received_ns: int) -> None:
        key = tuple(delta.key)
        held = self.tiles[delta.layer].get(key)
        if held is not None and delta.ver < held.version:
            return  # the snapshot's copy of what a live delta brought already
        put = Put(
            delta.layer,
            key,
            delta.ver,
            delta.epoch,
            delta.capture_ns,
            delta.infer_ns,
            delta.publish_ns,
            received_ns,
            delta.body,
            arrays,
        )
        self.tiles[delta.layer][key] = put
        self._wait((delta.layer, key), put)

    def _move(self, xform: Xform) -> None:
        if xform.epoch <= self.epoch:
            return
        self.epoch = xform.epoch
        matrix = np.eye(4)
        matrix[:3, :3] = xform.scale * rotation_from_quat(xform.quat_wxyz)
        matrix[:3, 3] = xform.translation_m
        move = Moved(xform.epoch, matrix, xform.scale, xform.reason)
        self._moves.append(move)
        self._wait(("moved", xform.epoch), move)

    def _happen(self, event: Happened) -> None:
        if self._num_events >= self.max_events:
            oldest = next(token for token in self._waiting if isinstance(token, int))
            del self._waiting[oldest]
            self._num_events -= 1
        self._counter += 1
        self._num_events += 1
        self._wait(self._counter, event)

    def _wait(self, token: object, update: Update) -> None:
        self._waiting.pop(token, None)
        self._waiting[token] = update


def rotation_from_quat(wxyz: tuple[float, float, float, float] | list[float]) -> NDArray[np.float64]:
    """(3, 3) of a quaternion wxyz, normalised first.

    Raises:
        ValueError: it is zero or not finite.
    """
    q = np.asarray(wxyz, dtype=np.float64)
    norm = float(np.linalg.norm(q))
    if not np.isfinite(norm) or norm < 1e-12:
        raise ValueError("not a quaternion")
    w, v = q[0] / norm, q[1:] / norm
    cross = np.array([[0.0, -v[2], v[1]], [v[2], 0.0, -v[0]], [-v[1], v[0], 0.0]])
    return np.asarray(np.eye(3) + 2 * (w * cross + cross @ cross))
