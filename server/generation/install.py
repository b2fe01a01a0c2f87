"""Makes a provider's own environment: a venv, then what PyPI has, in order; what has to be built is only named.

Run again it goes on where it stopped. What pip says is in `install.log` beside the environment.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import IO

from server.doctor import Finding
from server.generation.needs import NOTHING, Needs, has_module, lacking, site_folders
from server.generation.registry import Known, python_in

FINISHING = (
    "manifold3d", "meshoptimizer", "numba", "numpy", "opencv-python-headless", "pillow", "pydantic", "scipy", "trimesh",
    "vhacdx", "xatlas", "zstandard",
)  # fmt: skip
"""What this package itself imports in a worker, to finish a mesh; in the versions that it declares."""


def install(known: Known, folder: Path) -> Iterator[Finding]:
    """Make `folder` the provider's environment; each step is told when it is done. Blocks for minutes.

    Raises:
        OSError: the folder cannot be written.
    """
    if known.needs == NOTHING:
        yield Finding("needs", True, f"{known.name} needs nothing but this server")
        return
    folder.mkdir(parents=True, exist_ok=True)
    python = python_in(folder)
    with (folder / "install.log").open("a") as log:
        if not (folder / "pyvenv.cfg").exists() or not python.exists():
            problem = _call([sys.executable, "-m", "venv", str(folder)], log)
            yield Finding("venv", problem is None, problem or str(folder))
            if problem is not None:
                return
        for subject, arguments in _steps(known.needs, python):
            problem = _call([str(python), "-m", "pip", "install", "--disable-pip-version-check", *arguments], log)
            yield Finding(subject, problem is None, problem or arguments[-1])
            if problem is not None:
                return
    left = lacking(known.needs, known.name, python)
    for lack in left:
        yield Finding(lack.kind, False, f"{lack.what} is yours to bring: {lack.todo}")
    if not left:
        yield Finding("complete", True, f"{python}; `commonground providers doctor {known.name}` loads it")


def _steps(needs: Needs, python: Path) -> Iterator[tuple[str, list[str]]]:
    """What pip is still to be called with, one package after the other: later ones build on earlier ones."""
    places = site_folders(python)
    for package in needs.packages:
        if not has_module(places, package.module):
            yield "package", [*(["--no-deps"] if package.alone else []), package.requirement]
    missing = [wanted for wanted in _of_ours() if not _is_there(wanted, places)]
    if missing:
        yield "finishing", missing


def _of_ours() -> list[str]:
    """Requirements, as this package declares them, of what finishes a mesh."""
    declared = metadata.requires("commonground") or []
    return [line for line in declared if _name(line) in FINISHING and "extra ==" not in line]


def _is_there(requirement: str, places: Sequence[Path]) -> bool:
    stem = _name(requirement).replace("-", "_")
    return any(True for place in places for _ in place.glob(f"{stem}-*.dist-info"))


def _name(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0].lower()


def _call(command: list[str], log: IO[str]) -> str | None:
    """Run it, its output into the log; what went wrong, if anything."""
    print(f"$ {' '.join(command)}", file=log, flush=True)
    began = log.tell()
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, check=False)
    if ended.returncode == 0:
        return None
    with open(log.name, errors="replace") as written:
        written.seek(began)
        said = [line.strip() for line in written if line.lower().lstrip().startswith("error")]
    return f"{said[-1] if said else f'it ended with {ended.returncode}'}; all of it is in {log.name}"
