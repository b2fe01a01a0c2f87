"""Who may do what with assets: those of a scene by a grant for the scene, those of no scene by any grant to see them,
and only by one for all scenes to change them."""

from __future__ import annotations

from fastapi import Request

from server.api.contract import NotFound
from server.api.guard import Guard
from server.auth import ANY_SCENE, Denied, Grant, Role


def may_see(grant: Grant, scene: str | None) -> bool:
    return grant.role >= Role.SUBSCRIBE and (scene is None or grant.allows(Role.SUBSCRIBE, scene))


def check_sees(grant: Grant, scene: str | None, what: str) -> None:
    """
    Raises:
        NotFound: the caller may not even know of it.
    """
    if not may_see(grant, scene):
        raise NotFound(f"there is no {what}")


def check_changes(grant: Grant, scene: str | None) -> None:
    """
    Raises:
        Denied: 403.
    """
    if not grant.allows(Role.PUBLISH, scene):
        of = f"scene {scene!r}" if scene is not None else "all scenes (name a `scene` to keep it to one)"
        raise Denied(403, f"this needs the role publish in {of}; the token grants something else")


def check_everywhere(grant: Grant) -> None:
    """
    Raises:
        Denied: 403.
    """
    if not grant.allows(Role.PUBLISH, None):
        raise Denied(
            403, "this needs the role publish in all scenes: a token made with `commonground token --all-scenes`"
        )


def reader(guard: Guard, request: Request) -> Grant:
    """The grant of somebody who wants to look."""
    return guard.require_somewhere(request, Role.SUBSCRIBE)


def writer(guard: Guard, request: Request) -> Grant:
    """The grant of somebody who wants to change something, counted against their rate."""
    grant = guard.require_somewhere(request, Role.PUBLISH)
    if grant.token_id:
        guard.throttle(request, grant)
    return grant


def scope(grant: Grant) -> str | None:
    """The one scene a grant is for; None = all."""
    return None if grant.scene == ANY_SCENE else grant.scene
