"""How well occluders stand in for the full mesh: cost, size, and rays that should have been stopped."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import zstandard
from numpy.typing import NDArray

from benchmarks.copies import furnished, fused
from benchmarks.sdf_world import SdfWorld
from mapping.kernels import fast_kernel
from navmesh.occlusion import Config, build_surface_tiles, surface_window
from navmesh.tiles import SurfaceTile, TileKey

F32 = NDArray[np.float32]
LEAK_M = 0.1
HEIGHTS = (-1, 6)
"""Blocks of the furnished floor, from below the ground to the top of the walls."""


def measure(num_rays: int = 1500) -> dict[str, Any]:
    """CPU and bytes per tile, and where rays from eye height end on occluders against the full mesh."""
    world = SdfWorld(furnished(), noise_m=0.004)
    source = fused(world, world.block_keys())
    cpu_ms, bytes_per_tile = [], []
    meshes: list[SurfaceTile] = []
    occluders: list[SurfaceTile] = []
    for key in (TileKey(x, z) for x in range(1, 5) for z in range(1, 5)):
        begun = time.thread_time()
        mesh, occluder = build_surface_tiles(surface_window(source, key, HEIGHTS, 2), key, 0.05, Config())
        cpu_ms.append((time.thread_time() - begun) * 1e3)
        bytes_per_tile.append(len(zstandard.ZstdCompressor(3).compress(_int16(occluder))))
        meshes.append(mesh)
        occluders.append(occluder)
    rng = np.random.default_rng(8)
    eyes = rng.uniform([4.0, 1.4, 4.0], [15.0, 1.8, 15.0], (num_rays, 3))
    ahead = rng.normal(size=(num_rays, 3)) * [1.0, 0.4, 1.0]
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
    truth_m = _first_hits(eyes.astype(np.float32), ahead.astype(np.float32), _triangles(meshes))
    stopped_m = _first_hits(eyes.astype(np.float32), ahead.astype(np.float32), _triangles(occluders))
    hit = np.isfinite(truth_m)
    behind_m = np.where(np.isfinite(stopped_m[hit]), stopped_m[hit], 1e3) - truth_m[hit]
    return {
        "occluder_ms": float(np.median(cpu_ms)),
        "occluder_bytes_mean": float(np.mean(bytes_per_tile)),
        "occluder_triangles_mean": float(np.mean([len(o.indices) for o in occluders])),
        "occluder_leak": float(np.mean(behind_m > LEAK_M)),
        "occluder_early": float(np.mean(behind_m < -0.05)),
        "occluder_error_m_p50": float(np.median(np.abs(behind_m))),
    }


def _int16(tile: SurfaceTile) -> bytes:
    """Vertices in millimetres from the tile's corner, and indices, as a client could take them."""
    corner = np.array([tile.key.x * 3.2, 0.0, tile.key.z * 3.2])
    positions: NDArray[np.int16] = np.rint((tile.vertices_m - corner) * 1000).astype(np.int16)
    return positions.tobytes() + tile.indices.astype(np.uint16).tobytes()


def _triangles(tiles: list[SurfaceTile]) -> F32:
    return np.concatenate([tile.vertices_m[tile.indices] for tile in tiles])


@fast_kernel
def _first_hits(eyes: F32, ahead: F32, triangles: F32) -> F32:
    """Distance (n,) along each ray to the nearest of all triangles (m, 3, 3), inf = none (Moeller & Trumbore 1997)."""
    out = np.full(len(eyes), np.inf, np.float32)
    for t in range(len(triangles)):
        ax, ay, az = triangles[t, 0]
        ux, uy, uz = triangles[t, 1, 0] - ax, triangles[t, 1, 1] - ay, triangles[t, 1, 2] - az
        vx, vy, vz = triangles[t, 2, 0] - ax, triangles[t, 2, 1] - ay, triangles[t, 2, 2] - az
        for r in range(len(eyes)):
            dx, dy, dz = ahead[r, 0], ahead[r, 1], ahead[r, 2]
            px, py, pz = dy * vz - dz * vy, dz * vx - dx * vz, dx * vy - dy * vx
            det = ux * px + uy * py + uz * pz
            if abs(det) < 1e-12:
                continue
            sx, sy, sz = eyes[r, 0] - ax, eyes[r, 1] - ay, eyes[r, 2] - az
            a = (sx * px + sy * py + sz * pz) / det
            if a < 0.0 or a > 1.0:
                continue
            qx, qy, qz = sy * uz - sz * uy, sz * ux - sx * uz, sx * uy - sy * ux
            b = (dx * qx + dy * qy + dz * qz) / det
            if b < 0.0 or a + b > 1.0:
                continue
            distance = (vx * qx + vy * qy + vz * qz) / det
            if 0.0 < distance < out[r]:
                out[r] = distance
    return out
