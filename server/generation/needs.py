"""What a provider needs before it can work, and what of it an environment lacks. Standard library only.

A file `providers/NAME.py` that needs more than this server has says so by `needs(options) -> Needs`. Nothing is loaded
to find out: packages are looked for by their folders, weights by their files.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path


@dataclass(frozen=True)
class Package:
    """Something that pip installs."""

    requirement: str
    """`diffusers==0.42.1`."""
    module: str
    """What is imported of it."""
    alone: bool = False
    """Without what it says it needs (`--no-deps`): those are here by themselves."""


@dataclass(frozen=True)
class Extension:
    """Code that is built from source, against the environment's own PyTorch and CUDA."""

    module: str
    source: str
    """What to give to pip."""
    licence: str


@dataclass(frozen=True)
class Checkout:
    """Code that pip cannot install: it lies in the environment's folder `code`."""

    url: str
    file: str
    """One of it."""
    licence: str


@dataclass(frozen=True)
class Weights:
    """Files of a model: in the cache of the Hugging Face hub, or in a folder."""

    repo: str
    """`microsoft/TRELLIS-image-large`, or the folder's path."""
    file: str
    """One that is there when they are."""
    licence: str
    gated: bool = False
    """Handed out only after somebody agreed to something on their page."""
    fetch: str = ""
    """What to give to the interpreter's `-c`, for those that are not on the hub."""


@dataclass(frozen=True)
class Needs:
    """In the order in which it is to be installed."""

    packages: tuple[Package, ...] = ()
    checkouts: tuple[Checkout, ...] = ()
    extensions: tuple[Extension, ...] = ()
    weights: tuple[Weights, ...] = ()
    apart: bool = False
    """It needs an environment of its own: its versions are not this server's."""


NOTHING = Needs()


@dataclass(frozen=True)
class Lack:
    """One thing that is not there."""

    kind: str
    """`environment`, `package`, `code`, `extension`, `weights`."""
    what: str
    todo: str

    def __str__(self) -> str:
        return f"{self.kind} {self.what}: {self.todo}"


def lacking(needs: Needs, name: str, python: Path) -> list[Lack]:
    """What the environment of an interpreter has not got.

    Args:
        name: of the provider, to be told what to run.
    """
    if needs == NOTHING:
        return []
    install, places = f"commonground providers install {name}", site_folders(python)
    nobody_knows = python.exists() and not places
    if python.exists():
        missing = [package for package in needs.packages if not (nobody_knows or has_module(places, package.module))]
        found = [Lack("package", package.requirement, install) for package in missing]
    else:
        found = [Lack("environment", str(environment(python)), install)]
    code = environment(python) / "code"
    found += [
        Lack("code", one.url, f"git clone --recurse-submodules {one.url} {code} ({one.licence})")
        for one in needs.checkouts
        if not (code / one.file).is_file()
    ]
    found += [
        Lack("extension", extension.module, f"{build_command(extension, python)} ({extension.licence})")
        for extension in needs.extensions
        if not (nobody_knows or has_module(places, extension.module))
    ]
    return found + [Lack("weights", one.repo, _fetch(one, python)) for one in needs.weights if not has_weights(one)]


def build_command(extension: Extension, python: Path) -> str:
    """What builds it: with the compiler of the CUDA toolkit that PyTorch there was built with."""
    return f"{python} -m pip install --no-build-isolation {extension.source}"


def site_folders(python: Path) -> list[Path]:
    """Where an interpreter finds packages; empty for one that is in no environment: nobody knows."""
    if _same(python, Path(sys.executable)):
        return [Path(entry) for entry in sys.path if entry]
    return sorted((environment(python) / "lib").glob("python3*/site-packages"))


def environment(python: Path) -> Path:
    """The folder of an interpreter's virtual environment; `sys.prefix` there."""
    return python.absolute().parent.parent


def has_module(places: Sequence[Path], module: str) -> bool:
    """Whether it can be imported, as far as its folder or file tells."""
    top, _, within = module.partition(".")
    for place in places:
        names = _names(place, _changed_ns(place))
        if top in names and (place / top / within.replace(".", "/")).exists():
            return True
        if not within and (f"{top}.py" in names or any(n.startswith(f"{top}.") and n.endswith(".so") for n in names)):
            return True
    return False


def has_weights(weights: Weights) -> bool:
    """Whether that file is here, wherever the hub's client keeps its downloads."""
    folder = Path(weights.repo)
    if weights.fetch:
        return (_torch_cache() / weights.file).is_file()
    if folder.is_absolute():
        return (folder / weights.file).is_file()
    kept = _hub_cache() / f"models--{weights.repo.replace('/', '--')}" / "snapshots"
    return any(kept.glob(f"*/{weights.file}"))


@lru_cache(maxsize=64)
def _names(place: Path, changed_ns: int) -> frozenset[str]:
    """What lies in a folder; looked at anew only when it has changed."""
    return frozenset(os.listdir(place)) if changed_ns else frozenset()


def _changed_ns(place: Path) -> int:
    try:
        return place.stat().st_mtime_ns if place.is_dir() else 0
    except OSError:
        return 0


def _fetch(weights: Weights, python: Path) -> str:
    if weights.fetch:
        return f"{python} -c {shlex.quote(weights.fetch)} ({weights.licence})"
    if Path(weights.repo).is_absolute():
        return f"there is no {weights.file} in that folder"
    hub = python.parent / "hf"
    fetch = f"{hub} download {weights.repo} ({weights.licence})"
    if not weights.gated:
        return fetch
    return f"gated: agree to its terms at huggingface.co/{weights.repo}, log in with {hub} auth login, then {fetch}"


def _hub_cache() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return Path(os.environ.get("HF_HOME", cache / "huggingface")) / "hub"


def _torch_cache() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return Path(os.environ.get("TORCH_HOME", cache / "torch")) / "hub" / "checkpoints"


def _same(a: Path, b: Path) -> bool:
    return a.absolute() == b.absolute()
