"""Run pytest with native modules of another build: python scripts/with_native.py BUILD_FOLDER [pytest arguments]."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

import navmesh

MODULES = ("_recast", "_voxels")


def load(folder: Path) -> None:
    """Put the modules of a build folder in place of the installed ones, before anything imports those.

    Raises:
        FileNotFoundError: the folder does not hold both.
    """
    for name in MODULES:
        file = next(folder.glob(f"{name}.*.so"), None)
        if file is None:
            raise FileNotFoundError(f"no {name} in {folder}; build it first")
        spec = importlib.util.spec_from_file_location(f"navmesh.{name}", file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        setattr(navmesh, name, module)


if __name__ == "__main__":
    load(Path(sys.argv[1]))
    sys.exit(pytest.main(sys.argv[2:]))
