"""Compile every numba kernel into its on-disk cache, so that the first frame is as fast as the thousandth."""

from __future__ import annotations

import importlib
import time

MODULES = (
    "mapping.tracking.tracker",
    "mapping.scene_map",
    "mapping.volume.surface",
    "navmesh.occlusion",
    "mapping.objects.capture.capturing",
    "mapping.objects.splats.drawing",
    "mapping.objects.uastc",
)


def main() -> None:
    for name in MODULES:
        begun = time.perf_counter()
        importlib.import_module(name).warm_up()
        print(f"    {name}: {time.perf_counter() - begun:.1f} s", flush=True)
    from mapping import engines

    begun = time.perf_counter()
    engines.create("classical").warm_up()
    print(f"    mapping.engines.classical: {time.perf_counter() - begun:.1f} s", flush=True)


if __name__ == "__main__":
    main()
