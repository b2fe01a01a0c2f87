"""A client's map, by the rules of asyncapi.yaml and nothing else: what every SDK has to come to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapping.transforms import rotation_from_quat
from server.protocol import Delta, Remove, Resume, SnapshotBegin, SnapshotEnd, Synced, Xform, unpack_server


@dataclass
class Held:
    """One key: its version, and where a mark that lay at `at` when it was published lies now."""

    ver: int
    seq: int
    at: NDArray[np.float64]


@dataclass
class MapClient:
    """One scene as a client has it."""

    held: dict[tuple[str, tuple[Any, ...]], Held] = field(default_factory=dict)
    epoch: int = 0
    xforms: list[Xform] = field(default_factory=list)
    resume: Resume | None = None
    snapshots: int = 0
    deltas: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)

    def receive(self, frame: bytes) -> Any:
        message, _ = unpack_server(frame)
        match message:
            case SnapshotBegin():
                if not message.resumed:
                    self.held.clear()
                    self.xforms.clear()
                    self.epoch = message.scene.epoch
            case SnapshotEnd():
                self.snapshots += 1
            case Delta():
                at = np.array(message.body.get("at", [0, 0, 0]), np.float64)
                for xform in self.xforms:
                    if xform.epoch > message.epoch:
                        at = _moved(xform, at)
                key = (message.layer, tuple(message.key))
                self.held[key] = Held(message.ver, message.seq, at)
                self.deltas.append(key)
            case Remove():
                self.held.pop((message.layer, tuple(message.key)), None)
            case Xform():
                if message.epoch > self.epoch:
                    self.epoch = message.epoch
                    self.xforms.append(message)
                    for held in self.held.values():
                        held.at = _moved(message, held.at)
            case Synced():
                self.resume = message.resume
        return message


def _moved(xform: Xform, at: NDArray[np.float64]) -> NDArray[np.float64]:
    return xform.scale * rotation_from_quat(xform.quat_wxyz) @ at + np.array(xform.translation_m)
