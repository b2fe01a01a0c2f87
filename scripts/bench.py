"""Run the benchmarks behind the README's tables, one after the other, and leave their JSON in out/bench/."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

DATA = os.environ.get("COMMONGROUND_DATA", "../shared/data")
CLIPS = ("redkitchen", "hololens", "cabinet")
RUNS = {
    "accuracy": ["benchmarks.accuracy", *(f"{DATA}/{c}" for c in CLIPS)],
    "accuracy-fast": ["benchmarks.accuracy", "--fast", "--peer", "colmap", *(f"{DATA}/{c}" for c in CLIPS[:2])],
    "accuracy-unknown-lens": ["benchmarks.accuracy", "--fast", "--no-map", "--k", "unknown", f"{DATA}/redkitchen"],
    "accuracy-distance": ["benchmarks.accuracy", "--fast", "--cue", "distance", f"{DATA}/redkitchen"],
    "accuracy-motion": ["benchmarks.accuracy", "--fast", "--motion", f"{DATA}/redkitchen"],
    "crowd": ["benchmarks.crowd", f"{DATA}/redkitchen"],
    "false-merges": ["benchmarks.false_merges", *(f"{DATA}/{c}" for c in CLIPS), "synthetic"],
    "relocalisation": ["benchmarks.relocalisation", f"{DATA}/redkitchen"],
    "latency-1": ["benchmarks.latency", "--phones", "1"],
    "latency-2": ["benchmarks.latency", "--phones", "2"],
    "flat-posed": ["benchmarks.flat", "--mode", "posed"],
    "flat-marker": ["benchmarks.flat", "--mode", "marker"],
    "navmesh": ["benchmarks.navmesh", "--mesh", f"{DATA}/meshes/nav_test.obj", f"{DATA}/meshes/dungeon.obj"],
    "nav-scaling": ["benchmarks.nav_scaling", "--out", "out/bench/scaling"],
    "occluders": ["benchmarks.occluders"],
    "posed-latency": ["benchmarks.posed_latency"],
    "asset-swap": ["benchmarks.asset_swap"],
    "fanout": ["benchmarks.fanout"],
    "stall": ["benchmarks.stall"],
    "durability": ["benchmarks.durability", "--rounds", "20"],
    "durability-server": ["benchmarks.durability", "--rounds", "20", "--server", f"{DATA}/redkitchen"],
    "long-run": ["benchmarks.long_run", f"{DATA}/redkitchen", "--every", "2", "--out", "out/bench/long-run"],
    "generation": ["benchmarks.generation"],
    "vggt": ["benchmarks.vggt"],
}
FOLDER = Path("out/bench")


def main() -> int:
    chosen = sys.argv[1:] or list(RUNS)
    FOLDER.mkdir(parents=True, exist_ok=True)
    failed = []
    for name in chosen:
        print(f"{name} ...", flush=True)
        done = subprocess.run([sys.executable, "-m", *RUNS[name], "--json"], stdout=subprocess.PIPE, text=True)
        (FOLDER / f"{name}.json").write_text(done.stdout)
        if done.returncode:
            failed.append(name)
    print(json.dumps({"folder": str(FOLDER), "ran": chosen, "failed": failed}))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
