"""A scene as a file: out of its store, or from the server that runs on it."""

from __future__ import annotations

import contextlib
import json
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from http.client import HTTPResponse
from pathlib import Path
from urllib.parse import quote

from mapping import disk, exporters
from mapping.store.scene_store import Store
from server.auth import ANY_SCENE, Grant, Role
from server.config import Settings
from server.datadir import DataDirBusy, locked
from server.navmesh_file import navmesh_file
from server.scene_folders import stored_scenes
from server.web import identify
from server.writer import Writer


def export(settings: Settings, scene: str, path: Path) -> None:
    """Write a scene to a file: from the running server if there is one, else from its store.

    Raises:
        ExportError: the scene is empty, or there is no exporter for this suffix.
        OSError: there is no such scene, or the file cannot be written.
    """
    exporter = exporters.create(path.suffix.removeprefix("."))
    try:
        with _stored(settings, scene) as store:
            writer = Writer(scene, settings.scenes.each.map, store)
            writer.restore(store.load())
            exporter.export(writer.export_scene(), path)
    except DataDirBusy as busy:
        if busy.url is None:
            raise
        _download(settings, busy.url, scene, f"export{path.suffix}", path)


def export_navmesh(settings: Settings, scene: str, path: Path, agent: str | None) -> None:
    """Write the walkable polygons that were published last; `agent` may be None where there is only one.

    Raises:
        ExportError: nothing is walkable, or there is no such agent or format.
        OSError: there is no such scene, or the file cannot be written.
    """
    suffix = path.suffix.removeprefix(".")
    try:
        with _stored(settings, scene) as store:
            state = store.load()
            epoch = state.meta.epoch if state.meta is not None else 0
            wires = [tile.wire for tile in state.tiles.values() if not tile.removed]
            disk.write_file(path, navmesh_file(wires, epoch, suffix, agent))
    except DataDirBusy as busy:
        if busy.url is None:
            raise
        query = f"?agent={quote(agent)}" if agent else ""
        _download(settings, busy.url, scene, f"navmesh.{suffix}{query}", path)


@contextlib.contextmanager
def _stored(settings: Settings, scene: str) -> Iterator[Store]:
    with locked(settings.data_dir):
        folder = settings.data_dir / "scenes"
        known = stored_scenes(folder)
        if scene not in known:
            raise FileNotFoundError(f"no scene {scene!r} in {settings.data_dir}; {_those(known)}")
        with contextlib.closing(Store.open(folder / scene, settings.scenes.each.map.store)) as store:
            yield store


def _those(known: Sequence[str]) -> str:
    return f"there are: {', '.join(known)}" if known else "nothing has been mapped there yet"


def _download(settings: Settings, server_url: str, scene: str, file: str, path: Path) -> None:
    """Fetch a file of one scene from the running server."""
    with _asked(settings, f"{server_url}/v1/scenes") as answer:
        known = [str(summary["scene"]) for summary in json.load(answer)]
    if scene not in known:
        raise FileNotFoundError(f"the running server has no scene {scene!r}; {_those(known)}")
    with _asked(settings, f"{server_url}/v1/scenes/{quote(scene)}/{file}") as answer, path.open("wb") as out:
        shutil.copyfileobj(answer, out)


@contextlib.contextmanager
def _asked(settings: Settings, url: str) -> Iterator[HTTPResponse]:
    """GET with a grant of our own."""
    identity = identify(settings)
    token = identity.tokens.issue(Grant(ANY_SCENE, Role.SUBSCRIBE), 300, int(time.time()))
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    context = None
    if identity.cert is not None:
        authority = identity.authority
        context = ssl.create_default_context(cafile=authority.ca_path if authority is not None else None)
    try:
        with urllib.request.urlopen(request, context=context) as answer:
            yield answer
    except urllib.error.HTTPError as error:
        raise OSError(f"the running server refused: {_detail(error)}") from error


def _detail(error: urllib.error.HTTPError) -> str:
    """What a problem+json says, or the body as it is."""
    body = error.read(2000)
    try:
        return str(json.loads(body)["detail"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace")
