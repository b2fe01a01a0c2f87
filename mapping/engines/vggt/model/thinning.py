"""Fewer tokens to look at in long windows: every view still asks about all of its patches, but only some answer.

Training-free, as token merging (Bolya et al. 2023) and its use on this network are; the simplest of its kind: what
answers is chosen by place alone, so nothing is computed to choose it.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from mapping.engines.vggt.model.architecture import SPECIAL_TOKENS


@cache
@torch.inference_mode(False)
def answering(views: int, grid: tuple[int, int], every: int, device: torch.device) -> Tensor:
    """Indices (n,) into the tokens of all views: every special token, all of the first view, every n-th patch else.

    The chosen patches lie on diagonals, which move on from view to view, so that what one view leaves out another has.
    Kept for ever: a recorded pass reads it where it lies.
    """
    rows, columns = grid
    diagonal = (torch.arange(rows)[:, None] + torch.arange(columns)).reshape(-1)
    kept = torch.ones(views, SPECIAL_TOKENS + rows * columns, dtype=torch.bool)
    shift = torch.arange(1, views)[:, None]
    kept[1:, SPECIAL_TOKENS:] = (diagonal + shift) % every == 0
    return kept.reshape(-1).nonzero()[:, 0].to(device)
