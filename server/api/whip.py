"""WHIP: a browser, OBS or GStreamer publishes its camera with one POST (RFC 9725).

Session URLs are unguessable, which is what entitles to end them (`capability.py`). The server restarts no ICE, so it
sends no ETag and answers restarts with 422; candidates that trickle in are taken.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from server.api.capability import Seals
from server.api.contract import NotFound, Refused, Scenes, StreamOptions, Unprocessable
from server.api.guard import Guard
from server.auth import Role
from streams.frame import SceneId

SDP = "application/sdp"
FRAGMENT = "application/trickle-ice-sdpfrag"


class WrongType(Refused):
    """The body is of another kind than this route reads."""

    status = 415


class StaleTag(Refused):
    """If-Match names an ETag that we never gave."""

    status = 412


def router(scenes: Scenes, guard: Guard, seals: Seals) -> APIRouter:
    """The endpoint of each scene and the resource of each session."""
    api = APIRouter(prefix="/v1", tags=["whip"])
    endpoint, session_url = "/scenes/{scene}/whip", "/whip/{session}"

    def publisher(request: Request, scene: str) -> None:
        grant = guard.require(request, Role.PUBLISH, scene)
        if grant.token_id:
            guard.throttle(request, grant)

    def session_id(name: str) -> str:
        owned = seals.open(name)
        if owned is None:
            raise NotFound("there is no such session")
        return owned.session

    def any_publisher(request: Request) -> None:
        guard.require_somewhere(request, Role.PUBLISH)

    @api.post(endpoint, status_code=201, dependencies=[Depends(publisher)], response_class=Response)
    async def publish(scene: str, request: Request, options: Annotated[StreamOptions, Query()]) -> Response:
        """Offer in, answer with all our candidates out; `Location` is the session."""
        offer = await _body(request, SDP)
        try:
            session = await scenes.accept_whip(SceneId(scene), offer.decode(), options)
        except UnicodeDecodeError:
            raise Refused("the offer is not UTF-8 text") from None
        name = seals.seal(session.stream, session.id)
        headers = {"Location": f"/v1/whip/{name}", "Accept-Patch": FRAGMENT}
        return Response(session.answer_sdp, 201, headers, media_type=SDP)

    @api.patch(session_url, status_code=204, dependencies=[Depends(any_publisher)])
    async def trickle(session: str, request: Request) -> Response:
        """Take more candidates of the client."""
        found = scenes.whip(session_id(session))
        fragment = await _body(request, FRAGMENT)
        match request.headers.get("if-match"):
            case None:
                found.trickle(fragment)
            case "*":
                raise Unprocessable("this server does not restart ICE; publish anew")
            case _:
                raise StaleTag("no ETag was given for this session; leave If-Match out")
        return Response(status_code=204)

    @api.delete(session_url, dependencies=[Depends(any_publisher)])
    async def leave(session: str) -> Response:
        """End the session."""
        await scenes.end_whip(session_id(session))
        return Response(status_code=200)

    @api.get(endpoint, status_code=204, dependencies=[Depends(publisher)])
    @api.head(endpoint, status_code=204, dependencies=[Depends(publisher)])
    async def look(scene: str) -> Response:
        """Nothing to see, as the standard asks."""
        scenes.scene(SceneId(scene))
        return Response(status_code=204)

    @api.get(session_url, status_code=204, dependencies=[Depends(any_publisher)])
    @api.head(session_url, status_code=204, dependencies=[Depends(any_publisher)])
    async def look_session(session: str) -> Response:
        """Nothing to see, as the standard asks; 404 when the session has ended."""
        scenes.whip(session_id(session))
        return Response(status_code=204)

    @api.options(endpoint, status_code=204)
    async def offer_options(scene: str) -> Response:
        """What a POST here has to be."""
        return Response(status_code=204, headers={"Accept-Post": SDP, "Allow": "POST, GET, HEAD, OPTIONS"})

    @api.options(session_url, status_code=204)
    async def session_options(session: str) -> Response:
        """What a PATCH here has to be."""
        return Response(
            status_code=204, headers={"Accept-Patch": FRAGMENT, "Allow": "PATCH, DELETE, GET, HEAD, OPTIONS"}
        )

    return api


async def _body(request: Request, media_type: str) -> bytes:
    """The body; raises WrongType when it is not of this type."""
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != media_type:
        raise WrongType(f"Content-Type must be {media_type}")
    return await request.body()
