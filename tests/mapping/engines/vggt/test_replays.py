"""What a GPU repeats is recorded: when, what of it is forgotten, and that nothing in a pass waits for the device."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from tests.mapping.engines.vggt.needs import needs_torch

needs_torch()

import torch  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils._pytree import tree_leaves  # noqa: E402

from benchmarks.vggt.parts import tiny_plan  # noqa: E402
from benchmarks.vggt.probe import seeded_network  # noqa: E402
from benchmarks.vggt.random import random_network  # noqa: E402
from mapping.engines.vggt.canvas import arrange  # noqa: E402
from mapping.engines.vggt.checkpoints.ready import blank  # noqa: E402
from mapping.engines.vggt.config import Config  # noqa: E402
from mapping.engines.vggt.model.architecture import TINY  # noqa: E402
from mapping.engines.vggt.passes import Passes, Shape  # noqa: E402
from mapping.engines.vggt.pixels import on_canvas  # noqa: E402
from mapping.engines.vggt.replays import Replays, Run  # noqa: E402
from mapping.engines.vggt.transfers import Transfers  # noqa: E402

GRID = (5, 7)


def double(x: Tensor) -> tuple[Tensor, ...]:
    return (2 * x,)


class Graphs:
    """Stands in for CUDA graphs: a recording writes into one output, and a memory all of whose recordings are gone
    takes no more of them, as theirs do."""

    def __init__(self) -> None:
        self.memories: list[Memory] = []
        self.fails: list[RuntimeError] = []

    def __call__(self) -> Memory:
        self.memories.append(Memory(self))
        return self.memories[-1]

    @property
    def recorded(self) -> int:
        return sum(memory.recorded for memory in self.memories)


class Memory:
    def __init__(self, graphs: Graphs) -> None:
        self._graphs = graphs
        self._alive: weakref.WeakSet[Any] = weakref.WeakSet()
        self.recorded = self.held_bytes = 0
        self._was_used = False

    def __call__(self, run: Run, inputs: tuple[Tensor, ...]) -> Run:
        assert not self._was_used or self._alive, "this memory is gone"
        self._was_used = True
        if self._graphs.fails:
            raise self._graphs.fails.pop()
        self.recorded += 1
        self.held_bytes += 100
        (out,) = run(*inputs)

        def replay(*fresh: Tensor) -> tuple[Tensor, ...]:
            out.copy_(run(*fresh)[0])
            return (out,)

        self._alive.add(replay)
        return replay


def test_what_comes_again_is_recorded_and_answers_are_the_callers_own() -> None:
    graphs = Graphs()
    replays = Replays(graphs, 4)
    answers = [replays("a", double, torch.full((2,), float(n)))[0] for n in range(4)]
    assert (graphs.recorded, replays.replayed) == (1, 3), "the first is run as it is, the second recorded"
    assert [answer[0].item() for answer in answers] == [0, 2, 4, 6]
    assert "a" in replays
    with replays.warming():
        replays("b", double, torch.ones(3))
    assert graphs.recorded == 2, "at once, while warming up"
    assert replays.held_bytes == 200


def test_the_least_recently_used_recording_goes_and_has_to_come_twice_again() -> None:
    graphs = Graphs()
    replays = Replays(graphs, 2)
    for key in "aabbabbaccb":
        replays(key, double, torch.ones(1))
    assert len(replays) == 2
    assert graphs.recorded == 3
    assert "b" not in replays, "one more look at what was dropped is not worth a recording"
    replays("b", double, torch.ones(1))
    assert "b" in replays


def test_what_cannot_be_recorded_is_run_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    graphs = Graphs()
    graphs.fails = [RuntimeError("operation not permitted when stream is capturing\nand more")]
    replays = Replays(graphs, 2)
    for n in range(4):
        assert replays("a", double, torch.full((1,), float(n)))[0].item() == 2 * n
    replays.clear()
    replays("a", double, torch.ones(1))
    assert graphs.recorded == 0, "never"
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "run step by step: operation not permitted" in caplog.text
    assert "and more" not in caplog.text


def out_of_memory_while_recording() -> RuntimeError:
    """What comes out of a recording that is ended because memory ran out."""
    try:
        try:
            raise torch.OutOfMemoryError("no room")
        finally:
            raise RuntimeError("the recording was invalidated")
    except RuntimeError as error:
        return error


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("no room"), out_of_memory_while_recording()])
def test_what_found_no_memory_is_recorded_once_memory_was_given_back(error: RuntimeError) -> None:
    graphs = Graphs()
    graphs.fails = [error]
    replays = Replays(graphs, 2)
    for _ in range(3):
        assert replays("a", double, torch.ones(1))[0].item() == 2
    assert graphs.recorded == 0
    replays.clear()
    replays("a", double, torch.ones(1))
    assert "a" in replays
    assert len(graphs.memories) == 2, "the broken recording's memory is not recorded into again"


def test_memory_of_recordings_that_are_all_gone_is_not_used_again() -> None:
    graphs = Graphs()
    replays = Replays(graphs, 2)
    for _ in range(3):
        with replays.warming():
            replays("a", double, torch.ones(1))
        assert replays.held_bytes == 100
        replays.clear()
        assert replays.held_bytes == 0
    assert len(graphs.memories) == 3


@pytest.mark.parametrize("replays", [Replays(None, 2), Replays(Graphs(), 0)])
def test_without_a_way_or_room_to_record_everything_is_run(replays: Replays) -> None:
    for _ in range(3):
        replays("a", double, torch.ones(1))
    assert (len(replays), replays.replayed) == (0, 0)


def test_transfers_copy() -> None:
    transfers = Transfers(torch.device("cpu"))
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    pixels.flags.writeable = False
    (there,) = transfers.up([pixels])
    there += 1
    assert pixels[0, 0, 0] == 0
    (back,) = transfers.down([there])
    np.testing.assert_array_equal(back, pixels + 1)


class Cuda:
    """Stands in for `torch.cuda`: notes what the host asks of the device, and where it waits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.log: list[str] = []
        self._current = "work"
        empty, copy = torch.empty, Tensor.to

        def pinned(*args: Any, pin_memory: bool, **settings: Any) -> Tensor:
            assert pin_memory, "other memory makes the host wait for each copy"
            return empty(*args, **settings)

        def copied(tensor: Tensor, *args: Any, **settings: Any) -> Tensor:
            self.log.append(f"copy on {self._current}")
            return copy(tensor, *args, **settings)

        monkeypatch.setattr(torch, "empty", pinned)
        monkeypatch.setattr(Tensor, "to", copied)
        monkeypatch.setattr(Tensor, "record_stream", lambda tensor, stream: self.log.append(f"kept for {stream}"))
        monkeypatch.setattr(torch.cuda, "Stream", lambda device: "copies")
        monkeypatch.setattr(torch.cuda, "stream", self.on)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda device: self)
        monkeypatch.setattr(torch.cuda, "Event", lambda: self)

    def __str__(self) -> str:
        return self._current

    @contextmanager
    def on(self, stream: str) -> Iterator[None]:
        self._current = stream
        yield
        self._current = "work"

    def wait_stream(self, stream: str) -> None:
        self.log.append(f"{self._current} after {stream}")

    def record(self, stream: object) -> None:
        self.log.append("mark")

    def synchronize(self) -> None:
        self.log.append("wait")


def test_pictures_go_up_on_a_stream_of_their_own_and_the_host_waits_once_an_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cuda = Cuda(monkeypatch)
    transfers = Transfers(torch.device("cuda"))
    transfers.device = torch.device("cpu")
    there = transfers.up([np.full((2, 2, 3), n, np.uint8) for n in range(2)])
    assert cuda.log == ["copy on copies", "copy on copies", "work after copies", "kept for work", "kept for work"]
    cuda.log.clear()
    back = transfers.down(there)
    assert [int(array[0, 0, 0]) for array in back] == [0, 1]
    assert cuda.log == ["mark", "wait"]


# -- nothing waits -----------------------------------------------------------------------------------------------------


class Watch(TorchDispatchMode):
    """Notes operators that a GPU's host would have to wait for, and those that bring numbers from the host."""

    WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "is_nonzero", "equal")

    def __init__(self) -> None:
        super().__init__()
        self.waited: list[str] = []
        self.crossed: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = func.overloadpacket.__name__
        if name.startswith(self.WAITS):
            self.waited.append(name)
        out = func(*args, **(kwargs or {}))
        devices = {x.device.type for x in tree_leaves((args, kwargs, out)) if isinstance(x, Tensor) and x.dim()}
        if len(devices) > 1:
            self.crossed.append(name)
        return out


def passes_of(every: int) -> tuple[Callable[[], object], Callable[[], object]]:
    """Both passes on a device that has no numbers: reading one fails, and what comes from the host shows."""
    network = blank(TINY, torch.device("meta"), torch.bfloat16)
    with torch.device("meta"):
        images = torch.empty(1, 3, 14 * GRID[0], 14 * GRID[1])
        patches = torch.empty(2, 3, GRID[0] * GRID[1], TINY.width, dtype=torch.bfloat16)
    passes = Passes(network, Config(thin_above=None if every == 1 else 2, thin_every=max(every, 2)))
    return lambda: passes._encode(images), lambda: passes._ask(patches, Shape(2, 3, GRID, 2))


@pytest.mark.parametrize("every", [1, 4], ids=["exact", "thinned"])
def test_no_pass_waits_for_the_device_nor_sends_it_numbers(every: int) -> None:
    for run in passes_of(every):
        with torch.inference_mode():
            run()  # what depends on the shape alone is made on the host, once
            with Watch() as watch:
                run()
        assert watch.waited == watch.crossed == []


def test_the_watch_sees_what_it_is_there_for() -> None:
    with Watch() as watch:
        torch.ones(3).max().item()
        torch.ones(3).nonzero()
        torch.ones(3).to("meta")
    assert watch.waited == ["_local_scalar_dense", "nonzero"]
    assert watch.crossed


def test_pictures_are_resized_on_the_device_without_waiting() -> None:
    with Watch() as watch:
        canvas = on_canvas(torch.empty(48, 64, 3, dtype=torch.uint8, device="meta"), arrange([(48, 64)], 98)[0])
    assert canvas.shape == (3, 70, 98)
    assert watch.waited == watch.crossed == []


# -- fewer tokens in long windows --------------------------------------------------------------------------------------


def test_thinning_is_off_unless_a_window_is_longer_than_told() -> None:
    network = random_network(tiny_plan().architecture, torch.device("cpu"))
    images = torch.rand(4, 3, 14 * GRID[0], 14 * GRID[1], generator=torch.Generator().manual_seed(1))

    def depth(**config: Any) -> np.ndarray:
        with torch.inference_mode():
            asked = Shape(1, 4, GRID, 1)
            return Passes(network, Config(**config)).ask(network.encode(images)[None], asked)[0].depth

    np.testing.assert_array_equal(depth(), depth(thin_above=4))
    assert not np.array_equal(depth(), depth(thin_above=3))


def test_a_thinned_window_asks_every_part_of_the_picture_somewhere() -> None:
    from mapping.engines.vggt.model.thinning import answering

    tokens = 5 + GRID[0] * GRID[1]
    kept = answering(5, GRID, 4, torch.device("cpu")).tolist()
    assert set(range(tokens)) <= set(kept), "the first view is whole: it is the reference of all"
    later = [[k - view * tokens for k in kept if view * tokens <= k < (view + 1) * tokens] for view in range(1, 5)]
    assert all(set(range(5)) <= set(view) for view in later), "special tokens answer"
    assert {k for view in later for k in view} == set(range(tokens)), "four views leave nothing out"
    assert sum(map(len, later)) == 4 * 5 + GRID[0] * GRID[1]


@pytest.mark.gpu
def test_replayed_windows_say_what_run_ones_say_and_never_wait() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    device = torch.device("cuda")
    network = seeded_network(TINY).requires_grad_(False).to(device)
    patches = torch.rand(1, 3, GRID[0] * GRID[1], TINY.width, device=device)
    with torch.inference_mode():
        asked = Shape(1, 3, GRID, 2)
        [expected] = Passes(network, Config(replayed=0)).ask(patches, asked)
        passes = Passes(network, Config())
        for _ in range(3):
            [found] = passes.ask(patches, asked)
            np.testing.assert_allclose(found.depth, expected.depth, rtol=1e-4)
        assert passes.replays.replayed == 2
        torch.cuda.set_sync_debug_mode("error")
        passes._ask(patches, asked)
        torch.cuda.set_sync_debug_mode("default")
