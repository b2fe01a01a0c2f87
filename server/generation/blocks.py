"""Make a PyTorch model stop between two of its blocks whenever perception wants the device. No model is changed.

A hook before each block waits for the end of the block before the last one, so that the GPU never has more than one
block queued (the host would run a thousand kernels ahead of it), and parks. Being cancelled leaves the model by an
exception from the same place.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from server.generation.provider import Context


@contextlib.contextmanager
def parking(blocks: Iterable[Any], context: Context) -> Iterator[None]:
    """Park before each call of these modules (`torch.nn.Module`) while the context lasts."""
    before = _before(context)
    handles = [block.register_forward_pre_hook(before) for block in blocks]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextlib.contextmanager
def counted(owner: Any, method: str, context: Context, total: Callable[[], int]) -> Iterator[None]:
    """Report progress after each call of a method that is one step of `total` ones, while the context lasts.

    More calls than that are those of the next stage.
    """
    with wrapped(owner, method) as call:
        done = 0

        def step(*args: Any, **kwargs: Any) -> Any:
            nonlocal done
            made = call(*args, **kwargs)
            steps = max(1, total())
            done += 1
            context.progress(((done - 1) % steps + 1) / steps)
            return made

        setattr(owner, method, step)
        yield


@contextlib.contextmanager
def staged(owner: Any, method: str, begin: Callable[[], None]) -> Iterator[None]:
    """Call `begin` before each call of a method while the context lasts."""
    with wrapped(owner, method) as call:

        def announced(*args: Any, **kwargs: Any) -> Any:
            begin()
            return call(*args, **kwargs)

        setattr(owner, method, announced)
        yield


@contextlib.contextmanager
def wrapped(owner: Any, method: str) -> Iterator[Callable[..., Any]]:
    """A method that may be replaced on one object; afterwards the object is as it was before."""
    had_own = method in vars(owner)
    call = getattr(owner, method)
    try:
        yield call
    finally:
        if had_own:
            setattr(owner, method, call)
        else:
            with contextlib.suppress(AttributeError):
                delattr(owner, method)


def free_cache() -> None:
    """Give back what PyTorch keeps of the device's memory for later."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _before(context: Context) -> Callable[..., None]:
    """The hook; one for all modules of a run, since their blocks follow each other."""
    if not context.device.startswith("cuda"):
        return lambda module, args: context.park()
    import torch

    ended: list[Any] = []

    def before(module: Any, args: Any) -> None:
        if ended:
            ended.pop().synchronize()
        event: Any = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        event.record()
        ended.append(event)
        context.park()

    return before
