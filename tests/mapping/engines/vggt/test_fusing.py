"""One kernel in the place of many: only if it can be had and says the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.mapping.engines.vggt.needs import needs_torch

needs_torch()

import torch  # noqa: E402

from mapping.engines.vggt.fusing import fuse  # noqa: E402
from mapping.engines.vggt.model.layers import Block, Steps, added, normed, turned  # noqa: E402
from mapping.engines.vggt.model.rotary import rotation_of  # noqa: E402


def traced(function: Callable[..., Any], dynamic: bool) -> Callable[..., Any]:
    """The compiler's front alone: it fails on whatever could not become one kernel."""
    compiled: Callable[..., Any] = torch.compile(function, dynamic=dynamic, backend="eager", fullgraph=True)
    return compiled


def none_there(function: Callable[..., Any], dynamic: bool) -> Callable[..., Any]:
    raise RuntimeError("no compiler here\nand a long story")


def wrong(function: Callable[..., Any], dynamic: bool) -> Callable[..., Any]:
    return lambda *args: 1.1 * function(*args)


def steps(network: torch.nn.Module) -> set[Steps]:
    return {module.steps for module in network.modules() if isinstance(module, Block)}


def test_what_is_compiled_is_one_graph_each_and_says_the_same() -> None:
    torch.manual_seed(0)
    block = Block(128, 2, norm_queries=True).requires_grad_(False)
    rotation = rotation_of((3, 4), 64, torch.device("cpu"))
    stream = torch.randn(2, len(rotation.cos), 128)
    with torch.inference_mode():
        before = block(stream, rotation)
        assert fuse(block, traced)
        (fused,) = steps(block)
        assert {fused.normed, fused.turned, fused.added}.isdisjoint({normed, turned, added})
        torch.testing.assert_close(block(stream, rotation), before, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("compiled", "says"), [(none_there, "no compiler here"), (wrong, "say something else: added, normed, turned")]
)
def test_without_a_kernel_that_is_right_all_stays_as_it_was(
    compiled: Callable[..., Any], says: str, caplog: pytest.LogCaptureFixture
) -> None:
    block = Block(64, 1, norm_queries=True)
    assert not fuse(block, compiled)
    assert steps(block) == {Steps()}
    assert says in caplog.text
    assert "long story" not in caplog.text


@pytest.mark.parametrize(("digits", "is_right"), [(1, True), (3, False)])
def test_the_last_digit_of_short_numbers_may_differ_and_no_more(digits: int, is_right: bool) -> None:
    block = Block(64, 1, norm_queries=True)
    block.mlp.to(torch.bfloat16)

    def moved(function: Callable[..., Any], dynamic: bool) -> Callable[..., Any]:
        def run(*args: Any) -> torch.Tensor:
            out: torch.Tensor = function(*args)
            return (out.view(torch.int16) + digits).view(torch.bfloat16) if out.dtype == torch.bfloat16 else out

        return run

    assert fuse(block, moved) is is_right
