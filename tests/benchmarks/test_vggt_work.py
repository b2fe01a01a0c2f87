"""What streaming saves, counted on the full network without its weights."""

from __future__ import annotations

import pytest

from tests.mapping.engines.vggt.needs import needs_torch

needs_torch()

from benchmarks.vggt.stopwatch import measure  # noqa: E402
from benchmarks.vggt.work import Work, count  # noqa: E402
from mapping.engines.vggt.config import Config  # noqa: E402
from mapping.engines.vggt.model.architecture import TINY, VGGT_1B  # noqa: E402


@pytest.fixture(scope="module")
def sixteen() -> Work:
    """Tensors on the meta device have no values: a pass that asked for one, and so waited for a GPU, would fail."""
    return count(VGGT_1B, 16, 392, 518)


def test_a_rolling_window_saves_the_encoder_of_all_but_one_view(sixteen: Work) -> None:
    all_new = sixteen.window(encoded=16, depths=16)
    assert 1 - sixteen.window(encoded=1, depths=16) / all_new > 0.15
    assert 1 - sixteen.window(encoded=1, depths=1) / all_new > 0.2


def test_features_of_four_layers_are_a_sixth_of_all(sixteen: Work) -> None:
    assert sixteen.all_layers_bytes_view / sixteen.feature_bytes_view == 6
    assert sixteen.feature_bytes_view == 4 * 2 * (28 * 37 + 5) * 2048


def test_attention_across_views_grows_faster_than_the_window(sixteen: Work) -> None:
    eight = count(VGGT_1B, 8, 392, 518)
    assert eight.encode_view == sixteen.encode_view
    assert sixteen.aggregate > 2.3 * eight.aggregate


def test_counting_agrees_with_the_textbook() -> None:
    """Linear layers of a block: 12 width^2 multiply-adds a token; attention: 2 tokens^2 width."""
    work = count(TINY, 1, 42, 56)
    tokens, width = 5 + 12, TINY.width
    block = 2 * (12 * width**2 * tokens + 2 * tokens**2 * width)
    assert work.aggregate == 2 * TINY.depth * block


def test_every_part_takes_time() -> None:
    config = Config(weights="seeded", architecture="tiny", device="cpu", threads=1)
    (times,) = measure(config, [2], 42, 56, repeats=1)
    assert min(times.encode_view_s, times.aggregate_s, times.cameras_s, times.depth_view_s) > 0
    assert times.peak_bytes is None
