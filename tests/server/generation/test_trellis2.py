"""TRELLIS.2's adapter over a stand-in of upstream's package: its materials survive, on the right pivot and height."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import trimesh

from benchmarks import gltf_validator
from mapping.objects import glb
from server.generation.provider import GenerationFailed
from server.generation.providers import trellis2
from tests.server.generation.test_embedded_providers import Run, publishable, request


class Pipeline:
    """What the adapter sees of upstream's pipeline."""

    def __init__(self) -> None:
        self.models: dict[str, Any] = {}
        self.asked: dict[str, Any] = {}

    @classmethod
    def from_pretrained(cls, repo: str) -> Pipeline:
        return cls()

    def to(self, device: Any) -> None:
        pass

    def sample_sparse_structure(self) -> None:
        pass

    sample_shape_slat_cascade = sample_tex_slat = decode_latent = sample_sparse_structure

    def run(self, picture: Any, **asked: Any) -> list[Any]:
        self.asked = {"mode": picture.mode, **asked}
        self.sample_sparse_structure()
        self.sample_shape_slat_cascade()
        self.sample_tex_slat()
        self.decode_latent()
        nothing = dict.fromkeys(("vertices", "attrs", "coords", "layout", "voxel_size"))
        return [SimpleNamespace(faces=np.zeros((12, 3)), simplify=lambda most: None, **nothing)]


def to_glb(**asked: Any) -> trimesh.Trimesh:
    """A box somewhere, with a picture for its metal."""
    box = trimesh.creation.box([2.0, 1.0, 2.0])
    box.apply_translation([5.0, 5.0, 5.0])
    picture = __import__("PIL.Image", fromlist=["Image"]).new("RGB", (8, 8), (0, 90, 200))
    material = trimesh.visual.material.PBRMaterial(baseColorTexture=picture, metallicRoughnessTexture=picture)
    box.visual = trimesh.visual.TextureVisuals(
        uv=np.random.default_rng(1).random((len(box.vertices), 2)), material=material
    )
    assert asked["decimation_target"] == 8000
    return box


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> trellis2.Trellis2:
    upstream, pipelines, voxels = ModuleType("trellis2"), ModuleType("trellis2.pipelines"), ModuleType("o_voxel")
    pipelines.Trellis2ImageTo3DPipeline = Pipeline  # type: ignore[attr-defined]
    voxels.postprocess = SimpleNamespace(to_glb=to_glb)  # type: ignore[attr-defined]
    for module in (upstream, pipelines, voxels):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    made = trellis2.create({})
    made.load("cpu")
    return made


def test_the_finest_level_is_upstreams_own_with_all_materials(provider: trellis2.Trellis2, tmp_path: Path) -> None:
    rows, columns = np.mgrid[:120, :160]
    disc = (rows - 60) ** 2 + (columns - 90) ** 2 < 40**2
    cv2.imwrite(str(tmp_path / "image-0.png"), np.where(disc[..., None], [40, 60, 200], 170).astype(np.uint8))
    run = Run(tmp_path)
    made = provider.run(request(files={"image": (tmp_path / "image-0.png",)}, height_m=0.25), run)
    assert run.stages == [stage.name for stage in provider.describe().stages]
    assert provider._pipeline.asked == {"mode": "RGBA", "seed": 1, "pipeline_type": "1024_cascade"}
    finest = next(file.path for file in made.files if file.role == "lod0")
    assert (finest.name, b"metallicRoughnessTexture" in finest.read_bytes()) == ("materials.glb", True)
    assert gltf_validator.errors({finest.name: finest.read_bytes()}) == []
    low, high = glb.decode(finest.read_bytes()).bounds_m()
    assert np.concatenate([low, high]) == pytest.approx([-0.25, 0.0, -0.25, 0.25, 0.25, 0.25], abs=1e-6)
    assert publishable(made).bbox_m is not None


def test_bad_params_and_what_is_missing(provider: trellis2.Trellis2, tmp_path: Path) -> None:
    with pytest.raises(GenerationFailed, match="resolution"):
        provider.run(request(resolution="9000"), Run(tmp_path))
    provider.unload()
    sys.modules.pop("trellis2.pipelines")
    with pytest.raises(GenerationFailed) as failed:
        trellis2.create({}).load("cpu")
    assert failed.value.code == "missing"
    assert [(one.repo, one.gated) for one in trellis2.needs({}).weights][1][1]
