"""What lies in the folder of all scenes: one folder for each, and what was learnt of lenses."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from mapping import disk
from mapping.tracking.lenses import Lenses
from streams.frame import SceneId

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_LENSES = "lenses.json"
_log = logging.getLogger(__name__)


def is_scene_name(text: str) -> bool:
    """Whether a scene can be called so: it is a folder's name and part of URLs, too."""
    return _NAME.fullmatch(text) is not None


def stored_scenes(folder: Path) -> list[SceneId]:
    """The scenes that are kept in a folder; it need not exist."""
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    return [SceneId(path.name) for path in found if path.is_dir() and is_scene_name(path.name)]


def load_lenses(folder: Path) -> Lenses:
    """What earlier sessions learnt of cameras; nothing if that cannot be read."""
    try:
        return Lenses.from_json((folder / _LENSES).read_text())
    except (OSError, ValueError):
        return Lenses()


def save_lenses(folder: Path, lenses: Lenses) -> None:
    """Keep it for later sessions. Whatever happens meanwhile, what was kept before or this is there, and whole."""
    try:
        disk.write_file(folder / _LENSES, lenses.to_json().encode())
    except OSError as error:
        _log.warning("what was learnt of lenses cannot be kept", extra={"reason": str(error)})
