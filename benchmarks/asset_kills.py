"""kill -9 of a process that publishes: is all it was told of there, once, and are the events without a gap?

    python -m benchmarks.asset_kills [--kills 1000] [--seed 0] [--json]

A child opens an asset store and goes on where it finds it: it publishes version n of its assets, swaps and rolls back
slots, deletes, sweeps, and says the number of each step that was answered. The parent kills it at a random instant and
lets the next one begin, which first does its last step again, as a client does whose answer was lost. At the end the
store must hold each step's version exactly once, every blob whole, and events numbered 1, 2, 3, ... without a gap.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

from server.assets.catalog import Catalog, Config
from server.assets.database import Event
from server.assets.values import AssetFile, NewAsset, NewVersion, Ref

ASSETS, SLOTS = 5, 3
CONFIG = Config.model_validate({"grace_s": 0, "keep_events": 10_000_000})


@dataclass(frozen=True, slots=True)
class Kills:
    """What many lives of the writer left."""

    kills: int
    steps: int
    lost: int
    """Answered, but not there."""
    duplicated: int
    """There more than once."""
    gaps: int
    """Missing sequence numbers, or events that tell of what is not there."""
    broken_blobs: int
    """Of versions that are there: bytes that are missing or others."""


def content(step: int) -> bytes:
    """Some steps bring the same bytes."""
    return hashlib.sha256(b"%d" % (step // 2)).digest() * 50


def work(catalog: Catalog, step: int) -> None:
    """Step number `step`: doing it twice does it once."""
    asset, slot, now_ns = f"asset{step % ASSETS}", f"slot{step % SLOTS}", time.time_ns()
    data = content(step)
    file = AssetFile(role="lod0", format="glb", sha256=catalog.blobs.put(data), size=len(data))
    catalog.register(asset, NewAsset(name=asset), now_ns)
    made = catalog.publish(asset, NewVersion(files=(file,), provenance={"step": step}), f"step {step}", now_ns)
    catalog.swap(slot, None, Ref(asset, made.version), None, None, None, now_ns)
    if step % 7 == 3:
        catalog.sweep(now_ns)


def write(folder: Path, step: int) -> NoReturn:
    """The child: until it is killed."""
    catalog = Catalog(folder, CONFIG, time.time_ns(), lambda events: None)
    while True:
        work(catalog, step)
        os.write(1, b"%d\n" % step)
        step += 1


def run(folder: Path, kills: int, seed: int, longest_s: float = 0.25) -> Kills:
    """Let writers live and die; then look at what is there."""
    chance, answered = random.Random(seed), -1
    for _ in range(kills):
        answered = max(answered, _live(folder, answered + 1, chance.uniform(0.0, longest_s)))
    return inspect(folder, kills, answered)


def _live(folder: Path, step: int, seconds: float) -> int:
    """One life, counted from its first answer; the newest step it answered."""
    command = [sys.executable, "-m", "benchmarks.asset_kills", "--write", str(folder), "--step", str(step)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert child.stdout is not None
    newest = int(child.stdout.readline() or step - 1)
    timer = threading.Timer(seconds, child.kill)
    timer.start()
    lines = child.stdout.read().decode().rpartition("\n")[0].split()
    child.wait()
    timer.cancel()
    return int(lines[-1]) if lines else newest


def inspect(folder: Path, kills: int, answered: int) -> Kills:
    """Compare the store with what was answered."""
    seen: list[Event] = []
    catalog = Catalog(folder, CONFIG, time.time_ns(), seen.extend)
    events, at = [], 0
    while page := catalog.events_since(at, 1000):
        events += page
        at = page[-1].seq
    steps: list[int] = []
    broken = 0
    for asset in catalog.assets(None, None, "", ASSETS + 1, 0):
        for version in range(1, asset.latest + 1):
            found = catalog.version(asset.asset, version)
            steps.append(int(found.provenance["step"]))
            path = catalog.blobs.path(found.files[0].sha256)
            broken += not path.exists() or path.read_bytes() != content(steps[-1])
    published = sum(event.type == "version.published" for event in events)
    gaps = sum(event.seq != number for number, event in enumerate(events, start=1)) + abs(published - len(steps))
    catalog.close()
    lost = len(set(range(answered + 1)) - set(steps))
    return Kills(kills, answered + 1, lost, len(steps) - len(set(steps)), gaps, broken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", type=Path, help="be the child that is killed, with the store here")
    parser.add_argument("--step", type=int, default=0, help="where the child begins")
    options = parser.parse_args()
    if options.write is not None:
        write(options.write, options.step)
    with tempfile.TemporaryDirectory() as folder:
        result = asdict(run(Path(folder), options.kills, options.seed))
    if options.json:
        print(json.dumps({"asset_kills": result}))
        return
    for name, value in result.items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main()
