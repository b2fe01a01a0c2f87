"""The command; `--help` says what can be chosen."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

from benchmarks import vggt
from benchmarks.vggt.cost import SIZE_PX, WINDOWS, by_part, counted, streamed
from benchmarks.vggt.here import cached_tokens, feature_storage, ms_by_part, parity
from benchmarks.vggt.parity import compare


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.vggt", description=vggt.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--golden", type=Path, help="stored outputs of the published network to compare with")
    parser.add_argument("--config", choices=["tiny", "1b"], help="size of the network (default: by the file's name)")
    parser.add_argument("--threads", type=int, default=2, help="the goldens were made with 2")
    parser.add_argument("--time", action="store_true", help="measure the full network by part")
    parser.add_argument("--views", type=int, nargs="+", default=list(WINDOWS), help="sizes of windows")
    parser.add_argument("--size", type=int, nargs=2, default=SIZE_PX, metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    args = parser.parse_args()
    if args.golden is not None:
        config = args.config or ("1b" if "1b" in args.golden.name else "tiny")
        try:
            compared = compare(config, args.golden, args.threads)
        except ValueError as error:
            parser.error(str(error))
        print(json.dumps(compared, allow_nan=False) if args.json else _parity_table(compared))
        return 0 if compared["ok"] else 1
    rows = counted(tuple(args.views))
    longest = max(rows, key=lambda row: row["views"])
    report: dict[str, Any] = {
        "parity": parity(args.threads),
        "feature_storage": feature_storage(longest),
        "cached_tokens": cached_tokens(longest),
        "counted": rows,
        "streamed": streamed(),
        "gpu": on_gpu(),
    }
    if args.time:
        report["ms_by_part"] = by_part(args.config or "1b", args.views, tuple(args.size), args.threads)
    else:
        report["ms_by_part"] = ms_by_part(args.threads)
    print(json.dumps(finite(report), allow_nan=False) if args.json else _cost_table(report))
    return 0


def on_gpu() -> dict[str, Any] | str:
    """All that a GPU can show, or that there is none."""
    import torch

    if not torch.cuda.is_available():
        return "not measured: no GPU here"
    from benchmarks.vggt import gpu

    measured: dict[str, Any] = gpu.on_gpu()
    return measured


def finite(report: Any) -> Any:
    """The same, with words for numbers that JSON has none for: they are findings, and the other figures still count."""
    if isinstance(report, dict):
        return {key: finite(value) for key, value in report.items()}
    if isinstance(report, (list, tuple)):
        return [finite(value) for value in report]
    return f"not finite: {report}" if isinstance(report, float) and not math.isfinite(report) else report


def _parity_table(report: dict[str, Any]) -> str:
    rows = [
        f"{name:20} " + (found["why"] or f"{found['abs']:10.1e} {found['rel']:10.1e}")
        for name, found in report["arrays"].items()
    ]
    rows += [f"{name:20} unknown" for name in report["unknown"]]
    ok = f"ok: {report['ok']}" + (f" ({report['why']})" if report["why"] else "")
    return "\n".join([f"{report['golden']:20} {'absolute':>10} {'relative':>10}", *rows, ok])


def _cost_table(report: dict[str, Any]) -> str:
    found = report["parity"] if isinstance(report["parity"], dict) else {"parity": report["parity"]}
    lines = [told if isinstance(told, str) else _parity_table(told) for told in found.values()]
    lines += ["views  all new  rolling  saved  (by cached tokens)   features kept / all layers, MB a view"]
    lines += [
        f"{row['views']:5} {row['all_new_tflop']:6.1f} T {row['rolling_tflop']:6.1f} T {row['saved']:6.1%}"
        f" {row['saved_by_cached_tokens']:14.1%}"
        f" {row['features_mb_per_view']:16.1f} / {row['all_layers_mb_per_view']:.1f}"
        for row in report["counted"]
    ]
    walk = report["streamed"]
    lines.append(
        f"on a walk round a room: {walk['views']:.1f} views a window, {walk['encoded']:.2f} of them encoded,"
        f" {walk['tflop']:.1f} of {walk['all_new_tflop']:.1f} TFLOP a keyframe, saved {walk['saved']:.1%}"
    )
    lines.append(f"GPU: {json.dumps(report['gpu'], indent=1)}")
    lines.append(f"ms by part: {json.dumps(report['ms_by_part'], indent=1)}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
