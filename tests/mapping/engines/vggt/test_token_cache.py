"""The cache of patch tokens: bounded, least recently used first out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.mapping.engines.vggt.needs import needs_torch

needs_torch()

import torch  # noqa: E402

from mapping.changes import KeyframeId  # noqa: E402
from mapping.engines import View  # noqa: E402
from mapping.engines.vggt.canvas import arrange  # noqa: E402
from mapping.engines.vggt.token_cache import Key, TokenCache  # noqa: E402
from streams.frame import Intrinsics  # noqa: E402

PLACE = arrange([(480, 640)], 518)[0]
BYTES = 4 * 2 * 4


def key(n: int) -> Key:
    return Key(KeyframeId(f"phone/{n}"), 0, PLACE)


def ask(cache: TokenCache, *numbers: int) -> list[int]:
    """Which of the keys had to be encoded; checks that each got tokens of its own."""
    asked: list[int] = []

    def encode(indices: list[int]) -> torch.Tensor:
        asked.extend(numbers[n] for n in indices)
        return torch.stack([torch.full((4, 2), float(numbers[n])) for n in indices])

    tokens = cache.all([key(n) for n in numbers], encode)
    assert tokens[:, 0, 0].tolist() == list(numbers)
    return asked


def test_only_what_is_not_held_is_encoded_and_the_least_recently_used_goes() -> None:
    cache = TokenCache(3 * BYTES)
    assert ask(cache, 0, 1, 2) == [0, 1, 2]
    assert ask(cache, 2, 0) == []
    assert ask(cache, 3) == [3]
    assert cache.held_bytes == 3 * BYTES
    assert ask(cache, 0, 2, 3) == []
    assert ask(cache, 1) == [1]
    assert (cache.encoded, cache.reused) == (5, 5)


def test_a_window_larger_than_the_cache_is_still_answered() -> None:
    cache = TokenCache(BYTES)
    assert ask(cache, 0, 1, 2) == [0, 1, 2]
    assert cache.held_bytes <= BYTES
    assert ask(TokenCache(0), 4, 4) == [4, 4]


def test_one_pixel_makes_another_picture() -> None:
    view = View(KeyframeId("s/1"), np.zeros((48, 64, 3), np.uint8), None)
    other = view.rgb.copy()
    other[7, 33, 1] = 1
    assert Key.of(replace(view, rgb=other), PLACE) != Key.of(view, PLACE)


def test_a_key_knows_its_picture_its_place_and_its_lens() -> None:
    black, white = np.zeros((48, 64, 3), np.uint8), np.ones((48, 64, 3), np.uint8)
    tall = arrange([(480, 640), (640, 480)], 518)[0]
    plain = View(KeyframeId("s/1"), black, Intrinsics.from_fov(64, 48))
    bent = replace(plain, intrinsics=Intrinsics(50.0, 50.0, 32.0, 24.0, 64, 48, -0.1))
    views = [(plain, PLACE), (replace(plain, rgb=white), PLACE), (plain, tall), (bent, PLACE)]
    assert len({Key.of(*view) for view in views}) == 4
    assert Key.of(replace(plain, rgb=black.copy(), intrinsics=None), PLACE) == Key.of(plain, PLACE)
