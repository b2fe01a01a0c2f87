"""Records of a small scene, and how to compare what became of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from mapping.changes import KeyframeId
from mapping.store.records import (
    StoredBlocks,
    StoredKeyframe,
    StoredTile,
)
from mapping.store.scene_store import Config
from mapping.store.state import SceneState
from streams.frame import Intrinsics, StreamId


def blocks(*keys: int, value: float = 0.0) -> StoredBlocks:
    n = len(keys)
    return StoredBlocks(
        keys=np.array([(key, 0, -key) for key in keys], np.int32).reshape(-1, 3),
        tsdf_m=np.full((n, 8, 8, 8), value, np.float16),
        weight=np.ones((n, 8, 8, 8), np.float16),
        rgb=np.full((n, 8, 8, 8, 3), int(value) % 256, np.uint8),
    )


def keyframe(stream: str, seq: int, capture_ns: int = 0, **more: Any) -> StoredKeyframe:
    return StoredKeyframe(
        id=KeyframeId(f"{stream}/{seq}"),
        stream=StreamId(stream),
        capture_ns=capture_ns,
        world_from_camera=np.eye(4) * (seq + 1),
        intrinsics=Intrinsics(1, 1, 4, 3, 8, 6),
        **more,
    )


def tile(key: int, ver: int, **more: Any) -> StoredTile:
    return StoredTile(layer="nav", key=(key, "walker"), seq=ver, ver=ver, wire=b"version %d" % ver, **more)


def plain(state: SceneState) -> dict[str, Any]:
    """Comparable by value."""

    def value(record: Any) -> Any:
        return msgspec.to_builtins(record, enc_hook=lambda array: [array.dtype.str, array.shape, array.tobytes()])

    return {
        "meta": value(state.meta),
        "blocks": value(state.blocks.all()),
        "keyframes": {key: value(keyframe) for key, keyframe in state.keyframes.items()},
        "tiles": {key: value(tile) for key, tile in state.tiles.items()},
    }


def plain_tile(key: int, ver: int) -> dict[Any, Any]:
    state = SceneState()
    state.apply(tile(key, ver))
    return plain(state)["tiles"]


def in_process(**config: Any) -> Config:
    """Rolls up in this process: faster here, and the power cuts can see it."""
    return Config(roll_up_process=False, **config)


def everything(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in path.rglob("*") if file.is_file())
