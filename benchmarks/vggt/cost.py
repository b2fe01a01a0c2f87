"""What a window costs: arithmetic counted for the full network, milliseconds measured on this machine."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Literal

import numpy as np

from mapping.changes import KeyframeId
from mapping.windows import WindowPolicy
from streams.frame import StreamId

if TYPE_CHECKING:
    from mapping.engines.vggt.model.architecture import Architecture

SIZE_PX = (392, 518)
WINDOWS = (1, 2, 4, 8, 16)


def counted(windows: tuple[int, ...] = WINDOWS) -> list[dict[str, float]]:
    """TFLOP of one more keyframe in a rolling window of the full network, with and without what is kept or left out.

    `all_new` encodes every view and gives every view depth, as the published forward does; `rolling` encodes the newest
    one, for the others are cached, and gives depth to it and to those that it is checked against.
    """
    from benchmarks.vggt.work import count
    from mapping.engines.vggt.config import Config
    from mapping.engines.vggt.model.architecture import VGGT_1B

    deep = 1 + Config().checks

    rows = []
    for views in windows:
        work = count(VGGT_1B, views, *SIZE_PX)
        all_new, rolling = work.window(views, views), work.window(1, min(views, deep))
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


def streamed(round_keyframes: int = 24, rounds: int = 3, sizes: Architecture | None = None) -> dict[str, float]:
    """What the policy's windows and the cache of tokens save on a walk round a room, from the second round on.

    Likeness is that of viewing directions; arithmetic is counted as by `counted`, keyframe by keyframe.

    Args:
        sizes: None = those of the full network.
    """
    import torch

    from benchmarks.vggt.work import Work, count
    from mapping.engines import windows
    from mapping.engines.vggt.canvas import arrange
    from mapping.engines.vggt.config import Config
    from mapping.engines.vggt.model.architecture import PATCH_PX, VGGT_1B
    from mapping.engines.vggt.token_cache import Key, TokenCache

    sizes = sizes or VGGT_1B
    config, policy, walk = Config(), WindowPolicy(windows("vggt")), (StreamId("a"), 0)
    (place,) = arrange([SIZE_PX], config.long_side_px)
    cache = TokenCache(4 << 30)
    image_tokens = torch.empty(
        place.height * place.width // PATCH_PX**2, sizes.width, dtype=torch.bfloat16, device="meta"
    )
    work: dict[int, Work] = {}
    all_new = done = views = encoded = 0
    for n in range(rounds * round_keyframes):
        chosen = policy.choose(walk, KeyframeId(f"a/{n}"))
        before = cache.encoded
        cache.all(
            [Key(keyframe, 0, place) for keyframe in chosen], lambda some: torch.stack([image_tokens] * len(some))
        )
        angle = 2 * np.pi * n / round_keyframes
        policy.describe(walk, KeyframeId(f"a/{n}"), np.array([np.cos(angle), np.sin(angle)], np.float32))
        if n < round_keyframes:
            continue
        size, new = len(chosen), cache.encoded - before
        if size not in work:
            work[size] = count(sizes, size, *SIZE_PX)
        all_new += work[size].window(size, size)
        done += work[size].window(new, min(size, 1 + config.checks))
        views, encoded = views + size, encoded + new
    keyframes = (rounds - 1) * round_keyframes
    return {
        "views": views / keyframes,
        "encoded": encoded / keyframes,
        "all_new_tflop": all_new / keyframes / 1e12,
        "tflop": done / keyframes / 1e12,
        "saved": 1 - done / all_new,
    }


def by_part(config: Literal["tiny", "1b"], views: list[int], size: tuple[int, int], threads: int) -> dict[str, object]:
    """Milliseconds by part on this machine's GPU, or its CPU where there is none."""
    from benchmarks.vggt.stopwatch import measure
    from mapping.engines.vggt.checkpoints.ready import device_of
    from mapping.engines.vggt.config import Config

    made = Config(weights="seeded", architecture=config, threads=threads)
    return {
        "config": config,
        "device": str(device_of(made)),
        "size": list(size),
        "windows": [_in_ms(asdict(times)) for times in measure(made, views, *size)],
    }


def _in_ms(times: dict[str, float]) -> dict[str, float]:
    return {
        f"{name[:-2]}_ms" if name.endswith("_s") else name: value * 1e3 if name.endswith("_s") else value
        for name, value in times.items()
    }
