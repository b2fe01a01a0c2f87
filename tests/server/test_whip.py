"""The HTTP side of WHIP against the conformance list of RFC 9725."""

from __future__ import annotations

from pathlib import Path

from server.api.whip import FRAGMENT, SDP
from server.auth import Grant, Role
from tests.server.fakes import ANSWER, Served, served

ENDPOINT = "/v1/scenes/main/whip"


async def publish(server: Served) -> str:
    answer = await server.http.post(ENDPOINT, content=b"v=0\r\n", headers={"Content-Type": SDP})
    assert answer.status_code == 201
    assert answer.headers["content-type"] == SDP
    assert "etag" not in answer.headers
    assert answer.text == ANSWER
    return answer.headers["location"]


async def test_publish_trickle_and_leave(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        session = await publish(server)
        assert session.startswith("/v1/whip/")
        ((secret, known),) = server.scenes.sessions.items()
        assert secret in session
        trickled = await server.http.patch(session, content=b"a=x", headers={"Content-Type": FRAGMENT})
        assert (trickled.status_code, trickled.content) == (204, b"")
        assert "etag" not in trickled.headers
        assert known.fragments == [b"a=x"]
        assert (await server.http.delete(session)).status_code == 200
        assert (await server.http.delete(session)).status_code == 404


async def test_offers_that_are_none(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        wrong_type = await server.http.post(ENDPOINT, content=b"v=0", headers={"Content-Type": "text/plain"})
        assert wrong_type.status_code == 415
        malformed = await server.http.post(ENDPOINT, content=b"\xff", headers={"Content-Type": SDP})
        assert malformed.status_code == 400
        assert malformed.headers["content-type"] == "application/problem+json"
        malformed = await server.http.post(ENDPOINT, content=b"x=0", headers={"Content-Type": SDP})
        assert malformed.json()["reason"] == "Malformed SDP offer"
        gone = await server.http.post("/v1/scenes/x/whip", content=b"v=0", headers={"Content-Type": SDP})
        assert gone.status_code == 404


async def test_restarts_are_refused_and_end_nothing(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        session = await publish(server)
        fragment = {"Content-Type": FRAGMENT}
        assert (await server.http.patch(session, headers={**fragment, "If-Match": "*"})).status_code == 422
        assert (await server.http.patch(session, headers={**fragment, "If-Match": '"x"'})).status_code == 412
        assert (await server.http.patch(session, headers={"Content-Type": SDP})).status_code == 415
        assert (await server.http.patch(session, content=b"bad", headers=fragment)).status_code == 400
        assert (await server.http.get(session)).status_code == 204
        assert (await server.http.patch("/v1/whip/none", headers=fragment)).status_code == 404


async def test_get_is_empty_and_options_tell_what_to_post(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        for method in ("GET", "HEAD"):
            look = await server.http.request(method, ENDPOINT)
            assert (look.status_code, look.content) == (204, b"")
        options = await server.http.options(ENDPOINT)
        assert options.headers["accept-post"] == SDP
        assert (await server.http.put(ENDPOINT)).status_code == 405


async def test_pages_of_configured_origins_may_publish(tmp_path: Path) -> None:
    origin = "https://studio.example"
    async with served(tmp_path, auth={"origins": [origin]}) as server:
        asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        preflight = await server.http.options(ENDPOINT, headers=asked)
        assert preflight.status_code == 204
        assert preflight.headers["access-control-allow-origin"] == origin
        assert preflight.headers["accept-post"] == SDP
        assert "link" not in preflight.headers
        headers = {"Content-Type": SDP, "Origin": origin}
        answer = await server.http.post(ENDPOINT, content=b"v=0", headers=headers)
        assert answer.status_code == 201
        assert "Location" in answer.headers["access-control-expose-headers"]
        other = await server.http.options(ENDPOINT, headers={**asked, "Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers


async def test_options_ride_in_the_query(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        url = f"{ENDPOINT}?start=shared&camera_height_m=1.4"
        assert (await server.http.post(url, content=b"v=0", headers={"Content-Type": SDP})).status_code == 201
        assert server.scenes.options[0].start == "shared"
        bad = await server.http.post(f"{ENDPOINT}?start=x", content=b"v=0", headers={"Content-Type": SDP})
        assert bad.status_code == 422


async def test_the_camera_erases_itself_by_its_session_and_others_cannot(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        name = (await publish(server)).rpartition("/")[2]
        token = server.identity.tokens.issue(Grant("main", Role.PUBLISH), 60, 2_000_000_000)
        bearer = {"Authorization": f"Bearer {token}"}
        session, stream, seal = name.split(".")
        for forged in (stream, f"{stream}.{seal}", f"{session}.other.{seal}", f"{name[:-1]}!", "é"):
            answer = await server.http.delete(f"/v1/streams/{forged}", headers=bearer)
            assert answer.status_code in (401, 403), forged
            assert (await server.http.delete(f"/v1/whip/{forged}", headers=bearer)).status_code == 404
        assert (await server.http.delete(f"/v1/streams/{name}", headers=bearer)).status_code == 204
        assert server.scenes.deleted == [stream]
