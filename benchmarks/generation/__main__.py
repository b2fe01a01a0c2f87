"""The command; `--help` says what can be chosen. Keys of parts that were not measured are null."""

from __future__ import annotations

import argparse
import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import uvloop

from benchmarks import asset_swap
from benchmarks.generation.cancelling import cancel_ms
from benchmarks.generation.first import first_asset_s
from benchmarks.generation.killing import kill
from benchmarks.generation.sharing import share

KEYS = (
    "p99_growth", "p99_growth_pooled", "p99_growth_ungated", "park_ms_p99", "cancel_ms_p99", "idle_share",
    "kills", "lost", "duplicated",
    "capture_f1_clean", "capture_f1_noisy", "capture_psnr_db", "capture_s", "first_asset_s_p95", "glb_errors",
    "full_set_s", "swap_event_ms_p99", "swap_skew_ms", "swap_gap_frames", "rollback_ms", "library_accuracy",
)  # fmt: skip
PARTS = ("sharing", "cancelling", "killing", "first", "swap", "capture", "formats", "library")


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Every figure that was asked for."""
    figures: dict[str, Any] = dict.fromkeys(KEYS)
    parts = args.only or PARTS
    if "sharing" in parts:
        figures |= {"sharing": asdict(asyncio.run(share(args.calls, args.seed)))}
        figures |= {key: figures["sharing"][key] for key in KEYS if key in figures["sharing"]}
    if "cancelling" in parts:
        figures["cancel_ms_p99"] = float(np.quantile(asyncio.run(cancel_ms(args.cancels, args.seed)), 0.99))
    if "first" in parts:
        took_s = asyncio.run(first_asset_s(args.firsts))
        figures |= {"first_asset_s_p95": float(np.quantile(took_s[2:], 0.95)), "first_asset_cold_s": max(took_s[:2])}
    if "killing" in parts:
        killed = asdict(kill(args.kills, args.seed))
        figures |= {"killing": killed} | {key: killed[key] for key in ("kills", "lost", "duplicated")}
    if "swap" in parts:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            swapped = runner.run(asset_swap.measure(args.clients, args.swaps))
        figures |= {key: swapped[key] for key in KEYS if key in swapped}
    if "capture" in parts:
        from benchmarks.capture import run

        found = run()
        figures |= {key: found[key] for key in KEYS if key in found} | {"capture_placed_m": found["capture_placed_m"]}
    if "formats" in parts:
        from benchmarks.capture import captured_mug
        from benchmarks.generation.formats import ktx2_psnr_db, round_trips

        mug = captured_mug()
        figures |= {f"round_trip_{suffix}": kept for suffix, kept in round_trips(mug).items()}
        figures["ktx2_psnr_db"] = ktx2_psnr_db(mug)
    if "library" in parts and args.names is not None:
        figures["library_accuracy"] = library_accuracy(args.names)
    return figures


def library_accuracy(names: Path) -> float:
    """Share of a list's queries ({query, expected or null, names}) that are answered as expected."""
    from mapping.objects.shelf import Library

    asked = json.loads(names.read_text())
    right = 0
    for one in asked:
        found = Library(one["names"]).match(one["query"])
        right += (None if found is None else found.name) == one["expected"]
    return right / len(asked)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.generation", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--calls", type=int, default=1000, help="of perception, under each condition")
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--cancels", type=int, default=100)
    parser.add_argument("--firsts", type=int, default=40, help="jobs whose first version is waited for")
    parser.add_argument("--clients", type=int, default=200, help="of the asset bus, for the swaps")
    parser.add_argument("--swaps", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--library", dest="names", type=Path, help="JSON list of {query, expected or null, names}")
    parser.add_argument("--only", choices=PARTS, action="append", help="measure just this; may be repeated")
    args = parser.parse_args()
    figures = measure(args)
    if args.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        if isinstance(value, dict):
            told = (f"{key} {'none' if number is None else f'{number:.4g}'}" for key, number in value.items())
            print(f"{name}: " + ", ".join(told))
        else:
            print(f"{name:20} {'not measured' if value is None else f'{value:.4g}'}")


if __name__ == "__main__":
    main()
