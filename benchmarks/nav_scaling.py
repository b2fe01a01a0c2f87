"""Does the NavMesh cost more where the map is larger? Time per dirty tile and query, and memory, at several sizes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.copies import PERIOD_M, PERIOD_TILES, Copies, load
from benchmarks.sdf_world import Box
from mapping.changes import BLOCK_VOXELS, MapChange
from navmesh.incremental import Config, Incremental
from navmesh.query import Query
from navmesh.recast import Agent
from navmesh.tiles import TILE_BLOCKS

HUMAN = Agent()
_BYTES_PER_BLOCK = BLOCK_VOXELS**3 * (4 + 4 + 3)
Row = dict[str, Any]


def measure(copies: int, num_edits: int = 40, num_paths: int = 200) -> Row:
    """One map of `copies` furnished floors on a side."""
    source = Copies(copies)
    before = resident_bytes()
    tiles, query = Incremental(source, [HUMAN], Config(surfaces=False, batch_tiles=16)), Query([HUMAN], 0.05)
    query.set(tiles.step().nav)
    side_m = copies * PERIOD_M
    navmesh_bytes = resident_bytes() - before
    return {
        "side_m": side_m,
        "changed_tile_cpu_ms_p50": np.median(dirty_tiles_ms(source, tiles, query, copies, num_edits)),
        **query_ms(query, side_m, num_paths),
        "navmesh_bytes_per_m2": navmesh_bytes / side_m**2,
        "voxel_bytes_per_m2": len(source.block_keys()) * _BYTES_PER_BLOCK / side_m**2,
    }


def dirty_tiles_ms(source: Copies, tiles: Incremental, query: Query, copies: int, num_edits: int) -> list[float]:
    """A box comes and goes in one of the floors; CPU per changed tile, all that was built for it included."""
    rng = np.random.default_rng(3)
    spent_ms = []
    for _ in range(num_edits):
        x, z = rng.uniform(2.0, 17.0, 2).tolist()
        box = Box((x, 0.0, z), (x + 0.5, 0.6, z + 0.5))
        shift = rng.integers(0, copies, 2) * PERIOD_TILES * TILE_BLOCKS
        for edit in (source.world.add, source.world.remove):
            blocks = edit(box)
            load(source.tsdf, source.world, blocks)
            here = blocks + np.array([shift[0], 0, shift[1]], np.int32)
            begun = time.thread_time()
            change = tiles.apply(MapChange(epoch=0, dirty_blocks=here))
            query.apply(change)
            if change.nav:
                spent_ms.append((time.thread_time() - begun) * 1e3 / len(change.nav))
    return spent_ms


def query_ms(query: Query, side_m: float, num_paths: int) -> Row:
    """CPU per query: paths of up to 20 m, paths across the whole map, nearest points."""
    rng = np.random.default_rng(4)
    near_ms, far_ms, nearest_ms = [], [], []
    for x, z, dx, dz, gx, gz in rng.uniform(0.0, 1.0, (num_paths, 6)).tolist():
        start = (x * side_m, 0.0, z * side_m)
        near = (min(start[0] + 14 * dx, side_m), 0.0, min(start[2] + 14 * dz, side_m))
        begun = time.thread_time()
        query.path(start, near, "human")
        near_done = time.thread_time()
        query.path(start, (gx * side_m, 0.0, gz * side_m), "human")
        far_done = time.thread_time()
        query.nearest(start, "human")
        nearest_ms.append((time.thread_time() - far_done) * 1e3)
        near_ms.append((near_done - begun) * 1e3)
        far_ms.append((far_done - near_done) * 1e3)
    return {
        "path_20m_ms_p50": np.median(near_ms),
        "path_across_ms_p50": np.median(far_ms),
        "path_across_ms_p99": np.percentile(far_ms, 99),
        "nearest_ms_p50": np.median(nearest_ms),
    }


def resident_bytes() -> int:
    """What this process holds in memory now (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def plot(rows: list[Row], file: Path) -> None:
    """Both panels over the map's side: milliseconds, and bytes per square metre."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    time_axes, memory_axes = figure.subplots(1, 2)
    sides = [row["side_m"] for row in rows]
    for key in (
        "changed_tile_cpu_ms_p50",
        "path_20m_ms_p50",
        "path_across_ms_p50",
        "path_across_ms_p99",
        "nearest_ms_p50",
    ):
        time_axes.plot(sides, [row[key] for row in rows], "o-", label=key)
    for key in ("navmesh_bytes_per_m2", "voxel_bytes_per_m2"):
        memory_axes.plot(sides, [row[key] for row in rows], "o-", label=key)
    for axes, unit in ((time_axes, "CPU ms"), (memory_axes, "bytes per m²")):
        axes.set(xscale="log", yscale="log", xlabel="side of the map, m", ylabel=unit)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
    figure.savefig(file, dpi=150)
