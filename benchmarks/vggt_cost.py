"""What a window costs: arithmetic counted for the full network, seconds measured on this machine."""

from __future__ import annotations

from dataclasses import asdict
from typing import Literal

SIZE_PX = (392, 518)
WINDOWS = (1, 2, 4, 8, 16)


def counted(windows: tuple[int, ...] = WINDOWS) -> list[dict[str, float]]:
    """TFLOP of one more keyframe in a rolling window of the full network, with and without what is kept or left out.

    `all_new` encodes every view and gives every view depth, as the published forward does; `rolling` encodes the newest
    one, for the others are cached, and gives it alone depth.
    """
    from mapping.engines.vggt.architecture import VGGT_1B
    from mapping.engines.vggt.work import count

    rows = []
    for views in windows:
        work = count(VGGT_1B, views, *SIZE_PX)
        all_new, rolling = work.window(views, views), work.window(1, 1)
        rows.append(
            {
                "views": views,
                "all_new_tflop": all_new / 1e12,
                "rolling_tflop": rolling / 1e12,
                "saved": 1 - rolling / all_new,
                "saved_by_cached_tokens": 1 - work.window(1, views) / all_new,
                "features_mb_per_view": work.feature_bytes_view / 1e6,
                "all_layers_mb_per_view": work.all_layers_bytes_view / 1e6,
            }
        )
    return rows


def timed(config: Literal["tiny", "1b"], views: list[int], size: tuple[int, int], threads: int) -> dict[str, object]:
    """Seconds by part on this machine's GPU, or its CPU where there is none."""
    from mapping.engines.vggt.config import Config
    from mapping.engines.vggt.stopwatch import measure
    from mapping.engines.vggt.weights import device_of

    made = Config(weights="seeded", architecture=config, threads=threads)
    return {
        "config": config,
        "device": str(device_of(made)),
        "size": list(size),
        "windows": [asdict(times) for times in measure(made, views, *size)],
    }
