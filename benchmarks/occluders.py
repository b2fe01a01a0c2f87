"""How well occluders stand in for the full surface: cost, size, and rays that they should have stopped.

The oracle is the surface itself: the triangles of the same voxels before any simplifying, every tile's own, met by rays
with an exact caster (`rays`). Eyes stand at 1.2 to 1.9 m in free space of a furnished floor (4 mm of noise) and look
everywhere, mostly level. Where a ray first meets the full surface it should first meet an occluder, too:

- leak: the occluder is met more than 10 cm later, or not at all: a virtual thing behind furniture would show through;
- early: more than 5 cm sooner: it would be hidden though it stands in front;
- seam: the same for hits within 15 cm of a border between tiles, where pieces built apart must hide together.

Occluders are taken as a client decodes them from the wire, so that rounding counts. Bytes are whole messages, as a
client of our SDKs is sent them.

The peer is marching cubes (scikit-image) on the same voxels, simplified and packed in the same way and held to its own
full surface: its slivers along sharp edges need more triangles for the same error, which is why ours are surface nets.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from skimage.measure import marching_cubes

from benchmarks.copies import furnished, fused
from benchmarks.rays import first_hits, gather
from benchmarks.sdf_world import SdfWorld
from mapping.changes import VoxelWindow
from mapping.volume.surface import Surface, extract
from navmesh.culling import Config as CullingConfig
from navmesh.culling import build_culling_tile
from navmesh.occlusion import Config, build_surface_tiles, mesh_tile, occluder_tile, surface_window
from navmesh.tiles import SurfaceTile, TileKey
from server.bus import encode
from server.bus.channel import Channel
from server.protocol import CODECS, unpack_server

F32 = NDArray[np.float32]
LEAK_M, EARLY_M, SEAM_M = 0.1, 0.05, 0.15
TILE_M, VOXEL_M = 3.2, 0.05
HEIGHTS = (-1, 6)
"""Blocks of the furnished floor, from below the ground to the top of the walls."""
KEYS = [TileKey(x, z) for x in range(1, 5) for z in range(1, 5)]


def measure(num_rays: int = 120_000, noise_m: float = 0.004) -> dict[str, Any]:
    """CPU and bytes per tile, and where rays from eye height end on occluders against the full surface.

    Every voxel has noise of its own: harder than what a camera leaves, whose noise neighbours share.
    """
    world = SdfWorld(furnished(), noise_m=noise_m)
    source = fused(world, world.block_keys())
    config = Config()
    build_surface_tiles(surface_window(source, KEYS[0], HEIGHTS, 2), KEYS[0], VOXEL_M, config)  # compiles
    channel = Channel("flat", "benchmark")
    cpu_ms, mesh_ms, num_triangles = [], [], []
    full: list[F32] = []
    culling: list[F32] = []
    peer = Channel("flat", "peer")
    peer_full: list[F32] = []
    for key in KEYS:
        begun = time.thread_time()
        window = surface_window(source, key, HEIGHTS, config.overlap_voxels)
        surface = extract(window, VOXEL_M)
        occluder = occluder_tile(surface, key, VOXEL_M, config)
        item = encode.surface("occluder", occluder, TILE_M)
        cpu_ms.append((time.thread_time() - begun) * 1e3)
        begun = time.thread_time()
        mesh = mesh_tile(surface, key, VOXEL_M)
        mesh_ms.append((time.thread_time() - begun) * 1e3)
        channel.publish(item, capture_ns=1, infer_ns=2, now_ns=3)
        num_triangles.append(len(occluder.indices))
        full.append(_corners(mesh))
        culling.append(_corners(build_culling_tile(window, key, VOXEL_M, CullingConfig())))
        cubes = _marching_cubes(window)
        peer_full.append(_corners(mesh_tile(cubes, key, VOXEL_M)))
        item = encode.surface("occluder", occluder_tile(cubes, key, VOXEL_M, config), TILE_M)
        peer.publish(item, capture_ns=1, infer_ns=2, now_ns=3)
    frames = [entry.frame_with(frozenset(), frozenset(CODECS)) for entry in channel.entries()]
    peer_frames = [entry.frame_with(frozenset(), frozenset(CODECS)) for entry in peer.entries()]
    eyes, ahead = _rays(world, num_rays)
    truth_m = first_hits(gather(np.concatenate(full)), eyes, ahead)
    culling_m = first_hits(gather(np.concatenate(culling)), eyes, ahead)
    hit = np.isfinite(truth_m)
    behind_m = _behind_m(frames, truth_m, eyes, ahead)
    peer_behind_m = _behind_m(peer_frames, first_hits(gather(np.concatenate(peer_full)), eyes, ahead), eyes, ahead)
    seam = _is_near_seam(eyes[hit] + truth_m[hit, None] * ahead[hit])
    return {
        "occluder_ms": float(np.median(cpu_ms)),
        "occluder_mesh_ms": float(np.median(mesh_ms)),
        "occluder_bytes_mean": float(np.mean([len(frame) for frame in frames])),
        "occluder_bytes_max": max(len(frame) for frame in frames),
        "occluder_triangles_mean": float(np.mean(num_triangles)),
        "occluder_full_triangles_mean": float(np.mean([len(corners) for corners in full])),
        "occluder_rays": int(hit.sum()),
        "occluder_leak": float(np.mean(behind_m > LEAK_M)),
        "occluder_leak_seam": float(np.mean(behind_m[seam] > LEAK_M)),
        "occluder_early": float(np.mean(behind_m < -EARLY_M)),
        "occluder_error_m_p50": float(np.median(np.abs(behind_m))),
        "occluder_error_m_p99": float(np.percentile(np.abs(behind_m), 99)),
        "occluder_peer_leak": float(np.mean(peer_behind_m > LEAK_M)),
        "occluder_peer_bytes_mean": float(np.mean([len(frame) for frame in peer_frames])),
        "culling_early": float(np.mean(culling_m[hit] < truth_m[hit] - 0.001)),
        "culling_hidden": float(np.mean(np.isfinite(culling_m[hit]))),
    }


def _rays(world: SdfWorld, num_rays: int) -> tuple[F32, F32]:
    """Eyes (n, 3) that are not in or at a solid, and where they look (n, 3)."""
    rng = np.random.default_rng(8)
    eyes = rng.uniform([4.0, 1.2, 4.0], [15.0, 1.9, 15.0], (num_rays, 3)).astype(np.float32)
    clear = np.min([shape.distance(*eyes.T) for shape in world.shapes], axis=0) > 0.2
    ahead = rng.normal(size=(num_rays, 3)) * [1.0, 0.4, 1.0]
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
    return eyes[clear], ahead[clear].astype(np.float32)


def _behind_m(frames: list[bytes], truth_m: F32, eyes: F32, ahead: F32) -> F32:
    """How far behind the full surface (n,) the rays that meet it meet an occluder."""
    hit = np.isfinite(truth_m)
    stopped_m = first_hits(gather(np.concatenate([_decoded(frame) for frame in frames])), eyes[hit], ahead[hit])
    return np.asarray(np.where(np.isfinite(stopped_m), stopped_m, 1e3) - truth_m[hit], np.float32)


def _marching_cubes(window: VoxelWindow) -> Surface:
    """The peer's surface of a window, with nothing where a corner of a cell is unknown."""
    vertices, faces, _, _ = marching_cubes(window.tsdf_m, 0.0, gradient_direction="descent", allow_degenerate=False)
    known = np.asarray(sliding_window_view(window.weight > 0.0, (2, 2, 2)).all(axis=(3, 4, 5)))
    cell = np.minimum(np.floor(vertices[faces].mean(axis=1)).astype(int), np.array(known.shape) - 1)
    vertices_m = (vertices + np.array(window.origin_voxel) + 0.5) * VOXEL_M
    indices = np.ascontiguousarray(faces[known[tuple(cell.T)]], np.uint32)
    return Surface(vertices_m.astype(np.float32), indices, np.zeros((len(vertices), 3), np.uint8))


def _is_near_seam(points: F32) -> NDArray[np.bool_]:
    into = points[:, [0, 2]] % TILE_M
    return np.asarray(np.minimum(into, TILE_M - into).min(axis=1) < SEAM_M)


def _decoded(frame: bytes) -> F32:
    """Corners (m, 3, 3) as a client has them."""
    message, arrays = unpack_server(frame)
    body = getattr(message, "body", {})
    vertices = np.asarray(body["origin_m"]) + arrays["vertices"] * body["step_m"]
    return np.asarray(vertices[arrays["indices"].astype(np.int64)], np.float32)


def _corners(tile: SurfaceTile) -> F32:
    return tile.vertices_m[tile.indices]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object, nothing else")
    parser.add_argument("--noise-mm", type=float, default=4.0, help="noise of each voxel on its own")
    parser.add_argument("--rays", type=int, default=120_000)
    options = parser.parse_args()
    figures = {"noise_mm": options.noise_mm, **measure(options.rays, options.noise_mm / 1e3)}
    figures = {key: round(value, 4) if isinstance(value, float) else value for key, value in figures.items()}
    print(json.dumps(figures) if options.json else "\n".join(f"{key:30} {value}" for key, value in figures.items()))


if __name__ == "__main__":
    main()
