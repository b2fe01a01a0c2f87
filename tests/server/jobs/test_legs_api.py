"""Races over HTTP: what is said about them, and who may name whom."""

from __future__ import annotations

import base64
import time
from pathlib import Path
from typing import Any

from server.api.jobs_view import job_view
from server.assets.values import AssetFile, NewVersion
from server.auth import Grant, Role
from server.jobs import machine
from server.jobs.desk import Desk
from server.jobs.values import Wanted
from tests.server.jobs.live import live, png

MADE = NewVersion(files=(AssetFile(role="lod0", format="glb", sha256="0" * 64, size=1),))
SHORT = {"blocks": 1, "block_ms": 1.0}


async def test_a_race_says_what_became_of_each(tmp_path: Path) -> None:
    async with live(tmp_path) as server:
        image = base64.b64encode(png(16, 16)).decode()
        wanted: dict[str, Any] = {"provider": "auto", "providers": ["trellis2", "rehearsal"], "params": SHORT}
        job = await server.submit(**wanted, inputs={"image": image})
        done = await server.done(job["job"])
        assert (done["state"], done["progress"]) == ("succeeded", 1.0)
        lost, won = done["legs"]
        assert (lost["provider"], lost["part"], lost["made"], lost["failure"]["code"]) == (
            "trellis2", "race", False, "no_provider",
        )  # fmt: skip
        assert (won["provider"], won["made"], won["failure"], won["verdict"]) == ("rehearsal", True, None, None)
        version = (await server.http.get(done["result"]["url"])).json()
        assert [racer["provider"] for racer in version["quality"]["race"]] == ["trellis2", "rehearsal"]
        for bad in ({"providers": ["rehearsal", "rehearsal"]}, {"provider": "relief", "providers": ["relief"]}):
            answer = await server.http.post("/v1/jobs", json={"provider": "auto", **bad})
            assert answer.status_code == 422, answer.text


async def test_who_is_for_admins_is_so_in_a_race_and_on_the_way_too(tmp_path: Path) -> None:
    async with live(tmp_path) as server:
        grant = Grant("main", Role.PUBLISH)
        headers = {"Authorization": f"Bearer {server.identity.tokens.issue(grant, 600, int(time.time()))}"}
        for named in (
            {"provider": "rehearsal"},
            {"providers": ["prims", "rehearsal"]},
            {"via": "rehearsal-picture", "text": "cube"},
        ):
            answer = await server.http.post("/v1/jobs", json=named, headers=headers)
            assert (answer.status_code, "admin" in answer.text) == (403, True)


async def test_between_two_legs_a_job_is_as_far_as_its_legs_are(tmp_path: Path) -> None:
    async with Desk.opened(tmp_path) as desk:
        job, _ = await desk.submit(Wanted(text="red cube", providers=("prims", "library")), ())
        shares = [(await job_view(desk, job)).progress]
        for _ in range(2):
            job = await desk.step(job.job, lambda known: machine.start(known, "prims", "1", 1))
            shares.append((await job_view(desk, job)).progress)
            job = await desk.step(job.job, lambda known: machine.make(known, MADE, 2))
            shares.append((await job_view(desk, job)).progress)
        assert shares == sorted(shares)
        assert 0.2 < shares[2] < 0.8
