"""Shap-E: the real diffusers pipelines with tiny random weights, out of folders, as the lane calls them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("diffusers", reason="pip install 'commonground[shap-e]'")

from mapping.objects import glb
from server.generation.gate import Perception
from server.generation.needs import lacking
from server.generation.provider import Cancelled, GenerationFailed
from server.generation.providers import shap_e
from server.jobs.values import Wanted
from tests.server.generation import tiny_shap_e
from tests.server.generation.test_embedded_providers import Run, check, request
from tests.server.generation.test_lane import lane, until_phase

pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
COARSE = 32
"""Points along the decoder's grid, instead of 128: tests are to be quick."""


@dataclass
class Counted(Run):
    """Counts the parks of each stage, and is cancelled at one of them."""

    cancel_at_park: int = -1

    def __post_init__(self) -> None:
        self.parks: dict[str, int] = {}
        self.told: dict[str, list[float]] = {}

    def park(self) -> None:
        stage = self.stages[-1]
        self.parks[stage] = self.parks.get(stage, 0) + 1
        if sum(self.parks.values()) == self.cancel_at_park:
            raise Cancelled

    def progress(self, fraction: float) -> None:
        self.told.setdefault(self.stages[-1], []).append(fraction)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> shap_e.ShapE:
    return _loaded(tmp_path_factory.mktemp("weights"), has_surface=True)


def _loaded(folder: Path, *, has_surface: bool) -> shap_e.ShapE:
    provider = shap_e.create(tiny_shap_e.save(folder, has_surface=has_surface))
    provider.load("cpu")
    for pipe in provider._pipes.values():
        renderer = pipe.shap_e_renderer
        renderer.decode_to_mesh = partial(renderer.decode_to_mesh, grid_size=COARSE)
    return provider


@pytest.mark.slow
def test_text_to_a_textured_asset(loaded: shap_e.ShapE, tmp_path: Path) -> None:
    run = Counted(tmp_path)
    made = loaded.run(request("a cup", steps=3, height_m=0.4), run)
    check(loaded, made, run)
    mesh = glb.decode((tmp_path / "lod0.glb").read_bytes())
    assert mesh.texture is not None
    assert made.metadata["bbox_m"][1][1] == pytest.approx(0.4, abs=1e-4)
    assert made.metadata["scale_confidence"] == 0.5
    # 2 layers of the encoder; 2 blocks in each of the 5 calls of 3 Heun steps; 8 batches and more of the decoder
    assert (run.parks["encode"], run.parks["denoise"]) == (2, 10)
    assert run.parks["decode"] > COARSE**3 / 4096
    assert run.told["denoise"] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


@pytest.mark.slow
def test_a_picture_is_cut_out_and_the_same_seed_gives_the_same(loaded: shap_e.ShapE, tmp_path: Path) -> None:
    rows, columns = np.mgrid[:120, :160]
    disc = (rows - 60) ** 2 + (columns - 90) ** 2 < 40**2
    cv2.imwrite(str(tmp_path / "image-0.png"), np.where(disc[..., None], [40, 60, 200], 170).astype(np.uint8))
    cv2.imwrite(str(tmp_path / "mask-0.png"), (disc * 255).astype(np.uint8))
    files = {"image": (tmp_path / "image-0.png",), "mask": (tmp_path / "mask-0.png",)}
    shown = np.asarray(shap_e._cut_out(request(files=files)))
    assert shown.shape[0] == shown.shape[1] == round(79 * 1.2)
    assert (shown[0] == 255).all()
    assert shown[len(shown) // 2, len(shown) // 2].tolist() == [200, 60, 40]
    once, twice = (loaded._generated(request(files=files, steps=2), Counted(tmp_path)) for _ in range(2))
    assert np.array_equal(once.vertices_m, twice.vertices_m)
    other = loaded._generated(request("a cup", steps=2), Counted(tmp_path))
    assert not np.array_equal(once.rgb, other.rgb)


def test_cancelled_between_two_blocks_and_usable_after(loaded: shap_e.ShapE, tmp_path: Path) -> None:
    run = Counted(tmp_path, cancel_at_park=6)
    with pytest.raises(Cancelled):
        loaded.run(request("a cup", steps=50), run)
    assert sum(run.parks.values()) == 6
    pipe = loaded._pipes["text"]
    assert "step" not in vars(pipe.scheduler), "it is as it was"
    assert not pipe.prior.transformer_blocks[0]._forward_pre_hooks


def test_weights_that_enclose_nothing_say_so(tmp_path: Path) -> None:
    provider = _loaded(tmp_path / "w", has_surface=False)
    with pytest.raises(GenerationFailed) as failed:
        provider.run(request("a cup", steps=1), Counted(tmp_path))
    assert failed.value.code == "no_surface"
    assert "seed" in failed.value.hint


def test_bad_params_and_missing_weights(loaded: shap_e.ShapE, tmp_path: Path) -> None:
    for bad in ({"steps": 0}, {"steps": "many"}, {"guidance": -1}, {"height_m": True}):
        with pytest.raises(GenerationFailed) as failed:
            loaded.run(request("a cup", **bad), Counted(tmp_path))
        assert failed.value.code == "bad_input"
    options: dict[str, Any] = {"text": str(tmp_path / "nowhere"), "image": None}
    assert [lack.kind for lack in _lacks(options)] == ["weights"]
    with pytest.raises(GenerationFailed) as failed:
        shap_e.create(options).load("cpu")
    assert failed.value.code == "missing"
    assert "doctor shap-e" in failed.value.hint
    loaded_text_only = shap_e.ShapE({"text": "anywhere"})
    with pytest.raises(GenerationFailed) as failed:
        loaded_text_only.run(request(files={"image": (tmp_path,)}), Counted(tmp_path))
    assert failed.value.code == "unsuitable"


def _lacks(options: dict[str, Any]) -> list[Any]:
    import sys

    return lacking(shap_e.needs(options), "shap-e", Path(sys.executable))


@pytest.mark.slow
async def test_in_its_own_process_it_yields_to_perception_and_what_it_makes_is_published(tmp_path: Path) -> None:
    options = tiny_shap_e.save(tmp_path / "weights", has_surface=True)
    config = {"registry": {"providers": {"shap-e": {"options": options}}}}
    async with lane(tmp_path, config) as (generation, gate, bus):
        wanted = Wanted(task="text-to-3d-asset", text="a cup", provider="shap-e", params={"steps": 4})
        job, _ = await generation.desk.submit(wanted, ())
        await until_phase(generation, job, "running")
        with Perception(gate).closed():
            await until_phase(generation, job, "yielding")
            worker = generation.lanes["cpu"].worker
            assert worker is not None
            assert not worker.is_stopped, "it parked by itself"
        done = await generation.desk.wait(job.job, 60)
        assert done.failure is None
        assert (done.state, done.attempt) == ("succeeded", 1)
        version = await bus.ask(lambda catalog, _: catalog.version(done.asset, None))
        assert {"lod0", "lod1", "lod2", "collision", "thumbnail"} <= {file.role for file in version.files}
        assert version.provenance["provider"] == "shap-e"


async def test_weights_that_are_not_there_are_named_at_once(tmp_path: Path) -> None:
    options = {"text": str(tmp_path / "nowhere"), "image": None}
    async with lane(tmp_path, {"registry": {"providers": {"shap-e": {"options": options}}}}) as (generation, _, _bus):
        job, _ = await generation.desk.submit(Wanted(text="a cup", provider="shap-e"), ())
        done = await generation.desk.wait(job.job, 60)
        assert done.failure is not None
        assert "weights" in done.failure.hint
        assert done.attempt == 0
