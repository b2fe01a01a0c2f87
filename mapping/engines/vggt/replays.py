"""Work whose shapes come again is recorded once and replayed: a GPU is then not kept waiting for its next order."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor

Run = Callable[..., tuple[Tensor, ...]]

_MAX_SEEN = 256

_log = logging.getLogger(__name__)


class Recorder(Protocol):
    """Records what functions do with inputs of some shapes; all recordings share its memory."""

    @property
    def held_bytes(self) -> int:
        """Of the device, that recordings work in: nobody else can use them."""
        ...

    def __call__(self, run: Run, inputs: tuple[Tensor, ...]) -> Run:
        """What does the same with other inputs of the same shapes. Its answers are overwritten by the next one's."""
        ...


class Replays:
    """Runs functions of tensors, replaying those that were called with the same key before.

    A key stands for one function with inputs of one shape. It is recorded when it comes for the second time, or at once
    while warming up; what cannot be recorded is run as it is ever after, what finds no memory until some is given back.
    """

    def __init__(self, recorder: Callable[[], Recorder] | None, capacity: int) -> None:
        """Without `recorder` everything is run as it is. At most `capacity` recordings, the least recently used go."""
        self._new_recorder, self._capacity = recorder if capacity else None, capacity
        self._recorder: Recorder | None = None
        self._recorded: OrderedDict[Hashable, Run] = OrderedDict()
        self._seen: set[Hashable] = set()
        self._refused: set[Hashable] = set()
        self._too_large: set[Hashable] = set()
        self._is_warming = False
        self.replayed = 0

    def __len__(self) -> int:
        return len(self._recorded)

    def __contains__(self, key: Hashable) -> bool:
        """Whether it would be replayed, which takes no more memory."""
        return key in self._recorded

    @property
    def held_bytes(self) -> int:
        return self._recorder.held_bytes if self._recorder is not None and self._recorded else 0

    def __call__(self, key: Hashable, run: Run, *inputs: Tensor) -> tuple[Tensor, ...]:
        """What `run(*inputs)` gives: tensors of their own, which no later call touches."""
        if key not in self._recorded and not (self._is_due(key) and self._record(key, run, inputs)):
            return run(*inputs)
        self._recorded.move_to_end(key)
        self.replayed += 1
        return tuple(out.clone() for out in self._recorded[key](*inputs))

    @contextmanager
    def warming(self) -> Iterator[None]:
        """Inside, whatever comes is recorded at once."""
        self._is_warming = True
        try:
            yield
        finally:
            self._is_warming = False

    def clear(self) -> None:
        """Let go of every recording and its memory."""
        self._recorded.clear()
        self._recorder = None
        self._too_large.clear()

    def _is_due(self, key: Hashable) -> bool:
        """Whether a key has to be recorded now."""
        if self._new_recorder is None or key in self._refused or key in self._too_large:
            return False
        if self._is_warming or key in self._seen:
            return True
        if len(self._seen) >= _MAX_SEEN:
            self._seen.clear()
        self._seen.add(key)
        return False

    def _record(self, key: Hashable, run: Run, inputs: tuple[Tensor, ...]) -> bool:
        assert self._new_recorder is not None
        if self._recorder is None or not self._recorded:  # CUDA lets nobody record where no recording is left
            self._recorder = self._new_recorder()
        try:
            self._recorded[key] = self._recorder(run, inputs)
        except RuntimeError as error:
            (self._too_large if _is_for_memory(error) else self._refused).add(key)
            _log.warning("%s is not replayed but run step by step: %s", key, (str(error).splitlines() or [""])[0])
            return False
        while len(self._recorded) > self._capacity:
            gone, _ = self._recorded.popitem(last=False)
            self._seen.discard(gone)
        return True


class CudaGraphs:
    """Recordings as CUDA graphs. They share memory, so they are replayed one after the other, never side by side."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._pool = device, torch.cuda.graph_pool_handle()
        self.held_bytes = 0

    def __call__(self, run: Run, inputs: tuple[Tensor, ...]) -> Run:
        held = tuple(x.clone() for x in inputs)
        current, aside = torch.cuda.current_stream(self._device), torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        aside.wait_stream(current)
        with torch.cuda.stream(aside):
            run(*held)  # compiles kernels, makes tables and workspaces: none of that can be recorded
        current.wait_stream(aside)
        torch.cuda.empty_cache()
        before = torch.cuda.memory_reserved(self._device)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=aside, capture_error_mode="thread_local"):
            out = run(*held)
        self.held_bytes += torch.cuda.memory_reserved(self._device) - before

        def replay(*fresh: Tensor) -> tuple[Tensor, ...]:
            for mine, theirs in zip(held, fresh, strict=True):
                mine.copy_(theirs)
            graph.replay()
            return out

        return replay


def _is_for_memory(error: BaseException | None) -> bool:
    """Whether memory ran out; ending a broken recording may have raised something else over it."""
    return error is not None and (isinstance(error, torch.OutOfMemoryError) or _is_for_memory(error.__context__))
