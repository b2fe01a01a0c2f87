"""Does the NavMesh cost more where the map is larger? Time per dirty tile and query, and memory, at several sizes.

    python -m benchmarks.nav_scaling --out DIR [--sides 10 100 300 1000]

The map is a furnished floor of 19.2 x 19.2 m (`copies.py`), repeated over the side asked for: the voxels are those of
the one floor there is, all else (latched cells, tiles, Detour, links) is as large as the map. DIR gets
`nav_scaling.json` and `nav_scaling.png`. Times are CPU of the thread that asks.

- tile: a box comes and goes somewhere; per tile that changed, all that was built and swapped in for it included;
- path of 8 m: between two places so far apart as the crow flies, anywhere: the same question on any map;
- after a change: the same, as the first question after a tile was swapped, which has to learn anew what hangs together;
- path across: to a place half a side away. A search explores at most 16,384 polygons (some 2,000 tiles); where that is
  too little the way goes on in up to four legs, then ends early and says so (`share_whole`): its cost is bounded;
- nearest: where one can stand.

A size for which there is not enough memory is left out, and the JSON says so.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.copies import PERIOD_M, Copies, load
from benchmarks.sdf_world import Box
from mapping.changes import BLOCK_VOXELS, MapChange
from navmesh.incremental import Config, Incremental
from navmesh.query import Query
from navmesh.recast import Agent
from navmesh.tiles import TILE_BLOCKS, TILE_CELLS

HUMAN = Agent()
TILE_M = TILE_CELLS * 0.05
PATH_M = 8.0
SIDES_M = (10.0, 100.0, 300.0, 1000.0)
NEEDED_BYTES_PER_M2 = 14_000
_BYTES_PER_BLOCK = BLOCK_VOXELS**3 * (4 + 4 + 3)
Row = dict[str, Any]


def measure(side_m: float, num_edits: int = 40, num_paths: int = 300) -> Row:
    """One map of about that side."""
    side_tiles = max(1, round(side_m / TILE_M))
    side_m = side_tiles * TILE_M
    if NEEDED_BYTES_PER_M2 * side_m**2 > available_bytes():
        return {"side_m": side_m, "skipped": f"needs about {NEEDED_BYTES_PER_M2 * side_m**2 / 1e9:.1f} GB of memory"}
    source = Copies(0, side_tiles=side_tiles)
    before = resident_bytes()
    tiles, query = Incremental(source, [HUMAN], Config(surfaces=False)), Query([HUMAN], 0.05)
    begun = time.thread_time()
    num_tiles = 0
    while tiles.pending:
        change = tiles.step(budget_s=5.0)
        query.apply(change)
        num_tiles += len(change.nav)
    built_s = time.thread_time() - begun
    navmesh_bytes = resident_bytes() - before
    edits = dirty_tiles_ms(source, tiles, query, side_tiles, num_edits)
    return {
        "side_m": side_m,
        "tiles": num_tiles,
        "full_build_cpu_ms_per_tile": built_s * 1e3 / num_tiles,
        **edits,
        **query_ms(query, side_m, num_paths),
        "tiles_refused": query.num_refused,
        "navmesh_bytes_per_m2": navmesh_bytes / side_m**2,
        "voxel_bytes_per_m2": len(source.block_keys()) * _BYTES_PER_BLOCK / side_m**2,
    }


def dirty_tiles_ms(source: Copies, tiles: Incremental, query: Query, side_tiles: int, num_edits: int) -> Row:
    """A box comes and goes in one of the floors; CPU per changed tile, all that was built for it included."""
    rng = np.random.default_rng(3)
    side_m = side_tiles * TILE_M
    tile_ms, asked_ms = [], []
    for _ in range(num_edits):
        x, z = rng.uniform(0.05 * min(side_m, PERIOD_M), 0.9 * min(side_m, PERIOD_M), 2).tolist()
        box = Box((x, 0.0, z), (x + 0.5, 0.6, z + 0.5))
        floors = rng.integers(0, max(1, int(side_m // PERIOD_M)), 2)
        shift = floors * round(PERIOD_M / TILE_M) * TILE_BLOCKS
        for edit in (source.world.add, source.world.remove):
            blocks = edit(box)
            load(source.tsdf, source.world, blocks)
            here = blocks + np.array([shift[0], 0, shift[1]], np.int32)
            begun = time.thread_time()
            change = tiles.apply(MapChange(epoch=0, dirty_blocks=here))
            query.apply(change)
            spent_ms = (time.thread_time() - begun) * 1e3
            if change.nav:
                tile_ms.append(spent_ms / len(change.nav))
                asked_ms.append(_path_ms(query, *_ends(rng, side_m, PATH_M)))
    return {
        "changed_tile_cpu_ms_p50": np.median(tile_ms),
        "changed_tile_cpu_ms_p99": np.percentile(tile_ms, 99),
        "path_8m_after_change_ms_p50": np.median(asked_ms),
    }


def query_ms(query: Query, side_m: float, num_paths: int) -> Row:
    """CPU per query on a map that does not change."""
    rng = np.random.default_rng(4)
    near_ms, far_ms, nearest_ms, whole = [], [], [], 0
    for _ in range(num_paths):
        start, near = _ends(rng, side_m, PATH_M)
        near_ms.append(_path_ms(query, start, near))
        start, far = _ends(rng, side_m, side_m / 2)
        far_ms.append(_path_ms(query, start, far))
        whole += not query.path(start, far, "human").is_partial
        begun = time.thread_time()
        query.nearest(start, "human")
        nearest_ms.append((time.thread_time() - begun) * 1e3)
    return {
        "path_8m_ms_p50": np.median(near_ms),
        "path_8m_ms_p99": np.percentile(near_ms, 99),
        "path_across_ms_p50": np.median(far_ms),
        "path_across_ms_p99": np.percentile(far_ms, 99),
        "path_across_share_whole": whole / num_paths,
        "nearest_ms_p50": np.median(nearest_ms),
    }


def _ends(rng: np.random.Generator, side_m: float, apart_m: float) -> tuple[Any, Any]:
    """Two places on the map's floor: `apart_m` from each other, more only if that is half the side."""
    while True:
        start, angle = rng.uniform(0.0, side_m, 2), rng.uniform(0.0, 2 * np.pi)
        goal = start + apart_m * np.array([np.cos(angle), np.sin(angle)])
        if goal.min() >= 0.0 and goal.max() <= side_m:
            return (float(start[0]), 0.0, float(start[1])), (float(goal[0]), 0.0, float(goal[1]))


def _path_ms(query: Query, start: Any, goal: Any) -> float:
    begun = time.thread_time()
    query.path(start, goal, "human")
    return (time.thread_time() - begun) * 1e3


def resident_bytes() -> int:
    """What this process holds in memory now, without what its allocator keeps for later (Linux, glibc)."""
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def available_bytes() -> int:
    """What could be had (Linux)."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))


def plot(rows: list[Row], file: Path) -> None:
    """Both panels over the map's side: milliseconds, and bytes per square metre."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.6), layout="constrained")
    time_axes, memory_axes = figure.subplots(1, 2)
    drawn = [row for row in rows if "skipped" not in row]
    sides = [row["side_m"] for row in drawn]
    for key, name in (
        ("changed_tile_cpu_ms_p50", "changed tile"),
        ("path_8m_ms_p50", "path of 8 m"),
        ("path_8m_ms_p99", "path of 8 m, p99"),
        ("path_8m_after_change_ms_p50", "path of 8 m, first after a change"),
        ("path_across_ms_p50", "path across half the map"),
        ("path_across_ms_p99", "path across half the map, p99"),
        ("nearest_ms_p50", "nearest"),
    ):
        time_axes.plot(sides, [row[key] for row in drawn], "o-", label=name)
    for key, name in (("navmesh_bytes_per_m2", "NavMesh: cells, tiles, Detour"), ("voxel_bytes_per_m2", "voxels")):
        memory_axes.plot(sides, [row[key] for row in drawn], "o-", label=name)
    memory_axes.set_ylim(bottom=1e3, top=1e6)
    for axes, unit in ((time_axes, "CPU ms"), (memory_axes, "resident bytes per m²")):
        axes.set(xscale="log", yscale="log", xlabel="side of the map, m", ylabel=unit)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
    figure.savefig(file, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the plot and the JSON")
    parser.add_argument("--sides", type=float, nargs="+", default=SIDES_M, help="sides of the maps, m")
    parser.add_argument("--edits", type=int, default=40)
    parser.add_argument("--paths", type=int, default=300)
    options = parser.parse_args()
    rows = [measure(side_m, options.edits, options.paths) for side_m in sorted(options.sides)]
    rows = [{k: round(v, 5) if isinstance(v, float) else v for k, v in row.items()} for row in rows]
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "nav_scaling.json").write_text(json.dumps(rows, indent=2) + "\n")
    plot(rows, options.out / "nav_scaling.png")
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
