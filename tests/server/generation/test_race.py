"""Races and chains through the real lane: real workers make, the judge compares, the best is published."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import capture as scene_of
from mapping.objects import glb, solid
from mapping.objects.finishing import png
from mapping.objects.fitting import Fit
from mapping.objects.judging import judged
from mapping.objects.mesh import Mesh, floor_centre_m, moved, scaled
from mapping.objects.refining import Refined
from mapping.objects.view import View
from server.assets.database import Gone
from server.generation import keyframes
from server.generation.gate import Perception
from server.generation.provider import GenerationFailed, Request
from server.generation.providers import judge, refiner
from server.jobs.inputs import Folder, Upload
from server.jobs.values import Wanted
from streams.frame import Intrinsics
from tests.server.generation.test_embedded_providers import Run
from tests.server.generation.test_lane import lane


def photo() -> bytes:
    scene, k = scene_of.build(), Intrinsics.from_fov(260, 196)
    view = scene.view(scene_of.poses(scene, 6)[0], k)
    assert view.mask is not None
    rgb = view.rgb.copy()
    rgb[~view.mask] = 200
    return png(rgb)


@pytest.mark.slow
async def test_the_relief_of_a_photo_beats_a_cube_and_both_marks_are_kept(tmp_path: Path) -> None:
    async with lane(tmp_path) as (generation, _, bus):
        wanted = Wanted(providers=("rehearsal", "relief", "nobody"), params={"blocks": 1, "block_ms": 1.0})
        job, _ = await generation.desk.submit(wanted, [Upload("image", photo())])
        looks = [generation.desk.live(job.job) async for _ in generation.desk.follow(job.job, None)]
        shown = [live.shown.fraction for live in looks if live is not None]
        done = await generation.desk.get(job.job)
        assert done.failure is None
        assert [(leg.provider, leg.part, leg.made is not None) for leg in done.legs] == [
            ("rehearsal", "race", True), ("relief", "race", True), ("nobody", "race", False), ("judge", "judge", False),
        ]  # fmt: skip
        assert shown == sorted(shown), "what a client sees never goes back"
        assert done.result is not None
        version = await bus.ask(lambda catalog, _: catalog.version(done.asset, None))
        assert version.version == done.result.version
        assert version.provenance["provider"] == "relief"
        cube, relief, nobody = version.quality["race"]
        assert relief["score"] > cube["score"] + 0.2
        assert relief["mask_iou"] > 0.9
        assert nobody == {"provider": "nobody", "failed": "no_provider"}


async def test_a_text_becomes_a_picture_and_the_picture_a_thing(tmp_path: Path) -> None:
    async with lane(tmp_path) as (generation, _, bus):
        wanted = Wanted(
            task="text-to-3d-asset",
            text="red cube 20 cm",
            via="rehearsal-picture",
            provider="rehearsal",
            params={"blocks": 1},
        )
        job, _ = await generation.desk.submit(wanted, ())
        done = await generation.desk.wait(job.job, 60)
        assert (done.state, done.provider, done.failure) == ("succeeded", "rehearsal", None)
        version = await bus.ask(lambda catalog, _: catalog.version(done.asset, None))
        assert [file.role for file in version.files if file.role == "lod0"]
        assert done.legs[0].made is not None
        assert version.provenance["inputs"] == [{"role": "image", "sha256": done.legs[0].made.files[0].sha256}]


async def test_a_chain_without_anybody_who_draws_says_so(tmp_path: Path) -> None:
    async with lane(tmp_path) as (generation, _, _bus):
        wanted = Wanted(task="text-to-3d-asset", text="red cube", via="relief")
        job, _ = await generation.desk.submit(wanted, ())
        done = await generation.desk.wait(job.job, 60)
        assert done.failure is not None
        assert (done.state, done.failure.code) == ("failed", "no_provider")
        assert "rehearsal-picture" in done.failure.hint


async def test_of_a_race_who_is_left_wins_and_the_others_say_why_not(tmp_path: Path) -> None:
    async with lane(tmp_path) as (generation, _, bus):
        wanted = Wanted(providers=("trellis", "nobody", "rehearsal"), params={"blocks": 2, "block_ms": 1.0})
        job, _ = await generation.desk.submit(wanted, [Upload("image", photo())])
        done = await generation.desk.wait(job.job, 60)
        assert [leg.made is not None for leg in done.legs] == [False, False, True]
        trellis, nobody = (leg.failure.hint for leg in done.legs[:2] if leg.failure is not None)
        assert "providers doctor trellis" in trellis
        assert "there is no provider 'nobody'" in nobody
        version = await bus.ask(lambda catalog, _: catalog.version(done.asset, None))
        assert version.quality["race"][0] == {"provider": "trellis", "failed": "no_provider"}


async def test_what_was_made_before_the_server_ended_is_not_made_again(tmp_path: Path) -> None:
    wanted = Wanted(text="red cube 20 cm", providers=("prims", "rehearsal"), params={"blocks": 400, "block_ms": 2.0})
    async with lane(tmp_path) as (generation, _, _bus):
        job, _ = await generation.desk.submit(wanted, ())
        async for _ in generation.desk.follow(job.job, None):
            if len((before := await generation.desk.get(job.job)).legs) == 1 and before.state == "running":
                break
    async with lane(tmp_path) as (generation, _, bus):
        after = await generation.desk.wait(job.job, 60)
        assert (after.state, after.failure) == ("succeeded", None)
        assert after.legs[0] == before.legs[0]
        assert [leg.provider for leg in after.legs] == ["prims", "rehearsal"]
        version = await bus.ask(lambda catalog, _: catalog.version(after.asset, None))
        assert version.quality["race"] == [{"provider": "prims"}, {"provider": "rehearsal"}], "nobody could judge"
        assert version.quality["unrefined"] == "there are no keyframes to fit it to"


def filmed(folder: Path) -> tuple[scene_of.Scene, dict[str, object]]:
    """Keyframes of the mug on the box in a new folder, and the params that point at it."""
    scene, k = scene_of.build(), Intrinsics.from_fov(200, 150)
    views = [scene.view(pose, k) for pose in scene_of.poses(scene, 4)]
    folder.mkdir()
    keyframes.write(folder, keyframes.Keyframes("main", 4, {f"phone/{i}": view for i, view in enumerate(views)}))
    box = scene_of.box_around(views[0], 0, 3.0)
    return scene, {"keyframe": "phone/0", "box": [box.left_px, box.top_px, box.right_px, box.bottom_px]}


@pytest.mark.slow
async def test_what_won_but_fits_badly_is_there_and_then_a_better_version_of_it(tmp_path: Path) -> None:
    _, pick = filmed(tmp_path / "filmed")
    async with lane(tmp_path) as (generation, _, bus):
        bus.open_map("main", "this one", 4)
        params = {**pick, "blocks": 1, "block_ms": 1.0, "size_m": 0.25}
        wanted = Wanted(task="capture", scene="main", providers=("rehearsal",), params=params)
        job, _ = await generation.desk.submit(wanted, [Folder("keyframes", tmp_path / "filmed")])
        stages: list[str] = []
        async for _ in generation.desk.follow(job.job, None):
            live = generation.desk.live(job.job)
            if live is not None and live.shown.stage not in stages:
                stages.append(live.shown.stage)
                if live.shown.stage == "fit":
                    shown = await bus.ask(lambda catalog, _: catalog.version(job.asset, None))
        done = await generation.desk.get(job.job)
        assert done.failure is None
        assert [(leg.provider, leg.part, leg.failure) for leg in done.legs] == [
            ("rehearsal", "race", None), ("judge", "judge", None), ("refiner", "refine", None),
        ]  # fmt: skip
        assert {"fit", "finish"} <= set(stages)
        assert (shown.version, shown.quality["race"][0]["provider"]) == (1, "rehearsal")
        assert done.result is not None
        better = await bus.ask(lambda catalog, _: catalog.version(done.asset, None))
        assert (better.version, done.result.version) == (2, 2)
        marks = better.quality["refinement"]
        assert marks == done.legs[2].verdict
        assert marks["score_before"] == pytest.approx(shown.quality["race"][0]["score"], abs=0.01)
        assert marks["score_after"] > marks["score_before"] + 0.1, "it had no colours"
        assert better.placement is not None
        assert better.placement.scale == 1.0, "its scale is in the mesh"
        assert better.provenance["provider"] == "rehearsal"
        assert {file.role for file in better.files} >= {"lod0", "lod1", "lod2", "collision", "thumbnail"}


@pytest.mark.slow
async def test_who_cancels_while_it_is_refined_gets_nothing(tmp_path: Path) -> None:
    _, pick = filmed(tmp_path / "filmed")
    async with lane(tmp_path) as (generation, gate, bus):
        bus.open_map("main", "this one", 4)
        params = {**pick, "blocks": 1, "block_ms": 1.0}
        wanted = Wanted(task="capture", scene="main", providers=("rehearsal",), params=params)
        job, _ = await generation.desk.submit(wanted, [Folder("keyframes", tmp_path / "filmed")])
        with contextlib.ExitStack() as stack:
            async for _ in generation.desk.follow(job.job, None):
                live = generation.desk.live(job.job)
                if live is not None and live.shown.stage == "fit" and live.phase == "running":
                    stack.enter_context(Perception(gate).closed())
                if live is not None and live.phase == "yielding":
                    break
            await generation.desk.cancel(job.job)
        assert (await generation.desk.wait(job.job, 60)).state == "cancelled"
        await generation.lanes["cpu"]._clerk.look()  # or it has done so already
        with pytest.raises(Gone):
            await bus.ask(lambda catalog, _: catalog.version(job.asset, None))


def test_a_thing_that_cannot_be_bettered_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene, pick = filmed(tmp_path / "keyframes")
    foot = floor_centre_m(scene.thing)
    (tmp_path / "thing.glb").write_bytes(glb.encode(moved(scene.thing, -foot)))
    place = {"scene": "main", "epoch": 4, "position_m": foot.tolist(), "quat_wxyz": [1.0, 0.0, 0.0, 0.0], "scale": 1.0}
    files = {"keyframes": (tmp_path / "keyframes",), "mesh": (tmp_path / "thing.glb",)}
    asked = Request("job-1", 1, "", files, {**pick, "placements": [place]})

    def no_better(mesh: Mesh, views: list[View], start: Fit, **_: object) -> Refined:
        same = judged(mesh, views, start.world_from_mesh, start.scale)
        return Refined(mesh, same, same)

    monkeypatch.setattr("mapping.objects.refining.refined", no_better)
    run = Run(tmp_path)
    made = refiner.create({}).run(asked, run)
    assert [file.path.name for file in made.files] == ["verdict.json"]
    told = made.metadata["quality"]["refinement"]
    assert told["score_after"] == told["score_before"]
    assert run.offered == []
    with pytest.raises(GenerationFailed, match="KeyError"):
        refiner.create({}).run(replace(asked, params=pick), run)


def test_the_judge_by_keyframes_knows_what_stands_there_and_sets_down_what_knows_no_place(tmp_path: Path) -> None:
    folder = tmp_path / "keyframes"
    scene, pick = filmed(folder)
    foot = floor_centre_m(scene.thing)
    exact, turned = moved(scene.thing, -foot), scaled(moved(scene.thing, -foot), 2.0)
    turned = replace(turned, vertices_m=turned.vertices_m @ np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]], np.float32))
    meshes = {"exact": exact, "turned": turned, "cube": solid.box(0.3, 0.3, 0.3)}
    for name, mesh in meshes.items():
        (tmp_path / f"{name}.glb").write_bytes(glb.encode(mesh))
    (tmp_path / "broken.glb").write_bytes(b"glTF")
    paths = tuple(tmp_path / f"{name}.glb" for name in (*meshes, "broken"))
    place = {"scene": "main", "epoch": 4, "position_m": foot.tolist(), "quat_wxyz": [1.0, 0.0, 0.0, 0.0], "scale": 1.0}
    params = {**pick, "placements": [place, None, None, None]}
    files = {"keyframes": (folder,), "mesh": paths}
    made = judge.create({}).run(Request("job-1", 1, "", files, params, "verdict"), Run(tmp_path))
    placed, found, cube, broken = made.metadata["quality"]["verdicts"]
    assert placed["mask_iou"] > 0.9
    assert found["score"] > cube["score"] + 0.15
    assert found["placement"]["scale"] == pytest.approx(0.5, rel=0.04)
    assert np.linalg.norm(np.array(found["placement"]["position_m"]) - foot) < 0.01
    assert list(broken) == ["failed"]
