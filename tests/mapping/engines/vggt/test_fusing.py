"""One kernel in the place of many: only if it can be had and says the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.mapping.engines.vggt.needs import needs_torch

needs_torch()

import torch  # noqa: E402

from benchmarks.vggt_probe import seeded_network  # noqa: E402
from mapping.engines.vggt.fusing import fuse  # noqa: E402
from mapping.engines.vggt.model.architecture import TINY  # noqa: E402
from mapping.engines.vggt.model.layers import Attention, turned  # noqa: E402
from mapping.engines.vggt.model.vggt import Vggt  # noqa: E402


def traced(function: Callable[..., Any], dynamic: bool) -> Callable[..., Any]:
    """The compiler's front alone: it fails on whatever could not become one kernel."""
    compiled: Callable[..., Any] = torch.compile(function, dynamic=dynamic, backend="eager", fullgraph=True)
    return compiled


def none_there(function: Callable[..., Any], dynamic: bool) -> Callable[..., Any]:
    raise RuntimeError("no compiler here\nand a long story")


def wrong(function: Callable[..., Any], dynamic: bool) -> Callable[..., Any]:
    return lambda *args: 1.1 * function(*args)


def turns(network: Vggt) -> set[Any]:
    return {module.turn for module in network.modules() if isinstance(module, Attention)}


def test_what_is_compiled_is_one_graph_and_says_the_same() -> None:
    network = seeded_network(TINY).requires_grad_(False)
    image = torch.rand(2, 3, 42, 56, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        before = network.aggregate(network.encode(image)[None], (3, 4))
        assert fuse(network, traced)
        assert turned not in turns(network)
        after = network.aggregate(network.encode(image)[None], (3, 4))
    for layer, features in before.items():
        torch.testing.assert_close(after[layer], features, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("compiled", "says"), [(none_there, "no compiler here"), (wrong, "off by")])
def test_without_a_kernel_that_is_right_all_stays_as_it_was(
    compiled: Callable[..., Any], says: str, caplog: pytest.LogCaptureFixture
) -> None:
    with torch.device("meta"):
        network = Vggt(TINY)
    small = torch.nn.ModuleList([torch.nn.Linear(1, 1), Attention(64, 1, norm_queries=True)])
    assert not fuse(small, compiled)
    assert turns(network) == {turned}
    assert isinstance(small[1], Attention)
    assert small[1].turn is turned
    assert says in caplog.text
    assert "long story" not in caplog.text
