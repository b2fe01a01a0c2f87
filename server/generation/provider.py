"""What a generator of 3D assets has to be: the contract of the files in `providers/`.

A file `providers/NAME.py` has `create(options) -> Provider` and imports nothing but the standard library and this file
at its top; numpy, torch and the like are imported within `load` or `run`. So its description can be read anywhere,
and it runs in a Python environment of its own (3.10 or newer), where only this package's standard-library part is. One
that needs packages or weights has `needs(options) -> Needs`, too (`server.generation.needs`).

    class Cubes:
        def describe(self): return Description("cubes", "1", licence=Licence("Apache-2.0"), inputs=("text",))
        def load(self, device): ...
        def run(self, request, context):
            context.stage("mesh")
            for done in range(blocks):
                context.park()              # between two blocks: phones' poses come first
                context.progress(done / blocks)
            path = context.spool / "cube.glb"
            path.write_bytes(...)
            return Result((MadeFile("lod0", path),))
        def unload(self): ...

A job that is tried again has the same seed. Frames: right-handed, +Y up, metres, forward +Z; the pivot of an asset is
the centre of its floor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class Licence:
    """Terms of the weights and code, as far as they bind whoever uses the results."""

    spdx: str
    """`Apache-2.0`, `MIT`, ... or `LicenseRef-...`."""
    commercial: bool = True
    excluded: tuple[str, ...] = ()
    """Territories (ISO 3166 codes, `EU`) where it does not hold."""
    gated: bool = False
    """Weights are handed out only after somebody said yes."""
    notes: str = ""


@dataclass(frozen=True)
class Stage:
    """A part of a run, in order."""

    name: str
    weight: float = 1.0
    """Of the time, relative to the other stages."""
    preemptible: bool = True
    """It calls `park` often. One that does not is entered only in time that is expected to be idle."""
    seconds: float = 0.0
    """Of one that is not preemptible: how long it takes at most, usually."""
    stoppable: bool = False
    """It computes on the CPU alone, in long calls: its process is stopped by a signal as soon as the gate is raised."""


@dataclass(frozen=True)
class Description:
    """What a provider says of itself, without loading anything."""

    name: str
    revision: str
    """Changes whenever the same request may give another result; part of the cache's key."""
    licence: Licence
    inputs: tuple[str, ...]
    """What it can be given: `text`, `image`, `images`, `mask`, `keyframes`, `mesh`."""
    outputs: tuple[str, ...] = ("mesh",)
    """`mesh`, `3dgs`, `radiance_field`; `image` where it makes a picture for others to start from."""
    stages: tuple[Stage, ...] = (Stage("run"),)
    vram_gb: float = 0.0
    """Peak, as far as is known; the lane learns the true one."""
    seconds: float = 1.0
    """Typical, of a whole run on an idle device."""
    deterministic: bool = True
    """The same request and seed give the same bytes."""

    @property
    def preemptible(self) -> bool:
        return all(stage.preemptible for stage in self.stages)


@dataclass(frozen=True)
class Request:
    """What is wanted. Files are there before the run begins, and were checked: size, kind, pixels."""

    job: str
    seed: int
    text: str = ""
    files: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    """By input: `{"image": (path,), "mask": (path,), "keyframes": (folder,)}`."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """Plain JSON; the provider checks it."""
    output: str = "mesh"

    def number(self, name: str, default: float, low: float, high: float) -> float:
        """One of the params.

        Raises:
            GenerationFailed: it is no number in that range.
        """
        value = self.params.get(name, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            raise GenerationFailed("bad_input", f"{name} must be a number from {low:g} to {high:g}")
        return float(value)


@dataclass(frozen=True)
class MadeFile:
    """A file of the result, below `Context.spool`."""

    role: str
    """As the asset bus knows them: `lod0`, `lod1`, `lod2`, `collision`, `preview`, `thumbnail`, `splat`, ..."""
    path: Path
    encoding: str = "identity"
    extensions: tuple[str, ...] = ()
    triangles: int | None = None


@dataclass(frozen=True)
class Result:
    """What was made; the suffix of a file is its format."""

    files: tuple[MadeFile, ...]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Plain JSON: `bbox_m` [low, high], `pivot_m`, `placement`, `scale_confidence`, `quality` {...}."""


class Context(Protocol):
    """A running job, as its provider sees it. From the thread that `run` was called in."""

    @property
    def spool(self) -> Path:
        """An empty folder for what is made."""
        ...

    @property
    def device(self) -> str:
        """`cpu`, `cuda:0`, ..."""
        ...

    @property
    def cancelled(self) -> bool:
        """Whether nobody wants the result any more; `park` raises then."""
        ...

    def stage(self, name: str) -> None:
        """A stage of the description begins; one that is not preemptible may have to wait for idle time.

        Raises:
            Cancelled: nobody wants the result any more.
        """
        ...

    def progress(self, fraction: float) -> None:
        """How much of the present stage is done, 0..1."""
        ...

    def park(self) -> None:
        """Between two blocks of work: wait here as long as perception needs the device.

        On a GPU call it when the block before the last one has finished (wait for its event), so that only one block
        is ever queued.

        Raises:
            Cancelled: nobody wants the result any more.
        """
        ...

    def offer(self, result: Result) -> None:
        """Show what is there already: it becomes a version of the asset, which later ones replace."""
        ...


class Provider(Protocol):
    """A generator. One thread calls it; `run` only after `load`."""

    def describe(self) -> Description: ...

    def load(self, device: str) -> None:
        """Make it ready on a device.

        Raises:
            GenerationFailed: something is missing; the hint says what to install.
        """
        ...

    def run(self, request: Request, context: Context) -> Result:
        """
        Raises:
            GenerationFailed: this request cannot be served.
            Cancelled: out of `context`; let it pass.
        """
        ...

    def unload(self) -> None:
        """Give the device's memory back."""
        ...


class Cancelled(BaseException):
    """Nobody wants the result any more. No `Exception`, so that nothing swallows it."""


class GenerationFailed(Exception):
    """A failure with a name that programs can tell apart, and what a person can do about it.

    `unsuitable`: this is nothing for this provider; who asked for any one is given the next. `bad_input`: for nobody.
    `missing`: weights or code are not installed.
    """

    def __init__(self, code: str, message: str, *, hint: str = "", is_retryable: bool = False) -> None:
        super().__init__(message)
        self.code, self.hint, self.is_retryable = code, hint, is_retryable
