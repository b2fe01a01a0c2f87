"""One clip cut into several phones, each with a lens, a clock and a notion of its focal length of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from benchmarks.clips import Clip
from benchmarks.evaluation.phone import Phone
from streams.frame import StreamId

Cut = Literal["pieces", "interleaved"]
CUTS: tuple[Cut, ...] = ("pieces", "interleaved")
_NARROWEST = 0.88
_MAX_FOCAL_ERROR = 0.01
_MAX_CLOCK_OFFSET_S = 3.0


def pieces(clip: Clip, count: int, overlap: float = 0.5) -> list[Phone]:
    """Phones that film consecutive pieces at the same time; neighbours share `overlap` of a piece's own length."""
    own = len(clip.images) / count
    spans = [(max(0, round((i - overlap / 2) * own)), round((i + 1 + overlap / 2) * own)) for i in range(count)]
    return [_phone(clip, i, range(begin, min(end, len(clip.images)))) for i, (begin, end) in enumerate(spans)]


def interleaved(clip: Clip, count: int) -> list[Phone]:
    """Phones side by side: each films every `count`-th frame, all of them the whole walk."""
    phones = [_phone(clip, i, range(i, len(clip.images), count)) for i in range(count)]
    return [replace(phone, starts_s=i / clip.fps) for i, phone in enumerate(phones)]


def cut(clip: Clip, how: Cut, count: int) -> list[Phone]:
    """The phones of one way of cutting."""
    return pieces(clip, count) if how == "pieces" else interleaved(clip, count)


def jittered(phones: Sequence[Phone], seed: int) -> list[Phone]:
    """The same phones with lenses up to 12 % narrower, focal lengths stated 1 % wrong and clocks up to 3 s off."""
    rng = np.random.default_rng(seed)
    return [
        replace(
            phone,
            zoom=float(rng.uniform(_NARROWEST, 1.0)),
            focal_error=float(rng.uniform(-_MAX_FOCAL_ERROR, _MAX_FOCAL_ERROR)),
            clock_offset_s=float(rng.uniform(-_MAX_CLOCK_OFFSET_S, _MAX_CLOCK_OFFSET_S)),
        )
        for phone in phones
    ]


def _phone(clip: Clip, index: int, frames: Sequence[int]) -> Phone:
    return Phone(StreamId(f"{clip.name}-{index}"), clip, tuple(frames))
