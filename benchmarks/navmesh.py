"""NavMesh and occluder tiles against their goals and a peer.

    python -m benchmarks.navmesh [--json] [--mesh FILE.obj ...]

The world is a furnished floor of 19.2 x 19.2 m (`copies.py`), fused into a real TSDF at 5 cm with 6 mm of noise and
repeated where a larger map is asked for. CPU times are this thread's own; the peer is recast-navigation-js in Node,
given the triangles of the same tile (its own time, without extracting them). Parity is asked of it too.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import zstandard

from benchmarks.copies import PERIOD_TILES, Copies, furnished, fused, load
from benchmarks.occluders import measure as measure_occluders
from benchmarks.recast_parity import path_parity, tile_parity, triangle_route_ms
from benchmarks.sdf_world import Box, SdfWorld
from mapping.changes import MapChange
from navmesh.incremental import Incremental
from navmesh.query import Query
from navmesh.recast import Agent
from navmesh.tiles import NavTile, TileKey
from server.bus import encode
from server.bus.channel import Channel
from server.protocol import CODECS
from server.writer import Config as WriterConfig

HUMAN = Agent()
PRODUCT = WriterConfig()
NAV_ONLY = PRODUCT.tiles.model_copy(update={"surfaces": False})
TILE_BY_TILE = NAV_ONLY.model_copy(update={"batch_tiles": 1})
"""Looks at the clock after each tile, so that each can be timed."""
Figures = dict[str, Any]


def edits_and_swaps(num_edits: int) -> Figures:
    """Random boxes come and go: CPU per dirty tile, wall time until Detour has it, equality with a batch build.

    One box of four is a sheet of 1 to 40 mm, which the latch hardly believes; it counts for equality only. A
    second NavMesh follows the same edits with two threads. Both must end as a batch build from the latched cells does
    (`incremental_equal`), and, reread, as one from the voxels alone (`reread_equal`).
    """
    rng = np.random.default_rng(5)
    world = SdfWorld(furnished(), noise_m=0.0)
    tsdf = fused(world, world.block_keys())
    tiles, query = Incremental(tsdf, [HUMAN], TILE_BY_TILE), Query([HUMAN], 0.05)
    current: dict[TileKey, bytes] = {}
    pool = ThreadPoolExecutor(2)
    threaded, of_threads = Incremental(tsdf, [HUMAN], TILE_BY_TILE, executor=pool), {}

    def settle() -> list[float]:
        """Build all that waits; CPU milliseconds of each tile."""
        cpu_ms = []
        while True:
            begun = time.thread_time()
            change = tiles.step(budget_s=0.0)
            cpu_ms.append((time.thread_time() - begun) * 1e3)
            query.apply(change)
            current.update({tile.key: tile.blob for tile in change.nav})
            if not tiles.pending:
                return cpu_ms

    settle()
    tile_ms: list[float] = []
    swap_ms: list[float] = []
    standing: list[Box] = []
    for _ in range(num_edits):
        if standing and rng.random() < 0.5:
            box = standing.pop(int(rng.integers(len(standing))))
            blocks = world.remove(box)
        else:
            x, z, w, h, d = rng.uniform([0.5, 0.5, 0.2, 0.2, 0.2], [18, 18, 0.8, 1.2, 0.8]).tolist()
            h = rng.uniform(0.001, 0.04) if rng.random() < 0.25 else h
            box = Box((x, 0.0, z), (x + w, h, z + d))
            standing.append(box)
            blocks = world.add(box)
        load(tsdf, world, blocks)
        begun = time.perf_counter()
        tiles.mark(MapChange(epoch=0, dirty_blocks=blocks))
        spent_ms, swapped_ms = settle(), (time.perf_counter() - begun) * 1e3
        if box.high[1] > 0.04:
            tile_ms += spent_ms
            swap_ms.append(swapped_ms)
        change = threaded.apply(MapChange(epoch=0, dirty_blocks=blocks))
        of_threads.update({tile.key: tile.blob for tile in change.nav})
    pool.shutdown()
    from_cells = by_key(Incremental(tsdf, [HUMAN], NAV_ONLY, latched=tiles.latched).step().nav)
    incremental_equal = share_equal(current, of_threads, from_cells)
    from_voxels = by_key(Incremental(tsdf, [HUMAN], NAV_ONLY).step().nav)
    tiles.reread()
    settle()
    return {
        "tile_cpu_ms_p50": np.percentile(tile_ms, 50),
        "tile_cpu_ms_p99": np.percentile(tile_ms, 99),
        "swap_ms_p50": np.percentile(swap_ms, 50),
        "swap_ms_p99": np.percentile(swap_ms, 99),
        "incremental_equal": incremental_equal,
        "reread_equal": share_equal(current, from_voxels),
        "edits": num_edits,
    }


def by_key(tiles: Iterable[NavTile]) -> dict[TileKey, bytes]:
    return {tile.key: tile.blob for tile in tiles}


def share_equal(*builds: dict[TileKey, bytes]) -> float:
    """Share of tiles that are the same in every build."""
    keys = set[TileKey]().union(*builds)
    return sum(len({build.get(key, b"") for build in builds}) == 1 for key in keys) / len(keys)


def full_build(copies: int) -> tuple[Figures, tuple[NavTile, ...]]:
    """A large map at once, on one and two threads: TSDF -> latched cells -> spans -> Recast -> Detour blob -> digest.

    It is built as the server does after a restart or a new epoch: with its configuration and in its short steps. The
    server has one thread for this; two are for those who use `navmesh` by itself. The clock starts before the map's
    blocks are marked and stops when every tile is there; making the TSDF and adding tiles to Detour are not in it. CPU
    time is that of all threads.
    """
    source = Copies(copies)
    begun, cpu_begun = time.perf_counter(), time.process_time()
    one = in_steps(Incremental(source, [HUMAN], NAV_ONLY))
    one_s, one_cpu_s = time.perf_counter() - begun, time.process_time() - cpu_begun
    begun = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        two = in_steps(Incremental(source, [HUMAN], NAV_ONLY, executor=pool))
    two_s = time.perf_counter() - begun
    assert [tile.blob for tile in one] == [tile.blob for tile in two]
    side_m = copies * PERIOD_TILES * 3.2
    packed = zstandard.ZstdCompressor(3)
    polygons = [len(packed.compress(polygon_bytes(tile))) for tile in one if tile.blob]
    messages = message_bytes(one)
    scale = (100.0 / side_m) ** 2
    return {
        "full_side_m": side_m,
        "full_100m_s_1t": one_s * scale,
        "full_100m_cpu_s_1t": one_cpu_s * scale,
        "full_100m_s_2t": two_s * scale,
        "nav_bytes_mean": np.mean(polygons),
        "nav_bytes_p99": np.percentile(polygons, 99),
        "nav_message_bytes_mean": np.mean(messages),
        "nav_message_bytes_p99": np.percentile(messages, 99),
        "blob_bytes_mean": np.mean([len(packed.compress(tile.blob)) for tile in one if tile.blob]),
    }, one


def in_steps(tiles: Incremental) -> tuple[NavTile, ...]:
    """All tiles, in the order and by the steps of the server's writer."""
    built: list[NavTile] = []
    while tiles.nav_pending:
        built += tiles.step_nav(budget_s=PRODUCT.tile_budget_s).nav
    return tuple(built)


def polygon_bytes(tile: NavTile) -> bytes:
    """What a client needs to walk: corners, polygons, neighbours, areas."""
    return tile.verts.tobytes() + tile.polys.tobytes() + tile.neighbours.tobytes() + tile.areas.tobytes()


def message_bytes(tiles: Sequence[NavTile]) -> list[int]:
    """Size of each tile's whole message, as a client of our SDKs is sent it."""
    channel = Channel("main", "benchmark")
    now_ns = 1_800_000_000_000_000_000
    for tile in tiles:
        channel.publish(encode.nav(tile), capture_ns=now_ns, infer_ns=now_ns + 10**8, now_ns=now_ns + 2 * 10**8)
    return [len(entry.frame_with(frozenset(), frozenset(CODECS))) for entry in channel.entries()]


def paths(tiles: Sequence[NavTile], num_paths: int) -> Figures:
    """Query times across the whole map, to goals that can and cannot be reached."""
    query = Query([HUMAN], 0.05)
    query.set(tiles)
    keys = np.array([tile.key for tile in tiles if tile.blob])
    low_m, high_m = keys.min(axis=0) * 3.2, (keys.max(axis=0) + 1) * 3.2
    rng = np.random.default_rng(6)
    wall_ms: list[float] = []
    dead_end_ms: list[float] = []
    halves = Query([HUMAN], 0.05)  # the same map, its middle row of tiles taken out
    middle = int(keys[:, 0].mean())
    halves.set(tile for tile in tiles if tile.key.x != middle)
    for (sx, sz), (gx, gz) in rng.uniform(low_m, high_m, (num_paths, 2, 2)).tolist():
        for asked, all_ms in ((query, wall_ms), (halves, dead_end_ms)):
            begun = time.perf_counter()
            path = asked.path((sx, 0.0, sz), (gx, 0.0, gz), "human")
            spent_ms = (time.perf_counter() - begun) * 1e3
            if path.is_partial == (asked is halves):
                all_ms.append(spent_ms)
    change_ms: list[float] = []
    for tile in tiles[: num_paths // 10]:
        query.set([tile])
        begun = time.perf_counter()
        query.reachable((sx, 0.0, sz), (gx, 0.0, gz), "human")
        change_ms.append((time.perf_counter() - begun) * 1e3)
    return {
        "reachable_after_change_ms_p99": np.percentile(change_ms, 99),
        "path_ms_p50": np.percentile(wall_ms, 50),
        "path_ms_p99": np.percentile(wall_ms, 99),
        "unreachable_ms_p99": np.percentile(dead_end_ms, 99) if dead_end_ms else None,
        "paths": num_paths,
    }


def churn(noise_m: float, looks: int) -> Figures:
    """Share of tiles that change when a static scene is seen again, each time with all new noise."""
    world = SdfWorld(furnished(), noise_m=noise_m)
    tiles = Incremental(world, [HUMAN], NAV_ONLY)
    total = len(tiles.step().nav)
    changed = 0
    for world.observation in range(1, looks + 1):
        tiles.mark(MapChange(epoch=0, dirty_blocks=world.block_keys()))
        changed += len(tiles.step().nav)
    return {"churn": changed / (total * looks), "churn_noise_m": noise_m}


def clearance(num_paths: int) -> Figures:
    """The nearest that any path comes to a true solid between step height and head."""
    world = SdfWorld(furnished())
    query = Query([HUMAN], 0.05)
    query.set(Incremental(world, [HUMAN], NAV_ONLY).step().nav)
    solids = [s for s in world.shapes if isinstance(s, Box) and s.high[1] > HUMAN.max_climb_m + 0.05 and s.low[1] < 1.7]
    solids = [s for s in solids if not (s.low[0] == 5.0 and s.high[0] == 6.2)]  # the stairs are walked on
    rng = np.random.default_rng(7)
    nearest_m = np.inf
    for (sx, sz), (gx, gz) in rng.uniform(0.3, 18.9, (num_paths, 2, 2)).tolist():
        for a, b in itertools.pairwise(query.path((sx, 0.0, sz), (gx, 0.0, gz), "human").points_m):
            if max(a[1], b[1]) > 0.1:
                continue
            samples = a + np.linspace(0, 1, 32, dtype=np.float32)[:, None] * (b - a)
            x, z = samples[:, 0], samples[:, 2]
            nearest_m = min(
                nearest_m, *(float(s.distance(x, np.full_like(x, max(s.low[1], 0.3)), z).min()) for s in solids)
            )
    return {"min_clearance_m": nearest_m, "agent_radius_m": HUMAN.radius_m}


def measure(copies: int, num_edits: int, meshes: Sequence[Path]) -> Figures:
    """Every figure; those the peer is needed for say why when it is missing."""
    figures = edits_and_swaps(num_edits)
    build, tiles = full_build(copies)
    figures |= build | paths(tiles, 1000) | churn(0.008, 5) | clearance(300) | measure_occluders()
    figures |= triangle_route_ms() | path_parity(1000) | tile_parity(meshes)
    if figures.get("triangle_peer_ms_p50"):
        figures["triangle_peer_ratio"] = figures["triangle_peer_ms_p50"] / figures["tile_cpu_ms_p50"]
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in figures.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object, nothing else")
    parser.add_argument(
        "--mesh", type=Path, nargs="*", default=[], help="OBJ files to build with ours and with the peer"
    )
    parser.add_argument("--copies", type=int, default=5, help="side of the large map, in furnished floors of 19.2 m")
    parser.add_argument("--edits", type=int, default=1000)
    options = parser.parse_args()
    figures = measure(options.copies, options.edits, options.mesh)
    print(json.dumps(figures) if options.json else "\n".join(f"{key:24} {value}" for key, value in figures.items()))


if __name__ == "__main__":
    main()
