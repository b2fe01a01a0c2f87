"""What lets windows be streamed: parts that do not know of each other may be computed apart."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from tests.mapping.engines.vggt.needs import needs_torch

needs_torch()

import torch  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from benchmarks.vggt.probe import seeded_network, waves  # noqa: E402
from mapping.engines.vggt.model.architecture import TINY  # noqa: E402
from mapping.engines.vggt.model.embeddings import add_places  # noqa: E402
from mapping.engines.vggt.model.precision import interleave, shorten, whole_float32  # noqa: E402
from mapping.engines.vggt.model.rotary import rotation_of  # noqa: E402
from mapping.engines.vggt.model.thinning import answering  # noqa: E402
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
    assert tuple(features.layers) == TINY.feature_layers
    assert features.layers[0].shape == (1, 1, 5 + 12, 2 * TINY.width)


@pytest.fixture(scope="module")
def calm(network: Vggt) -> Vggt:
    """Blocks that change little, as those of a trained network: its factors begin at 0.01. Those of seeded weights are
    near 1, and each layer makes several of one rounding."""
    calmed = deepcopy(network)
    with torch.no_grad():
        for name, weight in calmed.state_dict().items():
            if name.endswith("gamma") and not name.startswith("aggregator.patch_embed"):
                weight *= 0.01
    return calmed


def shortened(network: Vggt) -> Vggt:
    short = Vggt(TINY).eval().requires_grad_(False)
    short.load_state_dict({key: network.state_dict()[key] for key in short.state_dict()})
    shorten(short, torch.bfloat16)
    return short


@torch.inference_mode()
def test_bfloat16_stays_near(calm: Vggt, images: torch.Tensor) -> None:
    """Poses within 1e-3; depth, whose heads are short, too, to half a percent in nine pixels of ten."""
    short = shortened(calm)
    exact, rough = (n.aggregate(n.encode(images)[None], GRID) for n in (calm, short))
    z, rough_z = calm.depth(exact, GRID, last=4).z, short.depth(rough, GRID, last=4).z
    off = ((rough_z - z).abs() / z).flatten()
    poses = (calm.cameras(exact) - short.cameras(rough))[-1].abs()
    assert float(poses.max()) < 1e-3
    assert float(off.quantile(0.9)) < 5e-3
    assert float(off.quantile(0.99)) < 1e-2


@torch.inference_mode()
def test_what_adds_up_or_shows_is_float32(network: Vggt, images: torch.Tensor) -> None:
    short = shortened(network)
    features = short.aggregate(short.encode(images)[None], GRID)
    assert {x.dtype for x in features.layers.values()} == {torch.bfloat16}, "what is kept is short"
    assert features.cameras.dtype == torch.float32
    assert {p.dtype for p in short.camera_head.parameters()} == {torch.float32}
    depth = short.depth(features, GRID, last=1)
    assert depth.z.dtype == torch.float32
    logits = depth.z.log()
    assert not torch.equal(logits, logits.to(torch.bfloat16).float()), "depth is the exponential of a whole float32"
    stream = []
    short.aggregator.frame_blocks[0].register_forward_hook(lambda block, given, out: stream.append(out.dtype))
    short.aggregate(short.encode(images)[None], GRID)
    assert stream == [torch.float32]


@torch.inference_mode()
def test_interleaved_heads_say_the_same_and_stay_interleaved(network: Vggt, images: torch.Tensor) -> None:
    features = network.aggregate(network.encode(images)[None], GRID)
    expected = network.depth(features, GRID, last=2).z
    other = Vggt(TINY).eval().requires_grad_(False)
    other.load_state_dict({key: network.state_dict()[key] for key in other.state_dict()})
    interleave(other)
    layouts = []
    for module in other.depth_head.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_pre_hook(lambda _, given: layouts.append(is_interleaved(given[0])))
    torch.testing.assert_close(other.depth(features, GRID, last=2).z, expected, rtol=1e-4, atol=1e-5)
    assert layouts
    assert all(layouts), "nothing is laid out anew on the way"


def is_interleaved(x: torch.Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last)


def test_float32_is_whole_only_inside() -> None:
    before = torch.backends.cudnn.allow_tf32
    with whole_float32():
        assert not torch.backends.cudnn.allow_tf32
        assert not torch.backends.cuda.matmul.allow_tf32
    assert torch.backends.cudnn.allow_tf32 == before


def test_tables_that_recordings_read_are_never_freed() -> None:
    """A recorded pass holds addresses, so a table must stay where it is however many other shapes come."""
    device = torch.device("cpu")

    def tables() -> list[int]:
        x = torch.zeros(1, 8, 3, 4)
        with Calls() as calls:
            add_places(x, 4 / 3)
        rotation, indices = rotation_of((3, 4), 64, device), answering(3, (3, 4), 2, device)
        return [*calls.added, rotation.cos.data_ptr(), rotation.sin.data_ptr(), indices.data_ptr()]

    before = tables()
    assert len(before) == 5
    for n in range(5, 105):
        rotation_of((n, 2), 64, device)
        answering(3, (n, 2), 2, device)
        add_places(torch.zeros(1, 8, n, 2), 2 / n)
    assert tables() == before


class Calls(TorchDispatchMode):
    """Notes where what is added lies."""

    def __init__(self) -> None:
        super().__init__()
        self.added: list[int] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__ == "add_":
            self.added.append(args[1].untyped_storage().data_ptr())
        return func(*args, **(kwargs or {}))


def test_heads_that_were_not_made_say_so() -> None:
    lean = Vggt(TINY)
    with pytest.raises(ValueError, match="point head"):
        lean.points({}, GRID, last=1)
    with pytest.raises(ValueError, match="track head"):
        lean.tracks({}, GRID, torch.zeros(1, 2))
