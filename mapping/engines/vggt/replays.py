"""Work whose shapes come again is recorded once and replayed: a GPU is then not kept waiting for its next order."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable

import torch
from torch import Tensor

Run = Callable[..., tuple[Tensor, ...]]
Capture = Callable[[Run, tuple[Tensor, ...]], Run]
"""Records what a function does with inputs of these shapes; the result does the same with others of the same shapes."""

_WARM_UP_RUNS = 2

_log = logging.getLogger(__name__)


class Replays:
    """Runs functions of tensors, replaying those that were called with the same key before.

    A key stands for one function with inputs of one shape. It is recorded when it comes for the second time, or at once
    while warming up; what cannot be recorded is run as it is ever after.
    """

    def __init__(self, capture: Capture | None, capacity: int) -> None:
        """Without `capture` everything is run as it is. At most `capacity` recordings, the least recently used go."""
        self._capture, self._capacity = capture, capacity
        self._recorded: OrderedDict[Hashable, Run] = OrderedDict()
        self._seen: set[Hashable] = set()
        self._refused: set[Hashable] = set()
        self.is_warming = False
        self.replayed = 0

    def __len__(self) -> int:
        return len(self._recorded)

    def __call__(self, key: Hashable, run: Run, *inputs: Tensor) -> tuple[Tensor, ...]:
        """What `run(*inputs)` gives: tensors of their own, which no later call touches."""
        if self._capture is None or not self._capacity or key in self._refused:
            return run(*inputs)
        if key not in self._recorded and not self._record(key, run, inputs):
            return run(*inputs)
        self._recorded.move_to_end(key)
        self.replayed += 1
        return tuple(out.clone() for out in self._recorded[key](*inputs))

    def clear(self) -> None:
        """Let go of every recording and its memory."""
        self._recorded.clear()

    def _record(self, key: Hashable, run: Run, inputs: tuple[Tensor, ...]) -> bool:
        if key not in self._seen and not self.is_warming:
            self._seen.add(key)
            return False
        assert self._capture is not None
        try:
            self._recorded[key] = self._capture(run, inputs)
        except (RuntimeError, torch.OutOfMemoryError) as error:
            _log.warning("%s is not replayed but run step by step: %s", key, str(error).splitlines()[0])
            self._refused.add(key)
            return False
        while len(self._recorded) > self._capacity:
            self._recorded.popitem(last=False)
        return True


def cuda_graphs(device: torch.device) -> Capture:
    """Recordings as CUDA graphs. They share memory, so they are replayed one after the other, never side by side."""
    pool = torch.cuda.graph_pool_handle()

    def capture(run: Run, inputs: tuple[Tensor, ...]) -> Run:
        held = tuple(x.clone() for x in inputs)
        aside = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UP_RUNS):
                run(*held)
        torch.cuda.current_stream(device).wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool):
            out = run(*held)

        def replay(*fresh: Tensor) -> tuple[Tensor, ...]:
            for mine, theirs in zip(held, fresh, strict=True):
                mine.copy_(theirs)
            graph.replay()
            return out

        return replay

    return capture
