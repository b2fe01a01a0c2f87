"""What lets windows be streamed: parts that do not know of each other may be computed apart."""

from __future__ import annotations

import pytest

from tests.mapping.engines.vggt.needs import needs_torch

needs_torch()

import torch  # noqa: E402

from benchmarks.vggt_probe import seeded_network, waves  # noqa: E402
from mapping.engines.vggt.model.architecture import TINY  # noqa: E402
from mapping.engines.vggt.model.vggt import Vggt  # noqa: E402

GRID = (3, 4)


@pytest.fixture(scope="module")
def network() -> Vggt:
    return seeded_network(TINY)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.from_numpy(waves(4, 42, 56))


@torch.inference_mode()
def test_images_are_encoded_alone_as_together(network: Vggt, images: torch.Tensor) -> None:
    alone = torch.cat([network.encode(image[None]) for image in images])
    torch.testing.assert_close(alone, network.encode(images), rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_windows_in_one_batch_do_not_know_of_each_other(network: Vggt, images: torch.Tensor) -> None:
    patches = network.encode(images)
    a, b = patches[:2], patches[2:]
    both = network.aggregate(torch.stack([a, b]), GRID)
    poses, depth = network.cameras(both), network.depth(both, GRID, last=2)
    for index, window in enumerate((a, b)):
        one = network.aggregate(window[None], GRID)
        torch.testing.assert_close(network.cameras(one)[:, 0], poses[:, index], rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(network.depth(one, GRID, last=2).z[0], depth.z[index], rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_depth_of_the_last_view_needs_no_other_and_groups_do_not_matter(network: Vggt, images: torch.Tensor) -> None:
    features = network.aggregate(network.encode(images)[None], GRID)
    all_at_once = network.depth(features, GRID, last=4)
    torch.testing.assert_close(network.depth(features, GRID, last=1).z, all_at_once.z[:, -1:], rtol=1e-4, atol=1e-5)
    by_three = network.depth(features, GRID, last=4, views_at_once=3)
    torch.testing.assert_close(by_three.confidence, all_at_once.confidence, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_only_layers_that_heads_read_are_kept(network: Vggt, images: torch.Tensor) -> None:
    features = network.aggregate(network.encode(images[:1])[None], GRID)
    assert tuple(features) == TINY.feature_layers
    assert features[0].shape == (1, 1, 5 + 12, 2 * TINY.width)


@torch.inference_mode()
def test_bfloat16_stays_near(network: Vggt, images: torch.Tensor) -> None:
    half = Vggt(TINY)
    half.load_state_dict({key: network.state_dict()[key] for key in half.state_dict()})
    half = half.to(torch.bfloat16).eval()
    exact = network.depth(network.aggregate(network.encode(images)[None], GRID), GRID, last=1)
    rough = half.depth(half.aggregate(half.encode(images)[None], GRID), GRID, last=1)
    assert rough.z.dtype == torch.float32
    assert float(((rough.z - exact.z) / exact.z).abs().median()) < 0.02


def test_heads_that_were_not_made_say_so() -> None:
    lean = Vggt(TINY)
    with pytest.raises(ValueError, match="point head"):
        lean.points({}, GRID, last=1)
    with pytest.raises(ValueError, match="track head"):
        lean.tracks({}, GRID, torch.zeros(1, 2))
