"""The web pages, as built into the package: phone page, viewer and SDK, served from the one origin they talk to."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response
from starlette.routing import Match, Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

NOT_BUILT = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Commonground</title>
<h1>The server runs; its pages are not built</h1>
<p>From a checkout, run <code>make setup</code> (it needs Node 20), or set <code>http.pages</code> to a folder of built
pages. The interfaces work: see <a href="/openapi.json">openapi.json</a>.</p></html>"""


def default_folder() -> Path | None:
    """Where the package keeps its pages; found without importing it."""
    spec = importlib.util.find_spec("clients")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations))) / "web" / "dist"


def is_built(folder: Path | None) -> bool:
    return folder is not None and (folder / "index.html").is_file()


class Pages(StaticFiles):
    """`/` is index.html, `/phone` is phone.html; hashed assets are cached for ever, pages not at all."""

    def __init__(self, folder: Path | None) -> None:
        self._is_built = is_built(folder)
        super().__init__(directory=folder if self._is_built else None)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Raises: HTTPException: 404, or 405 for anything but GET and HEAD."""
        if path.split("/", 1)[0] == "v1":
            raise _refusal(scope)
        if not self._is_built:
            if path in (".", "index.html", "phone", "phone.html"):
                return HTMLResponse(NOT_BUILT, 503)
            raise HTTPException(404, "no such page")
        if path == ".":
            path = "index.html"
        elif "." not in path:
            path = f"{path}.html"
        try:
            response = await super().get_response(path, scope)
        except HTTPException as error:
            if error.status_code == 404:
                raise HTTPException(404, "no such page") from error
            raise
        hashed = path.startswith("assets/")
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable" if hashed else "no-cache"
        return response


def _refusal(scope: Scope) -> HTTPException:
    """What no route of the API took: 405 where one would have taken it by another method, else 404."""
    routes = [route for route in scope["app"].routes if not isinstance(route, Mount)]
    ways = ", ".join(
        method
        for method in ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
        if any(route.matches(dict(scope, method=method))[0] is Match.FULL for route in routes)
    )
    if ways:
        return HTTPException(405, f"{scope['method']} is not for this resource; {ways} is", {"Allow": ways})
    return HTTPException(404, "there is no such resource; see /openapi.json")
