"""Domain to message: what every layer's `Delta` carries in `body` and `buffers`. `asyncapi.yaml` says it in schemas.

Layer, its `key`, fields of `body`, and arrays after the colon:
- pose [stream]: stream, frame, state, t (3), q_wxyz (4), K [fx, fy, cx, cy, width, height], scale_source
- thumbnail [stream]: stream, width, height : jpeg u8 (n,)
- depth [stream]: stream, frame, world_from_camera {t, q_wxyz}, K [fx, fy, cx, cy, width, height], step_m :
  z u16 (height, width)
- points [keyframe]: stream, world_from_camera {t, q_wxyz}, step_m : xyz i16 (n, 3), rgb u8 (n, 3)
- nav [x, z, agent]: agent, origin_m (3), cell_size_m, cell_height_m : verts u16 (n, 3), polys u16 (m, 6),
  neighbours u16 (m, 6), areas u8 (m,), and for clients that ask: detail_verts f32 (d, 3), detail_tris u16 (t, 4);
  blob u8 (k,)
- islands [x, z, agent]: agent : polygons u16 (k,)
- mesh, occluder and culling [x, z]: origin_m (3), step_m : vertices i16 (n, 3), indices u16 or u32 (m, 3), rgb u8
  (n, 3) if coloured

How to read them:
- pose: `x_world = R(q_wxyz) @ x_camera + t`, camera in OpenCV axes; `state` is `tracked`, `lost` or another word of the
  tracker's; `t` and `q_wxyz` are null while the camera is not placed; K is in pixels of a w x h image, or null.
- depth: distance along the optical axis is `z * step_m`, 0 = unknown; the newest keyframe of each stream only.
- points: `x_camera = xyz * step_m` in OpenCV camera axes, then world_from_camera as for poses.
- mesh, occluder, culling: `x_world = origin_m + vertices * step_m`. Triangles turn counter-clockwise as seen from free
  space. Origins are multiples of `step_m`, so that the borders of neighbouring meshes meet exactly. Occluders overlap
  their neighbours; draw them to depth alone. Culling tiles lie inside the solids: what they hide is hidden for sure,
  but thin things are missing, so never composite with them.
- nav: `x_world = origin_m + verts * (cell_size_m, cell_height_m, cell_size_m)`. Polygons are convex, 0xffff ends one;
  neighbours, per edge: 0xffff wall, 0x8000 | side a portal to the next tile, else a polygon. Areas: 63 floor, 62
  stairs, 61 ramp; take others, 1 to 60, for ground of a kind yet to be named. Part `detail` is the floor with its
  heights: `detail_verts` are further vertices in world metres, a row of `detail_tris` is a polygon and three vertices,
  those of `verts` first. Part `blob` is the same tile for Detour's `addTile` (navmesh data version 7).
- islands: rows of the newest `polys` of that nav tile which lie on islands: ground of less than 4 m² that no way leads
  to or from, such as table tops. It comes a moment after the nav tile; until then rows may be those of the tile before.
- A tile that became empty is a `remove`. Events are no deltas: they are sent once, as `event` messages. The `asset`
  layer is reserved for generated objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from mapping.changes import KeyframeId
from mapping.transforms import quat_from_rotation
from mapping.volume.visibility import DepthView
from navmesh.detail import detail_of
from navmesh.islands import IslandTile
from navmesh.tiles import TILE_CELLS, NavTile, SurfaceTile, TileChange
from server.protocol import Buffer, Layer, PackedAs, pack_buffers
from streams.frame import Intrinsics, StreamId

VOXEL_SIZE_M = 0.05
SURFACE_STEP_M = {"mesh": 0.001, "occluder": 0.005, "culling": 0.001}
"""An occluder is 2 cm off anyway: finer steps would cost bytes and hide nothing better."""
PACKED: frozenset[Layer] = frozenset({"occluder", "culling"})
"""Layers whose triangles are packed with meshopt, for clients that know it."""
SURFACE_CODECS: dict[str, PackedAs] = {"vertices": "meshopt_vertices", "indices": "meshopt_triangles"}
DEPTH_STEP_M = 0.001
UINT16_MAX = 65535
POINT_STEP_M = 0.001
INT16_MAX = 32767

Key = tuple[int | str, ...]
Footprint = tuple[float, float, float, float]
"""Where a message lies on the ground: x0, z0, x1, z1 in world metres. Tiles are columns: height does not count."""


@dataclass(frozen=True, slots=True, eq=False)
class Publication:
    """A message's content, its arrays already laid out and compressed."""

    layer: Layer
    key: Key
    body: dict[str, Any]
    buffers: tuple[Buffer, ...] = ()
    payload: bytes = b""
    footprint_m: Footprint | None = None
    """None = of interest wherever a client's region is."""


@dataclass(frozen=True, slots=True)
class Removal:
    """A key that has no content any more."""

    layer: Layer
    key: Key


def tile_change(change: TileChange, tile_size_m: float = TILE_CELLS * VOXEL_SIZE_M) -> list[Publication | Removal]:
    """Encode every tile of a change; empty tiles become removals."""
    out: list[Publication | Removal] = [nav(tile, tile_size_m) for tile in change.nav]
    out += [surface("mesh", tile, tile_size_m) for tile in change.mesh]
    out += [surface("occluder", tile, tile_size_m) for tile in change.occluder]
    out += [surface("culling", tile, tile_size_m) for tile in change.culling]
    return out


def nav(tile: NavTile, tile_size_m: float = TILE_CELLS * VOXEL_SIZE_M) -> Publication | Removal:
    """Encode the walkable polygons of one tile."""
    key: Key = (tile.key.x, tile.key.z, tile.agent)
    if not len(tile.verts):
        return Removal("nav", key)
    detail = detail_of(tile)
    body = {
        "agent": tile.agent,
        "origin_m": _floats(tile.origin_m),
        "cell_size_m": float(tile.cell_size_m),
        "cell_height_m": float(tile.cell_height_m),
    }
    arrays: dict[str, NDArray[Any]] = {
        "verts": tile.verts,
        "polys": tile.polys,
        "neighbours": tile.neighbours,
        "areas": tile.areas,
        "detail_verts": detail.verts_m,
        "detail_tris": detail.tris,
        "blob": np.frombuffer(tile.blob, np.uint8),
    }
    return _publication("nav", key, body, arrays, _tile_footprint(key, tile_size_m))


def islands(tile: IslandTile, tile_size_m: float = TILE_CELLS * VOXEL_SIZE_M) -> Publication | Removal:
    """Encode which polygons of one tile lie on islands."""
    key: Key = (tile.key.x, tile.key.z, tile.agent)
    if not tile.polygons:
        return Removal("islands", key)
    arrays: dict[str, NDArray[Any]] = {"polygons": np.array(tile.polygons, np.uint16)}
    return _publication("islands", key, {"agent": tile.agent}, arrays, _tile_footprint(key, tile_size_m))


def surface(
    layer: Literal["mesh", "occluder", "culling"], tile: SurfaceTile, tile_size_m: float = TILE_CELLS * VOXEL_SIZE_M
) -> Publication | Removal:
    """Encode a triangle mesh of one tile, vertices rounded to `SURFACE_STEP_M` (coarser only beyond 65 m of height)."""
    key: Key = (tile.key.x, tile.key.z)
    if not len(tile.vertices_m) or not len(tile.indices):
        return Removal(layer, key)
    step_m = _step(np.ptp(tile.vertices_m, axis=0).max() / 2, SURFACE_STEP_M[layer])
    steps = np.rint(tile.vertices_m.astype(np.float64) / step_m).astype(np.int64)
    origin = (steps.min(axis=0) + steps.max(axis=0)) // 2
    narrow = len(tile.vertices_m) <= 1 << 16
    arrays: dict[str, NDArray[Any]] = {
        "vertices": (steps - origin).astype(np.int16),
        "indices": tile.indices.astype(np.uint16 if narrow else np.uint32),
    }
    if tile.rgb is not None:
        arrays["rgb"] = tile.rgb
    body = {"origin_m": _floats(origin * step_m), "step_m": step_m}
    codecs = SURFACE_CODECS if layer in PACKED else None
    return _publication(layer, key, body, arrays, _tile_footprint(key, tile_size_m), codecs)


def points(
    keyframe: KeyframeId,
    stream: StreamId,
    world_from_camera: NDArray[np.float64],
    points_camera_m: NDArray[np.float32],
    rgb: NDArray[np.uint8],
) -> Publication:
    """Encode what one keyframe saw: (n, 3) points in its camera's axes and their colours (n, 3).

    Points stay in camera axes, so that a keyframe that moves costs its pose and not its points again.
    """
    step_m = _step(float(np.abs(points_camera_m).max(initial=0.0)), POINT_STEP_M)
    arrays: dict[str, NDArray[Any]] = {"xyz": np.rint(points_camera_m / step_m).astype(np.int16), "rgb": rgb}
    body = {"stream": stream, "world_from_camera": _rigid(world_from_camera), "step_m": step_m}
    x, z = float(world_from_camera[0, 3]), float(world_from_camera[2, 3])
    return _publication("points", (keyframe,), body, arrays, (x, z, x, z))


def pose(
    stream: StreamId,
    frame: int,
    state: str,
    world_from_camera: NDArray[np.float64] | None,
    intrinsics: Intrinsics | None,
    scale_source: str = "none",
) -> Publication:
    """Encode where a camera is; `world_from_camera` is None while it is not placed."""
    placed = {"t": None, "q_wxyz": None} if world_from_camera is None else _rigid(world_from_camera)
    body = {"stream": stream, "frame": frame, "state": state, **placed, "K": None, "scale_source": scale_source}
    if intrinsics is not None:
        k = intrinsics
        body["K"] = [*_floats((k.fx, k.fy, k.cx, k.cy)), k.width, k.height]
    at = None if world_from_camera is None else (float(world_from_camera[0, 3]), float(world_from_camera[2, 3]))
    return Publication("pose", (stream,), body, footprint_m=at and (*at, *at))


def depth(stream: StreamId, frame: int, view: DepthView) -> Publication:
    """Encode how far a camera's newest keyframe saw, rounded to 1 mm (coarser only beyond 65 m), and from where."""
    z_m = view.depth.astype(np.float64) * view.metres_per_unit
    z_m[~np.isfinite(z_m) | (z_m < 0.0)] = 0.0
    step_m = DEPTH_STEP_M
    while z_m.max(initial=0.0) / step_m > UINT16_MAX:
        step_m *= 2
    k = view.intrinsics
    body = {
        "stream": stream,
        "frame": frame,
        "world_from_camera": _rigid(view.world_from_camera),
        "K": [*_floats((k.fx, k.fy, k.cx, k.cy)), k.width, k.height],
        "step_m": step_m,
    }
    x, z = float(view.world_from_camera[0, 3]), float(view.world_from_camera[2, 3])
    arrays: dict[str, NDArray[Any]] = {"z": np.rint(z_m / step_m).astype(np.uint16)}
    return _publication("depth", (stream,), body, arrays, (x, z, x, z), {"z": "planes"})


def thumbnail(stream: StreamId, rgb: NDArray[np.uint8], max_side_px: int = 160, quality: int = 60) -> Publication:
    """Encode a small picture of what a camera sees, from its (h, w, 3) RGB image."""
    h, w = rgb.shape[:2]
    scale = min(1.0, max_side_px / max(h, w))
    size = (max(1, round(w * scale)), max(1, round(h * scale)))
    small = jpeg(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), quality)
    body = {"stream": stream, "width": size[0], "height": size[1]}
    return _publication("thumbnail", (stream,), body, {"jpeg": np.frombuffer(small, np.uint8)}, None)


def jpeg(rgb: NDArray[np.uint8], quality: int = 85) -> bytes:
    """An (h, w, 3) RGB picture as JPEG."""
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return encoded.tobytes()


def _publication(
    layer: Layer,
    key: Key,
    body: dict[str, Any],
    arrays: dict[str, NDArray[Any]],
    footprint_m: Footprint | None,
    codecs: dict[str, PackedAs] | None = None,
) -> Publication:
    buffers, payload = pack_buffers(arrays, codecs)
    return Publication(layer, key, body, tuple(buffers), payload, footprint_m)


def _tile_footprint(key: Key, size_m: float) -> Footprint:
    x, z = int(key[0]) * size_m, int(key[1]) * size_m
    return (x, z, x + size_m, z + size_m)


def _step(reach_m: float, finest_m: float) -> float:
    """The finest step, in doublings, with which int16 reaches that far."""
    step = finest_m
    while reach_m / step > INT16_MAX - 1:
        step *= 2
    return step


def _rigid(b_from_a: NDArray[np.float64]) -> dict[str, list[float]]:
    return {"t": _floats(b_from_a[:3, 3]), "q_wxyz": _floats(quat_from_rotation(b_from_a[:3, :3]))}


def _floats(values: Sequence[float] | NDArray[Any]) -> list[float]:
    return [float(v) for v in values]
