"""Work that keeps a device busy while perception is measured: what a generator of assets would do to it.

`python -m benchmarks.vggt.load --device cuda --size 4096 [--gate FD]`: matrix products in blocks of some milliseconds,
for ever. With a gate it parks between blocks while perception has it raised; without one it never does.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
from collections.abc import Iterator

from server.generation.gate import GateMemory
from server.generation.parking import Parking
from server.parent import die_with

PRODUCTS_PER_BLOCK = 8


@contextlib.contextmanager
def loaded(device: str, size: int, gate: GateMemory | None) -> Iterator[None]:
    """A process that computes, from when it has begun until the block ends."""
    given = () if gate is None else ("--gate", str(gate.descriptor))
    command = [sys.executable, "-m", "benchmarks.vggt.load", "--device", device, "--size", str(size), *given]
    fds = () if gate is None else (gate.descriptor,)
    with subprocess.Popen(command, stdout=subprocess.PIPE, pass_fds=fds) as process:
        try:
            assert process.stdout is not None
            if not process.stdout.readline():
                raise RuntimeError("the load did not start")
            yield
        finally:
            process.kill()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--gate", type=int)
    args = parser.parse_args()
    import os

    import torch

    die_with(os.getppid())
    parking = None if args.gate is None else Parking(GateMemory(args.gate), lambda: False)
    dtype = torch.bfloat16 if args.device.startswith("cuda") else torch.float32
    torch.set_num_threads(1)
    x = torch.rand(args.size, args.size, device=args.device, dtype=dtype)
    if parking is not None:
        parking.begin()
    has_begun = False
    while True:
        for _ in range(PRODUCTS_PER_BLOCK):
            torch.mm(x, x)
        if x.is_cuda:
            torch.cuda.synchronize()
        if not has_begun:
            sys.stdout.write("computing\n")
            sys.stdout.flush()
            has_begun = True
        if parking is not None:
            parking.park()


if __name__ == "__main__":
    main()
