"""Which providers there are, and which of them a job may be given to."""

from __future__ import annotations

import importlib
import logging
import pkgutil
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from server.generation import providers
from server.generation.needs import NOTHING, Lack, Needs, lacking
from server.generation.provider import Description
from server.jobs import legs
from server.jobs.values import Job

log = logging.getLogger(__name__)
LOOK_EVERY_S = 5.0

MODULES = providers.__name__
_INSTEAD = {
    "capture": "film it from more sides, or point at another thing",
    "text-to-3d-asset": "say it otherwise (a shape, furniture, a file of the library), or bring a picture",
}
_OTHERWISE = "bring another picture, or say it in words"


class ProviderConfig(BaseModel):
    """One provider, as this server is to run it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    python: Path | None = None
    """Interpreter of its own environment; None = what `providers install` made, or else this server's."""
    options: dict[str, Any] = {}
    """For its `create`."""
    enabled: bool = True


class Config(BaseModel):
    """Who may make assets."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    providers: dict[str, ProviderConfig] = {}
    """Only those that need something set; all files of `server/generation/providers` are there by themselves."""
    environments: Path = Path("var/providers")
    """Where `providers install` puts the environments of those that need one."""
    auto: tuple[str, ...] = ("prims", "library", "capture", "trellis2", "trellis", "shap-e", "relief")
    """Who is asked, in this order, for a job that names nobody; each may find it unsuitable, or lack something."""
    commercial: bool = True
    """Only those whose terms allow commercial use, unless a job names another."""
    territory: str | None = None
    """Where this server's results are used (ISO 3166, `EU`): providers whose licence leaves it out are refused."""


@dataclass(frozen=True, slots=True)
class Known:
    """A provider that can be started."""

    description: Description
    module: str
    python: str
    options: dict[str, Any]
    lacks: tuple[Lack, ...] = ()
    """What is not here, and what to do about that, as far as its file can tell."""
    needs: Needs = NOTHING

    @property
    def name(self) -> str:
        return self.description.name

    @property
    def missing(self) -> str | None:
        """All that it lacks, in words."""
        return "; ".join(map(str, self.lacks)) or None


class Registry:
    """The providers of one configuration."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._known: list[Known] = []
        self._look_again_at = 0.0

    def names(self) -> list[str]:
        """All that are enabled, fit to be used or not."""
        default = ProviderConfig()
        return [name for name in _files() if self._config.providers.get(name, default).enabled]

    def get(self, name: str) -> Known:
        """
        Raises:
            LookupError: there is no such provider, or it is switched off.
            Exception: whatever its file raises.
        """
        if name not in self.names():
            raise LookupError(f"there is no provider {name!r}; there are {', '.join(self.names())}")
        config = self._config.providers.get(name, ProviderConfig())
        module = f"{MODULES}.{name.replace('-', '_')}"
        file = importlib.import_module(module)
        needs = file.needs(config.options) if hasattr(file, "needs") else NOTHING
        python = config.python or self._own_python(name, must_be=needs.apart)
        lacks = tuple(lacking(needs, name, python))
        return Known(file.create(config.options).describe(), module, str(python), config.options, lacks, needs)

    def _own_python(self, name: str, *, must_be: bool) -> Path:
        """Of the environment that is for a provider; this server's when there is none and none is needed."""
        own = python_in(self._config.environments / name)
        return own if must_be or own.exists() else Path(sys.executable)

    def all(self) -> list[Known]:
        """Those that can say what they are; what they lack is looked at every few seconds."""
        if time.monotonic() < self._look_again_at:
            return self._known
        found = []
        for name in self.names():
            try:
                found.append(self.get(name))
            except Exception:
                log.exception("a provider cannot be described", extra={"provider": name})
        self._known, self._look_again_at = found, time.monotonic() + LOOK_EVERY_S
        return found

    def candidates(self, job: Job) -> list[Known]:
        """Who may be given a job, in order."""
        turn = legs.provider(job) or job.wanted.provider
        names = self._config.auto if turn == "auto" else (turn,)
        known = {one.name: one for one in self.all() if one.name in names}
        chosen = [known[name] for name in names if name in known and name not in job.tried]
        return [one for one in chosen if _takes(one.description, job) and self._may(one, turn != "auto")]

    def why_not(self, job: Job) -> str:
        """What to tell somebody whose job has no candidate."""
        turn, output = legs.provider(job) or job.wanted.provider, legs.output(job)
        if turn != "auto" and turn not in self.names():
            return f"there is no provider {turn!r}; there are {', '.join(self.names())}"
        if turn != "auto" and (lacks := self.get(turn).lacks):
            return f"{turn} is not ready: {lacks[0]}; `commonground providers doctor {turn}` tells all of it"
        if output == "image":
            who = [one.name for one in self.all() if output in one.description.outputs]
            return (
                f"{turn} makes no pictures of texts; those who do: {', '.join(who) or 'nobody here: bring a picture'}"
            )
        if job.tried:
            return f"tried {', '.join(job.tried)}; {_INSTEAD.get(job.wanted.task, _OTHERWISE)}"
        needs = sorted({what for one in self.all() for what in one.description.inputs})
        return f"no provider that may be used here makes {output} of this; they take {', '.join(needs)}"

    def _may(self, known: Known, is_named: bool) -> bool:
        if known.lacks:
            return False
        licence = known.description.licence
        if self._config.territory is not None and self._config.territory in licence.excluded:
            return False
        return is_named or licence.commercial or not self._config.commercial


def python_in(environment: Path) -> Path:
    """The interpreter of a virtual environment."""
    return environment.absolute() / "bin" / "python"


@cache
def _files() -> tuple[str, ...]:
    names = (module.name for module in pkgutil.iter_modules(providers.__path__))
    return tuple(name.replace("_", "-") for name in sorted(names) if not name.startswith("_"))


def _takes(description: Description, job: Job) -> bool:
    due, output = legs.part(job), legs.output(job)
    if due in ("judge", "refine"):
        return output in description.outputs
    roles: Iterable[str] = {file.role for file in legs.inputs(job)} - {"mask"}
    if job.wanted.task == "capture":
        roles = {"keyframes"}
    main = {"text"} if due == "picture" else set(roles) or {"text"}
    return main <= set(description.inputs) and output in description.outputs
