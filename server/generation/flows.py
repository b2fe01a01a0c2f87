"""What the two generations of TRELLIS have in common: how their pipelines are watched, and their code is found."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from server.generation import blocks
from server.generation.provider import Context


@contextlib.contextmanager
def watched(pipeline: Any, context: Context, stage_by_method: Mapping[str, str], steps: int) -> Iterator[None]:
    """Park between all blocks of a pipeline's networks while the context lasts; tell stages and steps.

    Args:
        pipeline: its networks are in `models`, its samplers are the attributes that have a method `sample_once`.
        stage_by_method: the pipeline's own methods, and the stages that begin with them.
        steps: that each sampler takes.
    """
    with contextlib.ExitStack() as stack:
        parts = [part for model in pipeline.models.values() for part in _blocks_of(model)]
        stack.enter_context(blocks.parking(parts, context))
        for method, stage in stage_by_method.items():
            if hasattr(pipeline, method):
                stack.enter_context(blocks.staged(pipeline, method, partial(context.stage, stage)))
        for sampler in [one for one in vars(pipeline).values() if hasattr(one, "sample_once")]:
            stack.enter_context(blocks.counted(sampler, "sample_once", context, lambda: steps))
        yield


def use_checkout() -> Path:
    """Make the code beside this environment's packages importable: where `providers doctor` says it has to lie."""
    folder = Path(sys.prefix) / "code"
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    return folder


def _blocks_of(model: Any) -> list[Any]:
    """The parts of a network that follow each other; decoders have lists of them within lists."""
    found = []
    for part in getattr(model, "blocks", ()):
        found += list(part) if type(part).__name__ == "ModuleList" else [part]
    return found
