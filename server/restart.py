"""What a scene's store holds, back into the shapes that go on: published entries and the world's own facts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from mapping.kept import ComponentKey
from mapping.metric import markers
from mapping.store.state import SceneState
from mapping.transforms import Sim3, quat_from_rotation, rotation_from_quat
from mapping.world_state import WorldState
from navmesh.tiles import TILE_CELLS
from server.bus.channel import Channel, Entry
from server.bus.encode import Footprint
from server.protocol import Delta, Layer, ProtocolError, unpack_server
from streams.frame import StreamId


def restore_channel(channel: Channel, state: SceneState) -> None:
    """Serve again what was published in the present epoch; older messages lie in a world that is gone."""
    if state.meta is None:
        return
    entries: list[Entry] = []
    tile_m = TILE_CELLS * state.meta.voxel_size_m
    for tile in state.tiles.values():
        layer, capture_ns, footprint_m = cast("Layer", tile.layer), 0, None
        if not tile.removed:
            try:
                message, _ = unpack_server(tile.wire)
            except ProtocolError:
                continue
            if not isinstance(message, Delta) or message.epoch != state.meta.epoch:
                continue
            capture_ns, footprint_m = message.capture_ns, _footprint(message, tile_m)
        entries.append(
            Entry(
                layer, tile.key, tile.seq, tile.ver, state.meta.epoch, capture_ns, tile.wire, footprint_m, tile.removed
            )
        )
    channel.restore(entries, state.meta.seq_ceiling)


def world_to_plain(world: WorldState) -> dict[str, Any]:
    """The world's facts as plain values, for `SceneMeta.attributes`."""
    return {
        "scale_sigma": world.scale_sigma,
        "scale_contradicted_by": list(world.scale_contradicted_by),
        "gravity_sigma_deg": world.gravity_sigma_deg,
        "world_from_start": None if world.world_from_start is None else world.world_from_start.ravel().tolist(),
        "markers": [[marker, _sim3_to_plain(place)] for marker, place in world.markers.items()],
        "declared_marker": None if world.declared is None else world.declared.model_dump(mode="json"),
        "named_worlds": [[name, _sim3_to_plain(place)] for name, place in world.named_worlds.items()],
    }


def world_from_state(state: SceneState) -> WorldState:
    """The inverse of `world_to_plain`, with what the meta record itself says."""
    meta = state.meta
    if meta is None:
        return WorldState()
    plain = meta.attributes
    start, declared = plain.get("world_from_start"), plain.get("declared_marker")
    return WorldState(
        epoch=meta.epoch,
        scale_source=meta.scale_source,
        scale_sigma=float(plain.get("scale_sigma", np.inf)),
        scale_contradicted_by=tuple(map(str, plain.get("scale_contradicted_by", []))),
        gravity_source=meta.gravity_source,
        gravity_sigma_deg=float(plain.get("gravity_sigma_deg", 180.0)),
        world_from_start=None if start is None else np.array(start, np.float64).reshape(4, 4),
        markers={int(marker): _sim3_from_plain(place) for marker, place in plain.get("markers", [])},
        declared=None if declared is None else markers.Config.model_validate(declared),
        named_worlds={str(name): _sim3_from_plain(place) for name, place in plain.get("named_worlds", [])},
    )


def components_to_plain(components: Mapping[ComponentKey, Sim3]) -> list[list[Any]]:
    """Where trackers' components lie in the world, as plain values."""
    return [[stream, number, _sim3_to_plain(place)] for (stream, number), place in components.items()]


def components_from_state(state: SceneState) -> dict[ComponentKey, Sim3]:
    """The inverse of `components_to_plain`."""
    plain = state.meta.attributes.get("components", []) if state.meta is not None else []
    return {(StreamId(stream), int(number)): _sim3_from_plain(place) for stream, number, place in plain}


def _sim3_to_plain(b_from_a: Sim3) -> list[float]:
    return [
        float(b_from_a.scale),
        *map(float, quat_from_rotation(b_from_a.rotation)),
        *map(float, b_from_a.translation),
    ]


def _sim3_from_plain(plain: list[float]) -> Sim3:
    return Sim3(plain[0], rotation_from_quat(plain[1:5]), np.array(plain[5:8], np.float64))


def _footprint(message: Delta, tile_m: float) -> Footprint | None:
    if message.layer in ("nav", "mesh", "occluder", "culling"):
        x, z = float(message.key[0]) * tile_m, float(message.key[1]) * tile_m
        return (x, z, x + tile_m, z + tile_m)
    if message.layer == "points":
        x, _, z = message.body["world_from_camera"]["t"]
        return (x, z, x, z)
    return None
