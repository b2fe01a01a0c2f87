"""VGGT: is ours the published network? `python -m benchmarks.vggt --golden FILE.npz [--config tiny|1b] --json`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from benchmarks.vggt_parity import compare


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--golden", type=Path, help="stored outputs of the published network to compare with")
    parser.add_argument("--config", choices=["tiny", "1b"], help="size of the network (default: by the file's name)")
    parser.add_argument("--threads", type=int, default=2, help="the goldens were made with 2")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    args = parser.parse_args()
    config = args.config or ("1b" if "1b" in args.golden.name else "tiny")
    report = compare(config, args.golden, args.threads)
    print(json.dumps(report))
    return 0 if report["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
