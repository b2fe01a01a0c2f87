"""TRELLIS: the adapter over a stand-in of upstream's package; and upstream's own first stage under the real gate.

The stand-in has upstream's methods and files and none of its sense. The real flow model, sampler and decoder of stage 1
run with tiny random weights where their wheel can be fetched (`slow`); stage 2 needs a GPU.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import capture as scene_of
from mapping.objects import glb, solid
from mapping.objects.splats import ply
from mapping.objects.splats.cloud import Splats, upside_down
from server.generation import keyframes
from server.generation.flows import watched
from server.generation.gate import GateMemory, Perception
from server.generation.parking import Parking
from server.generation.provider import Cancelled, GenerationFailed, Request, Result
from server.generation.providers import trellis
from streams.frame import Intrinsics
from tests.server.generation.test_embedded_providers import Run, request

WHEELS = ("trellis-3d-ms==0.1.0", "easydict==1.13")


class Flow(torch.nn.Module):  # type: ignore[misc]
    """Of two blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = torch.nn.ModuleList([torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)])

    def forward(self, x: Any) -> Any:
        for block in self.blocks:
            x = block(x)
        return x


class Sampler:
    def sample_once(self, model: Any) -> Any:
        return model(torch.ones(1, 2))


class Pipeline:
    """What the adapter sees of upstream's pipelines."""

    def __init__(self) -> None:
        self.models = {"flow": Flow(), "plain": torch.nn.Linear(1, 1)}
        self.sparse_structure_sampler, self.slat_sampler = Sampler(), Sampler()
        self.asked: list[tuple[Any, dict[str, Any]]] = []

    @classmethod
    def from_pretrained(cls, repo: str) -> Pipeline:
        if not (Path(repo) / "pipeline.json").exists():
            raise OSError(f"{repo} has no pipeline.json")
        return cls()

    def to(self, device: Any) -> None:
        assert device == torch.device("cpu")

    def sample_sparse_structure(self, params: dict[str, Any]) -> None:
        for _ in range(params["steps"]):
            self.sparse_structure_sampler.sample_once(self.models["flow"])

    def sample_slat(self, params: dict[str, Any]) -> None:
        for _ in range(params["steps"]):
            self.slat_sampler.sample_once(self.models["flow"])

    def decode_slat(self, formats: list[str]) -> dict[str, list[Any]]:
        box = solid.box(0.5, 1.0, 0.5)
        mesh = SimpleNamespace(
            success=True, faces=torch.tensor(box.faces.astype(np.int64)),
            vertices=torch.tensor(box.vertices_m[:, [0, 2, 1]] * [1, -1, 1], dtype=torch.float32),
            vertex_attrs=torch.tensor([[1.0, 0.0, 0.0, 0, 0, 1]]).repeat(len(box.vertices_m), 1),
        )  # fmt: skip
        made = {
            "mesh": mesh,
            "gaussian": Gaussians(),
            "radiance_field": SimpleNamespace(density=torch.ones(8, 2), rank=2),
        }
        return {name: [made[name]] for name in formats}

    def run(self, what: Any, **asked: Any) -> dict[str, list[Any]]:
        self.asked.append((what, asked))
        self.sample_sparse_structure(asked["sparse_structure_sampler_params"])
        self.sample_slat(asked["slat_sampler_params"])
        return self.decode_slat(asked["formats"])

    run_multi_image = run


class Gaussians:
    """A row of three, along upstream's own up."""

    def save_ply(self, path: str, transform: list[list[int]]) -> None:
        centres = np.array([[0.0, 0.0, 0.0], [0.1, 0.2, 0.3], [0.0, 0.0, 0.5]]) @ np.array(transform).T
        row = Splats(
            centres.astype(np.float32), np.full((3, 3), 0.05, np.float32), np.tile(np.float32([1, 0, 0, 0]), (3, 1)),
            np.ones(3, np.float32), np.zeros((3, 1, 3), np.float32),
        )  # fmt: skip
        Path(path).write_bytes(ply.encode(upside_down(row)))  # `encode` turns it once more


@pytest.fixture
def provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trellis.Trellis:
    upstream, pipelines = ModuleType("trellis"), ModuleType("trellis.pipelines")
    pipelines.TrellisImageTo3DPipeline = pipelines.TrellisTextTo3DPipeline = Pipeline  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "trellis", upstream)
    monkeypatch.setitem(sys.modules, "trellis.pipelines", pipelines)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "pipeline.json").write_text("{}")
    made = trellis.create(dict.fromkeys(("image", "text"), str(tmp_path / "weights")))
    made.load("cpu")
    return made


@dataclass
class Noted(Run):
    told: list[float] = field(default_factory=list)
    num_parks: int = 0

    def park(self) -> None:
        self.num_parks += 1

    def progress(self, fraction: float) -> None:
        self.told.append(fraction)


def test_a_mesh_of_a_text_is_upright_coloured_and_of_the_wanted_height(
    provider: trellis.Trellis, tmp_path: Path
) -> None:
    run = Noted(tmp_path)
    made = provider.run(request("a box", steps=3, height_m=0.4), run)
    assert run.stages == [stage.name for stage in provider.describe().stages]
    assert run.told == pytest.approx(2 * [1 / 3, 2 / 3, 1])
    assert run.num_parks >= 2 * 3 * 2
    mesh = glb.decode((tmp_path / "lod0.glb").read_bytes())
    assert mesh.extents_m() == pytest.approx([0.2, 0.4, 0.2], abs=1e-3)
    assert mesh.texture is not None
    assert np.median(mesh.texture.reshape(-1, 3), axis=0).tolist() == [255, 0, 0]
    assert made.metadata["scale_confidence"] == 0.5
    what, asked = provider._pipelines["text"].asked[0]
    assert (what, asked["formats"], asked["seed"]) == ("a box", ["mesh"], 1)
    assert asked["slat_sampler_params"] == {"steps": 3, "cfg_strength": 3.0}


def test_splats_stand_upright_in_every_format_and_fields_are_upstreams_own(
    provider: trellis.Trellis, tmp_path: Path
) -> None:
    def made(output: str) -> Result:
        return provider.run(Request("job-1", 1, "a box", {}, {"steps": 1, "height_m": 0.6}, output), Noted(tmp_path))

    splats = made("3dgs")
    first = next(file.path for file in splats.files if file.role == "splat" and file.path.suffix == ".ply")
    centres = ply.decode(first.read_bytes()).centres_m
    assert centres[0] == pytest.approx([0, 0, 0.12], abs=0.07)
    assert centres[2] - centres[0] == pytest.approx([0, 0.6, 0], abs=1e-5)
    assert {"ply", "spz", "glb"} <= {file.path.suffix[1:] for file in splats.files if file.role == "splat"}
    from safetensors.torch import load_file

    field = made("radiance_field")
    assert list(load_file(str(field.files[0].path))) == ["density"]


def test_several_keyframes_are_cut_out_and_given_together(provider: trellis.Trellis, tmp_path: Path) -> None:
    scene, k = scene_of.build(), Intrinsics.from_fov(260, 196)
    poses = scene_of.poses(scene, 5)
    views = [scene.view(pose, k) for pose in poses]
    folder = tmp_path / "keyframes"
    folder.mkdir()
    keyframes.write(folder, keyframes.Keyframes("kitchen", 4, {f"phone/{i}": view for i, view in enumerate(views)}))
    box = scene_of.box_around(views[0], 0, 3.0)
    params = {"box": [box.left_px, box.top_px, box.right_px, box.bottom_px], "keyframe": "phone/0", "views": 3}
    provider.run(Request("job-1", 1, "", {"keyframes": (folder,)}, {**params, "steps": 1}, "3dgs"), Noted(tmp_path))
    pictures, _ = provider._pipelines["image"].asked[0]
    assert [picture.mode for picture in pictures] == 3 * ["RGBA"]
    share = [np.asarray(picture)[..., 3].mean() / 255 for picture in pictures]
    assert all(0.2 < one < 0.8 for one in share), "the thing fills the picture, its surroundings are left out"


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(GenerationFailed) as failed:
        trellis.create({}).load("cpu")
    assert failed.value.code == "missing"
    assert "doctor trellis" in failed.value.hint
    assert trellis.create({}).describe().inputs == ("image", "images", "keyframes", "mask")


# -- upstream's own code ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Upstream's modules, without its `__init__` files, which want everything at once."""
    folder = tmp_path_factory.mktemp("wheels")
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder), *WHEELS]
    try:
        done = subprocess.run(install, capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        pytest.skip(f"{WHEELS[0]} cannot be fetched in time")
    if done.returncode:
        pytest.skip(f"{WHEELS[0]} cannot be fetched: {done.stderr.strip()[-200:]}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATTN_BACKEND", "sdpa")
        patch.syspath_prepend(str(folder))
        for name in ("trellis", "trellis.pipelines"):
            bare = ModuleType(name)
            bare.__path__ = [str(folder / name.replace(".", "/"))]
            patch.setitem(sys.modules, name, bare)
        yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] in ("trellis", "easydict")]:
        del sys.modules[name]


class StageOne:
    """Upstream's networks and sampler of stage 1, called as its pipeline calls them."""

    def __init__(self) -> None:
        from trellis.models.sparse_structure_flow import SparseStructureFlowModel
        from trellis.models.sparse_structure_vae import SparseStructureDecoder
        from trellis.pipelines.samplers.flow_euler import FlowEulerGuidanceIntervalSampler

        torch.manual_seed(5)
        flow = SparseStructureFlowModel(
            resolution=8, in_channels=4, model_channels=32, cond_channels=16, out_channels=4, num_blocks=6, num_heads=2
        )
        for weights in flow.parameters():  # upstream begins with a flow that stands still
            torch.nn.init.normal_(weights, std=0.05)
        decoder = SparseStructureDecoder(out_channels=1, latent_channels=4, num_res_blocks=1, channels=[16, 8])
        self.models = {"flow": flow.eval(), "decoder": decoder.eval()}
        self.sparse_structure_sampler = FlowEulerGuidanceIntervalSampler(sigma_min=1e-5)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def sample_sparse_structure(self) -> Any:
        generator = torch.Generator().manual_seed(7)
        noise = torch.randn(1, 4, 8, 8, 8, generator=generator)
        cond = torch.randn(1, 5, 16, generator=generator)
        found = self.sparse_structure_sampler.sample(
            self.models["flow"], noise, cond=cond, neg_cond=torch.zeros_like(cond), steps=12, cfg_strength=7.5,
            cfg_interval=(0.5, 1.0), rescale_t=3.0, verbose=False,
        )  # fmt: skip
        return torch.argwhere(self.models["decoder"](found.samples) > 0)


@dataclass
class Gated(Noted):
    parking: Any = None

    def park(self) -> None:
        super().park()
        self.parking.park()


@pytest.mark.slow
def test_upstreams_stage_one_parks_at_its_blocks_and_comes_to_the_same(upstream: Path, tmp_path: Path) -> None:
    stage_one = StageOne()
    alone = stage_one.sample_sparse_structure()
    assert 0 < len(alone) < 16**3, "some voxels are full, not all"
    gate, is_over = GateMemory.create(), threading.Event()

    def perceive() -> None:
        perception = Perception(gate)
        while not is_over.is_set():
            with perception.closed():
                is_over.wait(0.004)
            is_over.wait(0.004)

    perceiving = threading.Thread(target=perceive)
    try:
        run = Gated(tmp_path, parking=Parking(gate, lambda: False))
        perceiving.start()
        with watched(stage_one, run, trellis.STAGE_OF, steps=12):
            gated = stage_one.sample_sparse_structure()
    finally:
        is_over.set()
        perceiving.join()
        gate.close()
    assert torch.equal(alone, gated)
    assert run.stages == ["structure"]
    assert run.told == pytest.approx([step / 12 for step in range(1, 13)])
    assert run.num_parks > 12 * 6, "with guidance a step takes the six blocks twice"
    assert run.parking.parked_ns > 0
    assert len(run.parking.park_ms) >= 2


@pytest.mark.slow
def test_upstreams_stage_one_is_cancelled_within_a_block(upstream: Path, tmp_path: Path) -> None:
    stage_one, gate = StageOne(), GateMemory.create()
    run = Gated(tmp_path)
    run.parking = Parking(gate, lambda: run.num_parks >= 40)
    try:
        with pytest.raises(Cancelled), watched(stage_one, run, trellis.STAGE_OF, steps=12):
            stage_one.sample_sparse_structure()
    finally:
        gate.close()
    assert run.num_parks == 40
    assert "sample_once" not in vars(stage_one.sparse_structure_sampler)
    assert not stage_one.models["flow"].blocks[0]._forward_pre_hooks
