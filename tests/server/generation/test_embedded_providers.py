"""The providers that need no weights, as the lane calls them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks import capture as scene_of
from benchmarks import gltf_validator
from mapping.objects import formats, glb, solid
from mapping.objects.mesh import volume_m3
from server.assets.resolve import Wish, choose
from server.assets.values import AssetFile, NewVersion, Placement
from server.generation import handing, keyframes
from server.generation.provider import Cancelled, GenerationFailed, Request, Result
from server.generation.providers import capture, library, prims, relief
from streams.frame import Intrinsics
from tests.mapping.objects.broken import BROKEN, triangle
from tests.mapping.objects.shapes import ball
from tests.mapping.objects.splats.clouds import pillar


@dataclass
class Run:
    """A `server.generation.provider.Context` that writes down what it is told."""

    spool: Path
    cancel_at: str = ""
    device: str = "cpu"
    cancelled: bool = False
    stages: list[str] = field(default_factory=list)
    offered: list[Result] = field(default_factory=list)

    def stage(self, name: str) -> None:
        self.stages.append(name)
        if name == self.cancel_at:
            raise Cancelled

    def progress(self, fraction: float) -> None:
        pass

    def park(self) -> None:
        pass

    def offer(self, result: Result) -> None:
        self.offered.append(result)


def request(text: str = "", files: dict[str, tuple[Path, ...]] | None = None, **params: Any) -> Request:
    return Request("job-1", 1, text, files or {}, params)


def publishable(result: Result) -> NewVersion:
    """What the bus would take: checks roles, formats and facts."""
    files = tuple(
        AssetFile(
            role=made.role, format=made.path.suffix[1:], sha256="0" * 64, size=made.path.stat().st_size,  # type: ignore[arg-type]
            extensions=made.extensions, triangles=made.triangles,
        )
        for made in result.files
    )  # fmt: skip
    facts = json.loads(json.dumps(result.metadata))
    return NewVersion(files=files, **facts)


def check(provider: Any, made: Result, run: Run) -> None:
    """What holds for every run: stages as described, a first version that can be shown, valid files."""
    assert run.stages == [stage.name for stage in provider.describe().stages]
    roles = [file.role for file in publishable(run.offered[-1]).files]
    assert {"lod0", "lod1", "lod2", "collision", "thumbnail"} <= set(roles)
    assert len(made.files) > len(roles)
    version = publishable(made)
    assert version.quality["problems"] == []
    assert (
        gltf_validator.errors({f.path.name: f.path.read_bytes() for f in made.files if f.path.suffix == ".glb"}) == []
    )


def test_prims(tmp_path: Path) -> None:
    provider, run = prims.create({}), Run(tmp_path)
    made = provider.run(request("red cube 20 cm"), run)
    check(provider, made, run)
    assert volume_m3(glb.decode((tmp_path / "lod0.glb").read_bytes())) == pytest.approx(0.008, rel=1e-4)
    assert made.metadata["scale_confidence"] == 1.0
    for bad, code in (
        (request("a cup of tea"), "unsuitable"),
        (request("red cube", formats=["fbx"]), "bad_input"),
        (request("red cube", formats="usdz"), "bad_input"),
    ):
        with pytest.raises(GenerationFailed) as failed:
            provider.run(bad, Run(tmp_path))
        assert failed.value.code == code
    for text, hint in (("four chairs", "ask for one"), ("a cup of tea", "shapes are")):
        with pytest.raises(GenerationFailed) as failed:
            provider.run(request(text), Run(tmp_path))
        assert hint in failed.value.hint


def test_other_formats_are_published_on_request(tmp_path: Path) -> None:
    wanted = ["ply", "obj", "stl", "dxf", "usdz", "step"]
    run = Run(tmp_path)
    made = prims.create({}).run(request("red cube 20 cm", formats=wanted), run)
    assert {file.path.suffix for file in run.offered[0].files} == {".glb", ".png"}, "what can be shown does not wait"
    assert made.metadata["quality"]["faceted"] is True
    found = {file.format for file in publishable(made).files if file.role == "lod0"}
    assert found == {"glb", *wanted}


def test_budgets_are_kept(tmp_path: Path) -> None:
    def faces(**params: Any) -> int:
        made = prims.create({}).run(request("sphere 20 cm", **params), Run(tmp_path))
        assert not made.metadata["quality"]["problems"]
        return int(made.metadata["quality"]["faces"])

    usual = faces()
    assert faces(max_faces=300) <= 300 < usual
    for bad in (3, 10**7, "many", 500.0, True):
        with pytest.raises(GenerationFailed) as failed:
            faces(max_faces=bad)
        assert failed.value.code == "bad_input"


def test_things_of_gaussians_are_handed_over_like_meshes(tmp_path: Path) -> None:
    run = Run(tmp_path)
    made = handing.hand_over_splats(pillar(), request("a pillar"), run, {"scale_confidence": 0.1})
    assert run.stages == [stage.name for stage in handing.STAGES]
    assert [file.role for file in publishable(run.offered[0]).files] == ["splat", "thumbnail"]
    version = publishable(made)
    assert {file.format for file in version.files if file.role == "splat"} == {"ply", "spz", "sog", "splat", "glb"}
    assert version.bbox_m is not None
    assert version.bbox_m[0] == pytest.approx((-0.1, 0.0, -0.1), abs=0.01)
    assert version.quality["problems"] == []
    assert choose(version.files, Wish(format="spz")).format == "spz"
    assert choose(version.files, Wish(extensions=frozenset({"KHR_gaussian_splatting"}))).format == "glb"
    assert choose(version.files, Wish()).format != "glb", "a GLB of Gaussians only for who can read it"


def test_library(tmp_path: Path) -> None:
    folder, spool = tmp_path / "models", tmp_path / "spool"
    (folder / "kitchen").mkdir(parents=True)
    spool.mkdir()
    (folder / "kitchen" / "ceramic_jug.glb").write_bytes(glb.encode(solid.box(0.1, 0.2, 0.1, (3.0, 1.0, 0.0))))
    (folder / "broken_table.glb").write_bytes(b"glTF but no more")
    provider, run = library.create({"folder": str(folder)}), Run(spool)
    made = provider.run(request("a jug"), run)
    check(provider, made, run)
    assert made.metadata["quality"]["found"] == "kitchen/ceramic_jug.glb"
    for text in ("tablet", "table"):
        with pytest.raises(GenerationFailed) as failed:
            provider.run(request(text), Run(spool))
        assert failed.value.code == "unsuitable"
    with pytest.raises(GenerationFailed, match=f"none of 0 files in {tmp_path / 'nowhere'} is") as failed:
        library.create({"folder": str(tmp_path / "nowhere")}).run(request("jug"), Run(spool))
    assert "`folder`" in failed.value.hint


@pytest.mark.parametrize("name", [name for name in BROKEN if name != "long"])
def test_library_says_of_a_broken_file_what_is_wrong(name: str, tmp_path: Path) -> None:
    (tmp_path / "jug.glb").write_bytes(BROKEN[name][0])
    with pytest.raises(GenerationFailed, match=BROKEN[name][1]) as failed:
        library.create({"folder": str(tmp_path)}).run(request("jug"), Run(tmp_path))
    assert (failed.value.code, failed.value.is_retryable) == ("unsuitable", False)
    assert failed.value.hint


@pytest.mark.parametrize(
    ("name", "data"),
    [("jug.obj", formats.encode("obj", ball())), ("jug.stl", formats.encode("stl", ball())), ("jug.glb", triangle())],
)
def test_library_takes_other_formats_and_flat_things(name: str, data: bytes, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / name).write_bytes(data)
    made = library.create({"folder": str(tmp_path / "models")}).run(request("jug"), Run(tmp_path))
    assert made.metadata["quality"]["found"] == name
    assert publishable(made).files[0].format == "glb"


def test_relief(tmp_path: Path) -> None:
    rows, columns = np.mgrid[:300, :400]
    disc = (rows - 150) ** 2 + (columns - 200) ** 2 < 100**2
    bgr = np.where(disc[..., None], [40, 60, 200], [180, 180, 180]).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "image-0.png"), bgr)
    cv2.imwrite(str(tmp_path / "mask-0.png"), (disc * 255).astype(np.uint8))
    files = {"image": (tmp_path / "image-0.png",)}
    provider, run = relief.create({}), Run(tmp_path)
    made = provider.run(request(files=files, height_m=0.5), run)
    check(provider, made, run)
    assert made.metadata["bbox_m"][1][1] == pytest.approx(0.5)
    provider.run(request(files=files | {"mask": (tmp_path / "mask-0.png",)}), Run(tmp_path))
    (tmp_path / "image-1.png").write_bytes(b"\x89PNG no")
    for bad in (
        request(files={"image": (tmp_path / "image-1.png",)}),
        request(files=files, height_m=-1),
        request(files=files, height_m="tall"),
        request(),
    ):
        with pytest.raises(GenerationFailed) as failed:
            provider.run(bad, Run(tmp_path))
        assert failed.value.code == "bad_input"


def test_relief_says_when_it_guesses_the_outline(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (90, 120, 3)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "image-0.png"), noise)
    files = {"image": (tmp_path / "image-0.png",)}
    made = relief.create({}).run(request(files=files), Run(tmp_path))
    quality = publishable(made).quality
    assert quality["problems"] == ["nothing_stands_out"]
    assert "mask" in quality["advice"]
    cv2.imwrite(str(tmp_path / "mask-0.png"), np.pad(np.full((40, 60), 255, np.uint8), ((20, 30), (30, 30))))
    made = relief.create({}).run(request(files=files | {"mask": (tmp_path / "mask-0.png",)}), Run(tmp_path))
    assert publishable(made).quality["problems"] == []


@pytest.fixture(scope="module")
def filmed() -> keyframes.Keyframes:
    scene, k = scene_of.build(), Intrinsics.from_fov(260, 196)
    views = [replace(scene.view(pose, k), mask=None) for pose in scene_of.poses(scene, 6)]
    return keyframes.Keyframes("kitchen", 4, {f"phone/{i}": view for i, view in enumerate(views)})


def test_keyframes_survive_their_folder(filmed: keyframes.Keyframes, tmp_path: Path) -> None:
    keyframes.write(tmp_path, filmed)
    back = keyframes.read(tmp_path)
    assert (back.scene, back.epoch, list(back.views)) == ("kitchen", 4, list(filmed.views))
    for name, view in filmed.views.items():
        assert np.array_equal(back.views[name].rgb, view.rgb)
        assert np.array_equal(back.views[name].world_from_camera, view.world_from_camera)
        assert np.abs(back.views[name].depth_m - view.depth_m).max() <= keyframes.DEPTH_STEP_M  # type: ignore[operator]
    (tmp_path / "000.png").unlink()
    with pytest.raises(keyframes.KeyframesBroken):
        keyframes.read(tmp_path)


def test_capture(filmed: keyframes.Keyframes, tmp_path: Path) -> None:
    folder, spool = tmp_path / "keyframes", tmp_path / "spool"
    folder.mkdir()
    spool.mkdir()
    keyframes.write(folder, filmed)
    exact = scene_of.build()
    mask = exact.view(filmed.views["phone/0"].world_from_camera, Intrinsics.from_fov(260, 196))
    box = scene_of.box_around(mask, 0, 3.0)
    files = {"keyframes": (folder,)}
    provider, run = capture.create({}), Run(spool)
    pick = [2 * v for v in (box.left_px, box.top_px, box.right_px, box.bottom_px)]
    made = provider.run(request(files=files, keyframe="phone/0", box=pick, width_px=520, height_px=392), run)
    check(provider, made, run)
    placement = Placement(**made.metadata["placement"])
    low, high = exact.thing.bounds_m()
    foot = [(low[0] + high[0]) / 2, low[1], (low[2] + high[2]) / 2]
    assert (placement.scene, placement.epoch) == ("kitchen", 4)
    assert np.linalg.norm(np.array(placement.position_m) - foot) < 0.015
    assert made.metadata["quality"]["mask_iou"] > 0.9
    early, _ = run.offered
    assert early.metadata["quality"]["stand_in"]
    assert np.linalg.norm(np.array(early.metadata["placement"]["position_m"]) - foot) < 0.25, (
        "a stand-in stands about there"
    )
    for bad, code in (
        (request(files=files), "bad_input"),
        (request(files=files, click=[1]), "bad_input"),
        (request(files=files, keyframe="nobody/1", click=[1, 1]), "bad_input"),
        (request(), "bad_input"),
        (request(files=files, click=[10, 180]), "unsuitable"),
    ):
        with pytest.raises(GenerationFailed) as failed:
            provider.run(bad, Run(spool))
        assert failed.value.code == code
    with pytest.raises(Cancelled):
        provider.run(request(files=files, box=pick, width_px=520, height_px=392), Run(spool, cancel_at="masks"))


def test_descriptions_need_no_heavy_library() -> None:
    import subprocess
    import sys

    code = (
        "import sys\n"
        "from server.generation.providers import capture, library, prims, relief\n"
        "[m.create({}).describe() for m in (capture, library, prims, relief)]\n"
        "sys.exit(any(name in sys.modules for name in ('numpy', 'cv2', 'trimesh', 'mapping')))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
