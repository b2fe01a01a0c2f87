"""Jobs by a real client over a real port, done by real provider processes."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import time
from pathlib import Path
from typing import Any

import httpx
import websockets

from server.api.jobs_events import SUBPROTOCOL
from server.auth import Grant, Role
from tests.server.jobs.live import live, png, sse
from tests.server.test_rest import assert_problem

NO_SECRETS = ("A" * 33, "A" * 30 + "==", "=" * 40, "A" * 128, "A" * 31 + "!")
SHORT = {"blocks": 3, "block_ms": 1.0}
LONG = {"blocks": 100_000, "block_ms": 2.0}


async def test_a_job_is_done_published_and_the_same_again_comes_out_of_the_cache(tmp_path: Path) -> None:
    async with live(tmp_path) as server:
        answer = await server.http.post(
            "/v1/jobs", json={"provider": "rehearsal", "asset_name": "cube", "params": SHORT, "seed": 7}
        )
        job = answer.json()
        assert (answer.status_code, answer.headers["location"]) == (202, f"/v1/jobs/{job['job']}")
        view = await server.done(job["job"])
        assert (view["state"], view["progress"], view["attempt"], view["result"]["asset"]) == (
            "succeeded",
            1,
            1,
            "cube",
        )
        version = (await server.http.get(view["result"]["url"])).json()
        made_by = version["provenance"]
        assert (made_by["job"], made_by["provider"], made_by["seed"]) == (job["job"], "rehearsal", 7)
        assert made_by["licence"]["spdx"] == "Apache-2.0"
        glb = (await server.http.get(f"/v1/blobs/sha256/{version['files'][0]['sha256']}")).content
        assert glb.startswith(b"glTF")
        listed = (await server.http.get("/assets/list")).json()["assets"]
        assert [one["asset_id"] for one in listed] == ["cube"]

        again = await server.done((await server.submit(asset_name="other", params=SHORT, seed=7))["job"])
        assert again["result"] == {**again["result"], "asset": "other", "version": 1, "cached_from": job["job"]}
        assert (await server.http.get(again["result"]["url"])).json()["files"] == version["files"]
        assert not (tmp_path / "jobs" / "spool" / job["job"]).exists(), "its files are not needed any more"


async def test_pictures_come_by_form_by_base64_and_as_blobs(tmp_path: Path) -> None:
    picture = png()
    sha256 = hashlib.sha256(picture).hexdigest()
    async with live(tmp_path) as server:
        plain = {"provider": "rehearsal", "params": SHORT}
        form = {"job": json.dumps({"provider": "rehearsal"}), "params": json.dumps(SHORT), "seed": "3"}
        by_form = await server.http.post("/v1/jobs", data=form, files={"image": ("../../x.png", picture)})
        text = base64.b64encode(picture).decode()
        by_text = await server.http.post("/v1/jobs", json=plain | {"inputs": {"image": text}, "seed": 3})
        uri = f"data:image/png;base64,{text}"
        by_uri = await server.http.post("/v1/jobs", json=plain | {"inputs": {"image": {"base64": uri}}, "seed": 3})
        await server.http.put(f"/v1/blobs/sha256/{sha256}", content=picture)
        by_blob = await server.http.post("/v1/jobs", json=plain | {"inputs": {"image": {"blob": sha256}}, "seed": 3})
        views = [await server.done(answer.json()["job"]) for answer in (by_form, by_text, by_uri, by_blob)]
        assert [view["state"] for view in views] == ["succeeded"] * 4
        assert views[0]["result"]["cached_from"] is None
        assert all(view["result"]["cached_from"] is not None for view in views[1:]), "four times the same request"
        version = (await server.http.get(views[0]["result"]["url"])).json()
        assert version["provenance"]["inputs"] == [{"role": "image", "sha256": sha256}]


async def test_a_repeated_request_is_the_same_job(tmp_path: Path) -> None:
    async with live(tmp_path) as server:
        key = {"Idempotency-Key": "order 7"}
        wanted = {"provider": "rehearsal", "params": SHORT}
        jobs = {(await server.http.post("/v1/jobs", json=wanted, headers=key)).json()["job"] for _ in range(3)}
        assert len(jobs) == 1
        assert_problem(await server.http.post("/v1/jobs", json=wanted | {"seed": 2}, headers=key), 409)
        other = await server.http.post("/v1/jobs", json=wanted, headers={"Idempotency-Key": "order 8"})
        assert other.json()["job"] not in jobs
        await server.done(jobs.pop())


async def test_events_tell_all_states_in_order_and_can_be_resumed(tmp_path: Path) -> None:
    async with live(tmp_path) as server:
        job = (await server.submit(params={"blocks": 200, "block_ms": 5.0}))["job"]
        async with server.http.stream("GET", f"/v1/jobs/{job}/events") as stream:
            heard = [event async for event in sse(stream)]
        states = [event["state"] for event in heard if event["type"] == "job.changed"]
        assert states == ["queued", "running", "publishing", "succeeded"]
        seqs = [event["seq"] for event in heard if event["type"] == "job.changed"]
        assert seqs == sorted(seqs)
        progress = [event["progress"] for event in heard if event["type"] == "job.progress"]
        assert progress == sorted(progress)
        assert len(set(progress)) > 3
        since = {"Last-Event-ID": str(seqs[1])}
        async with server.http.stream("GET", f"/v1/jobs/{job}/events", headers=since) as stream:
            rest = [event["state"] async for event in sse(stream)]
        assert rest == ["publishing", "succeeded"]


async def test_a_socket_tells_progress_and_takes_cancel(tmp_path: Path) -> None:
    async with live(tmp_path) as server:
        job = (await server.submit(params=LONG))["job"]
        url = f"ws://127.0.0.1:{server.port}/v1/jobs/{job}/events"
        async with websockets.connect(url, subprotocols=[websockets.Subprotocol(SUBPROTOCOL)]) as socket:
            await socket.send('{"type":"hello","client":"test"}')
            heard: list[dict[str, Any]] = []
            async for text in socket:
                heard.append(json.loads(text))
                if heard[-1]["state"] == "running" and heard[-1].get("progress", 0) > 0:
                    break
            await socket.send('{"type":"cancel"}')
            heard += [json.loads(text) async for text in socket]
        assert heard[-1]["state"] == "cancelled"
        assert socket.close_code == 1000


async def test_cancel_works_while_a_job_waits_and_while_it_runs(tmp_path: Path) -> None:
    async with live(tmp_path) as server:
        running = (await server.submit(params=LONG))["job"]
        waiting = (await server.submit(params=LONG, seed=2))["job"]
        await server.until(running, "running")
        assert (await server.http.get(f"/v1/jobs/{waiting}")).json()["queue_position"] == 0
        assert (await server.http.delete(f"/v1/jobs/{waiting}")).json()["state"] == "cancelled"
        asked = time.monotonic()
        assert (await server.http.post(f"/v1/jobs/{running}/cancel")).status_code == 202
        assert (await server.done(running))["state"] == "cancelled"
        assert time.monotonic() - asked < 10
        again = await server.http.delete(f"/v1/jobs/{waiting}")
        assert (again.status_code, again.json()["state"]) == (202, "cancelled"), "asking twice is no mistake"


async def test_a_provider_that_fails_dies_or_lies_is_a_failed_job_with_a_reason(tmp_path: Path) -> None:
    async with live(tmp_path) as server:
        expected = {
            "raise": ("provider_error", 3),
            "die": ("worker_died", 3),
            "refuse": ("bad_input", 1),
            "garbage": ("bad_result", 1),
        }
        for how, (code, attempts) in expected.items():
            view = await server.done((await server.submit(params=SHORT | {"fail": how}))["job"])
            assert (view["state"], view["failure"]["code"], view["attempt"]) == ("failed", code, attempts), how
            assert view["failure"]["message"]
        assert (await server.http.get("/v1/assets")).json() == [], "nothing of it was published"
        view = await server.done((await server.submit(params=SHORT))["job"])
        assert view["state"] == "succeeded", "the lane goes on"


async def test_a_worker_that_hangs_is_killed_when_its_job_is_cancelled_and_the_job_can_be_tried_again(
    tmp_path: Path,
) -> None:
    async with live(tmp_path) as server:
        job = (await server.submit(params=SHORT | {"fail": "hang"}))["job"]
        await server.until(job, "running")
        await server.http.delete(f"/v1/jobs/{job}")
        assert (await server.done(job))["state"] == "cancelled"
        answer = await server.http.post(f"/v1/jobs/{job}/retry")
        assert (answer.status_code, answer.json()["state"]) == (202, "queued")
        assert_problem(await server.http.post(f"/v1/jobs/{job}/retry"), 409)
        await server.until(job, "running")
        await server.http.delete(f"/v1/jobs/{job}")


async def test_a_job_for_nobody_says_who_there_is(tmp_path: Path) -> None:
    async with live(tmp_path) as server:
        view = await server.done((await server.submit(provider="nobody"))["job"])
        assert (view["state"], view["failure"]["code"]) == ("failed", "no_provider")
        assert "rehearsal" in view["failure"]["hint"]
        names = [one["name"] for one in (await server.http.get("/v1/providers")).json()]
        assert "rehearsal" in names


async def test_a_full_queue_says_when_to_come_back(tmp_path: Path) -> None:
    async with live(tmp_path, {"jobs": {"max_queued": 2}}) as server:
        running = (await server.submit(params=LONG))["job"]
        await server.until(running, "running")
        waiting = [(await server.submit(params=LONG, seed=n))["job"] for n in (2, 3)]
        full = await server.http.post("/v1/jobs", json={"provider": "rehearsal", "seed": 4})
        assert_problem(full, 429)
        assert int(full.headers["retry-after"]) >= 1
        for job in (*waiting, running):
            await server.http.delete(f"/v1/jobs/{job}")


async def test_urgent_jobs_go_first_and_late_ones_expire(tmp_path: Path) -> None:
    async with live(tmp_path) as server:
        running = (await server.submit(params=LONG))["job"]
        await server.until(running, "running")
        calm = (await server.submit(params=LONG, seed=2, priority=1))["job"]
        urgent = (await server.submit(params=SHORT, seed=3, priority=9))["job"]
        late = (await server.submit(params=LONG, seed=4, deadline_s=0.05))["job"]
        assert (await server.http.get(f"/v1/jobs/{urgent}")).json()["queue_position"] == 0
        assert (await server.done(late))["state"] == "expired"
        await server.http.delete(f"/v1/jobs/{running}")
        assert (await server.done(urgent))["state"] == "succeeded"
        await server.http.delete(f"/v1/jobs/{calm}")


BAD_FILES: list[tuple[str, bytes, int]] = [
    ("image", png(8193, 8), 413),
    ("image", png(100_000, 100_000), 413),
    ("image", b"GIF89a" + bytes(50), 415),
    ("image", b"<svg/>", 415),
    ("image", b"", 422),
    ("image", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0", 422),
    ("image", b"\xff\xd8\xff\xe0\0\x10JFIF", 422),
    ("image", b"RIFF\0\0\0\0WEBPVP8 ", 422),
    ("image", png() + bytes(10 << 20), 413),
    ("mesh", b"glTF\2\0\0\0\0\0\0\0" + bytes(20), 415),
    ("keyboard", png(), 422),
    ("keyframes", png(), 422),
]


async def test_bad_files_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    async with live(tmp_path) as server:
        for role, data, status in BAD_FILES:
            form = await server.http.post("/v1/jobs", data={"provider": "rehearsal"}, files={role: ("a.png", data)})
            assert_problem(form, status)
            text = base64.b64encode(data).decode()
            by_text = await server.http.post("/v1/jobs", json={"provider": "rehearsal", "inputs": {role: text}})
            assert_problem(by_text, status)
        assert (await server.http.get("/v1/jobs")).json() == []
        assert list((tmp_path / "jobs" / "spool").iterdir()) == []


async def test_bad_bodies_are_refused(tmp_path: Path) -> None:
    async with live(tmp_path) as server:
        post = server.http.post
        assert_problem(await post("/v1/jobs", content=b"x", headers={"Content-Type": "text/plain"}), 415)
        assert_problem(await post("/v1/jobs", content=b"{", headers={"Content-Type": "application/json"}), 422)
        deep = b'{"params":' + b'{"a":' * 5000 + b"1" + b"}" * 5001
        assert_problem(await post("/v1/jobs", content=deep, headers={"Content-Type": "application/json"}), 422)
        for wrong in (
            {"seed": -1},
            {"provider": "../x"},
            {"asset": "../x"},
            {"params": {"a": "x" * 20_000}},
            {"inputs": {"image": "no base64!"}},
            {"inputs": {"image": {"blob": "x"}}},
            {"webhook": {"url": "file:///etc/passwd"}},
            *({"webhook": {"url": "https://example.org/", "secret": f"whsec_{s}"}} for s in NO_SECRETS),
            {"unknown": 1},
        ):
            assert_problem(await post("/v1/jobs", json=wrong), 422)
        assert_problem(await post("/v1/jobs", json={"inputs": {"image": {"blob": "0" * 64}}}), 404)
        assert_problem(await server.http.get(f"/v1/jobs/job-{'0' * 24}"), 404)
        assert_problem(await server.http.get("/v1/jobs/x"), 422)


async def test_jobs_belong_to_their_scene(tmp_path: Path) -> None:
    async with live(tmp_path, {"for_admins": []}) as server:
        tokens = server.identity.tokens

        def bearer(scene: str, role: Role) -> httpx.Headers:
            return httpx.Headers(
                {"Authorization": f"Bearer {tokens.issue(Grant(scene, role), 3600, int(time.time()))}"}
            )

        mine, others, viewer = bearer("a", Role.PUBLISH), bearer("b", Role.PUBLISH), bearer("a", Role.SUBSCRIBE)
        wanted = {"provider": "rehearsal", "params": SHORT, "asset": "vase"}
        assert_problem(await server.http.post("/v1/jobs", json=wanted, headers=viewer), 403)
        assert_problem(await server.http.post("/v1/jobs", json=wanted | {"scene": "b"}, headers=mine), 403)
        made = (await server.http.post("/v1/jobs", json=wanted, headers=mine)).json()
        assert made["scene"] == "a"
        assert_problem(await server.http.get(f"/v1/jobs/{made['job']}", headers=others), 404)
        assert_problem(await server.http.delete(f"/v1/jobs/{made['job']}", headers=viewer), 403)
        assert (await server.http.get("/v1/jobs", headers=others)).json() == []
        await server.done(made["job"])
        assert (await server.http.get("/v1/assets/vase", headers=mine)).json()["scene"] == "a"
        assert_problem(await server.http.post("/v1/jobs", json=wanted, headers=others), 404)
        by_name = {"provider": "rehearsal", "params": SHORT, "asset_name": "vase"}
        assert_problem(await server.http.post("/v1/jobs", json=by_name, headers=others), 404)


async def test_rehearsals_are_for_admins(tmp_path: Path) -> None:
    async with live(tmp_path) as server:
        grant = Grant("a", Role.PUBLISH)
        bearer = {"Authorization": f"Bearer {server.identity.tokens.issue(grant, 3600, int(time.time()))}"}
        wanted = {"provider": "rehearsal", "params": SHORT}
        assert_problem(await server.http.post("/v1/jobs", json=wanted, headers=bearer), 403)
        answer = await server.http.post("/v1/jobs", json={"text": "red cube"}, headers=bearer)
        assert answer.status_code == 202, "any other provider is for all who may write"


async def test_running_jobs_are_listed_by_what_they_do(tmp_path: Path) -> None:
    async with live(tmp_path) as server:
        waiting = [(await server.submit(params=LONG, seed=n))["job"] for n in range(3)]
        running = waiting[0]
        await server.until(running, "running")
        listed = [
            job["job"]
            for state in ("loading", "running")
            for job in (await server.http.get(f"/v1/jobs?state={state}&limit=1")).json()
        ]
        assert set(listed) == {running}
        assert (await server.http.get("/v1/jobs?state=yielding")).json() == []
        assert len((await server.http.get("/v1/jobs?state=queued&limit=1")).json()) == 1
        for job in waiting:
            await server.http.delete(f"/v1/jobs/{job}")


async def test_what_jobs_bring_is_limited_all_together(tmp_path: Path) -> None:
    async with live(tmp_path, {"jobs": {"max_spool_bytes": len(png()) + 10}}) as server:
        running = (await server.submit(params=LONG))["job"]
        await server.until(running, "running")
        post = server.http.post
        form: dict[str, Any] = {"data": {"provider": "rehearsal"}, "files": {"image": ("a.png", png())}}
        first = (await post("/v1/jobs", **form)).json()["job"]
        assert_problem(await post("/v1/jobs", **form), 507)
        await server.http.delete(f"/v1/jobs/{running}")
        assert (await server.done(first))["state"] == "succeeded"
        assert (await post("/v1/jobs", **form)).status_code == 202, "there is room again"


async def test_a_form_names_each_racer_in_a_field_of_its_own(tmp_path: Path) -> None:
    async with live(tmp_path) as server:
        for racers in (["relief", "prims"], ["relief"]):
            form = {"job": json.dumps({"providers": ["trellis"]}), "providers": racers}
            answer = await server.http.post("/v1/jobs", data=form, files={"image": ("a.png", png())})
            assert answer.status_code == 202, answer.text
            assert answer.json()["wanted"]["providers"] == racers


async def test_what_failed_keeps_its_files_for_a_retry_but_nothing_that_it_made(tmp_path: Path) -> None:
    config = {"jobs": {"retry": {"max_attempts": 1}}}
    async with live(tmp_path, config) as server:
        form: dict[str, Any] = {"provider": "rehearsal", "params": json.dumps(SHORT | {"fail": "garbage"})}
        made = (await server.http.post("/v1/jobs", data=form, files={"image": ("a.png", png())})).json()["job"]
        assert (await server.done(made))["state"] == "failed"
        spool = tmp_path / "jobs" / "spool" / made
        await server.done((await server.submit(params=SHORT))["job"])  # the lane has let go of the first
        assert [path.name for path in spool.iterdir()] == ["in"]
        assert (await server.http.post(f"/v1/jobs/{made}/retry")).status_code == 202
        await server.done(made)


async def test_a_job_fills_the_slot_that_it_names_if_that_is_of_its_scene(tmp_path: Path) -> None:
    async with live(tmp_path) as server:
        job = await server.submit(scene="main", slot="here", text="a cube")
        assert (await server.done(job["job"]))["state"] == "succeeded"
        view = (await server.http.get("/v1/slots/here")).json()
        assert view["scene"] == "main"
        assert view["current"]["asset"] == job["asset"]
        elsewhere = await server.http.post("/v1/jobs", json={"provider": "rehearsal", "scene": "yard", "slot": "here"})
        assert elsewhere.status_code == 409


async def test_the_openapi_document_tells_what_a_job_is(tmp_path: Path) -> None:
    async with live(tmp_path) as server:
        document = (await server.http.get("/openapi.json")).json()
        body = document["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]
        assert {"provider", "inputs", "seed", "webhook"} <= set(body["application/json"]["schema"]["properties"])
        fields = body["multipart/form-data"]["schema"]["properties"]
        assert ("image" in fields, fields["providers"]["type"]) == (True, "array")
        assert "$defs" not in json.dumps(document)


async def test_nobody_is_held_up_by_a_client_that_waits(tmp_path: Path) -> None:
    async with live(tmp_path) as server:
        job = (await server.submit(params=LONG))["job"]
        waiting = asyncio.create_task(server.http.get(f"/v1/jobs/{job}?wait=50", timeout=60))
        await server.until(job, "running")
        assert (await server.http.get("/v1/jobs")).status_code == 200
        await server.http.delete(f"/v1/jobs/{job}")
        assert (await waiting).json()["state"] == "cancelled"
