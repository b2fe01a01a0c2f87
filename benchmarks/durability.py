"""kill -9 during writes: is everything that was acknowledged there after the restart, and how long does a restart take?

    python -m benchmarks.durability [--rounds 20] [--seed 0] [--json] [--server CLIP]

A child process writes one scene (a tile, some voxels and a keyframe a group), commits, and prints the number of each
group that is durable; the store rolls its log up beside that. The parent kills it at a random instant, opens the store
itself and compares it with what the groups up to the newest one must add up to: nothing acknowledged may be missing,
and nothing may be there by halves. Then the next child goes on in the same folder. Every other child rolls up in a
process of its own, as the server does; the others in a thread, so that more kills fall into the middle of one.
`--server` asks the same of a whole server that maps a posed recording; see `durability_server`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import durability_server
from benchmarks.durability_server import ServerRound
from mapping.changes import KeyframeId
from mapping.store.records import Record, SceneMeta, StoredBlocks, StoredKeyframe, StoredTile
from mapping.store.scene_store import Config, Store
from mapping.store.state import SceneState
from streams.frame import Intrinsics, StreamId

TILE_KEYS, BLOCKS_PER_GROUP, BLOCK_GROUPS = 50, 8, 20
STREAM = StreamId("phone")
LENS = Intrinsics(500.0, 500.0, 320.0, 240.0, 640, 480)
OFTEN = Config(roll_up_above_bytes=1024 * 1024, keyframe_ttl_s=None)
"""Roll-ups every second or so, so that kills fall into them too."""


@dataclass(frozen=True, slots=True)
class Round:
    """One life of the writer."""

    acknowledged: int
    """Number of the newest group it said was durable."""
    found: int
    """Groups that were there after the restart; more than acknowledged is fine, less is a loss."""
    faults: tuple[str, ...]
    commit_ms: tuple[float, ...]
    restart_s: float
    """Opening the store and loading all of it."""
    rolled_up: bool


def group(number: int) -> list[Record]:
    """What is written as group `number`: a function of the number alone."""
    noise = np.random.default_rng(number)
    first_block = number % BLOCK_GROUPS * BLOCKS_PER_GROUP
    keys = np.zeros((BLOCKS_PER_GROUP, 3), np.int32)
    keys[:, 0] = np.arange(first_block, first_block + BLOCKS_PER_GROUP)
    shape = (BLOCKS_PER_GROUP, 8, 8, 8)
    return [
        StoredTile(
            layer="nav",
            key=(number % TILE_KEYS, 0, "walker"),
            seq=number,
            ver=number,
            wire=noise.bytes(int(noise.integers(100, 20_000))),
        ),
        StoredBlocks(
            keys=keys,
            tsdf_m=noise.normal(size=shape).astype(np.float16),
            weight=np.full(shape, number, np.float16),
            rgb=noise.integers(0, 256, (*shape, 3), dtype=np.uint8),
        ),
        StoredKeyframe(
            id=KeyframeId(f"{STREAM}/{number}"),
            stream=STREAM,
            capture_ns=number,
            world_from_camera=np.eye(4) * number,
            intrinsics=LENS,
        ),
    ]


def write(path: Path, roll_up_process: bool) -> None:
    """The child: go on writing for ever, printing `number milliseconds` for each group that is durable."""
    store = Store.open(path, OFTEN.model_copy(update={"roll_up_process": roll_up_process}))
    number = len(store.load().keyframes)
    if number == 0:
        store.append(SceneMeta(lineage="durability"))
    due = threading.Event()
    threading.Thread(target=_roll_up_when, args=(due, store), daemon=True).start()
    while True:
        for _ in range(1 + number % 3):
            number += 1
            store.append(*group(number))
        began = time.perf_counter()
        store.commit()
        sys.stdout.write(f"{number} {(time.perf_counter() - began) * 1e3:.2f}\n")
        sys.stdout.flush()
        if store.roll_up_due:
            due.set()


def _roll_up_when(due: threading.Event, store: Store) -> None:
    while due.wait():
        due.clear()
        store.roll_up()


def live_and_die(path: Path, seed: int) -> Round:
    """Let a writer live for a random while, kill it, and look at what it left."""
    snapshots_before = {p.name for p in path.glob("*.zarr")}
    command = [sys.executable, "-m", "benchmarks.durability", "--write", str(path)]
    command += ["--roll-up-process"] if seed % 2 else []
    acknowledged, commit_ms = 0, []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        first = child.stdout.readline()
        killer = threading.Timer(random.Random(seed).uniform(0.0, 1.5), child.kill)
        killer.start()
        for line in (first, *child.stdout):
            if line.endswith("\n"):
                number, milliseconds = line.split()
                acknowledged = int(number)
                commit_ms.append(float(milliseconds))
        killer.join()
    began = time.perf_counter()
    store = Store.open(path, OFTEN)
    state = store.load()
    restart_s = time.perf_counter() - began
    store.close()
    rolled_up = {p.name for p in path.glob("*.zarr")} != snapshots_before
    found = len(state.keyframes)
    return Round(acknowledged, found, tuple(faults(state, acknowledged)), tuple(commit_ms), restart_s, rolled_up)


def faults(state: SceneState, acknowledged: int) -> list[str]:
    """How a state differs from exactly the groups 1 .. n with n >= acknowledged; empty = not at all."""
    found = len(state.keyframes)
    problems = [f"{acknowledged} groups were acknowledged, {found} are there"] if found < acknowledged else []
    expected = SceneState()
    for number in range(max(1, found - max(TILE_KEYS, BLOCK_GROUPS) + 1), found + 1):
        for record in group(number):
            expected.apply(record)
    for number in range(1, found + 1):
        keyframe = state.keyframes.get(KeyframeId(f"{STREAM}/{number}"))
        if keyframe is None or keyframe.world_from_camera[0, 0] != number:
            problems.append(f"keyframe {number} is missing or wrong")
    for key, tile in expected.tiles.items():
        there = state.tiles.get(key)
        if there is None or (there.ver, there.wire) != (tile.ver, tile.wire):
            problems.append(f"tile {key} is not version {tile.ver}")
    ours, theirs = expected.blocks.all(), state.blocks.all()
    problems += [
        f"blocks differ in {name}"
        for name in ("keys", "tsdf_m", "weight", "rgb")
        if getattr(ours, name).tobytes() != getattr(theirs, name).tobytes()
    ]
    if found and state.meta is None:
        problems.append("the scene's meta is missing")
    return problems


def run(path: Path, rounds: int, seed: int) -> list[Round]:
    """Several lives, one after the other, in one folder."""
    return [live_and_die(path, seed + i) for i in range(rounds)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the rounds and say what was found; 1 when anything acknowledged was lost."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.durability", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--server", type=Path, metavar="CLIP", help="a posed recording for a whole server to map")
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--roll-up-process", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.write is not None:
        write(options.write, options.roll_up_process)
    with tempfile.TemporaryDirectory() as folder:
        if options.server is not None:
            lives = asyncio.run(durability_server.run(options.server, Path(folder), options.rounds, options.seed))
            summary = of_server(lives)
        else:
            summary = of_store(run(Path(folder) / "scene", options.rounds, options.seed))
    if options.json:
        sys.stdout.write(json.dumps(summary) + "\n")
    else:
        sys.stdout.writelines(f"{name:22} {value}\n" for name, value in summary.items())
    return 1 if summary["faults"] else 0


def of_store(lives: Sequence[Round]) -> dict[str, Any]:
    """The figures of several lives of a store."""
    commit_ms = [ms for life in lives for ms in life.commit_ms]
    return {
        "kills": len(lives),
        "acknowledged_groups": lives[-1].acknowledged,
        "faults": [fault for life in lives for fault in life.faults],
        "rounds_with_roll_up": sum(life.rolled_up for life in lives),
        "commit_ms_p50": round(float(np.percentile(commit_ms, 50)), 2),
        "commit_ms_p95": round(float(np.percentile(commit_ms, 95)), 2),
        "restart_s_max": round(max(life.restart_s for life in lives), 3),
    }


def of_server(lives: Sequence[ServerRound]) -> dict[str, Any]:
    """The figures of several lives of a server, the last of which was only looked at."""
    restarts_s = [life.restart_s for life in lives[1:]]
    return {
        "kills": len(restarts_s),
        "acknowledged_keys": sum(life.acknowledged for life in lives[:-1]),
        "faults": [fault for life in lives for fault in life.faults],
        "restart_s_p50": round(float(np.percentile(restarts_s, 50)), 2),
        "restart_s_max": round(max(restarts_s), 2),
        "ready_s_p50": round(float(np.percentile([life.ready_s for life in lives[1:]], 50)), 2),
        "ready_s_max": round(max(life.ready_s for life in lives[1:]), 2),
    }


if __name__ == "__main__":
    sys.exit(main())
