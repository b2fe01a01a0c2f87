"""Plugins: the file name is the config key, the file holds `class Config(BaseModel)` and `create(config)`."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from types import ModuleType


class NoSuchPlugin(ValueError):
    """No plugin of that name."""


def available(package: str) -> list[str]:
    """Names of the plugins in a package."""
    return sorted(found.name for found in pkgutil.iter_modules(sys.modules[package].__path__))


def load(package: str, name: str) -> ModuleType:
    """The plugin of that name in a package; a name with ":" is an import path to somebody else's module.

    Raises:
        NoSuchPlugin: there is none; what a plugin itself fails to import is raised as it is.
    """
    path = name.replace(":", ".") if ":" in name else f"{package}.{name}"
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name != path:
            raise
        raise NoSuchPlugin(f"{name!r} is none of {', '.join(available(package))}") from error
