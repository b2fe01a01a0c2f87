from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from mapping import engines
from server.devices import choose_devices, choose_engine, gpus, named, visible_to
from server.generation.process import _environment as generating
from server.workers.device import Config as DeviceConfig
from server.workers.device import Device
from server.workers.process import _environment as perceiving
from server.workers.quarantine import Quarantine
from tests.server.filming import open_scenes


@pytest.fixture
def two_gpus(tmp_path: Path) -> Path:
    for bus in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / bus).mkdir()
    return tmp_path


def test_gpus_are_what_the_driver_lists(two_gpus: Path, tmp_path: Path) -> None:
    assert gpus(two_gpus) == ["cuda:0", "cuda:1"]
    assert gpus(tmp_path / "none") == []


def test_gpus_that_were_taken_from_this_process_are_not_there(two_gpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for visible, names in (("1", ["cuda:0"]), ("", []), ("-1", []), ("0,1", ["cuda:0", "cuda:1"])):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert gpus(two_gpus) == names
    with pytest.raises(ValueError, match="leaves 1 GPUs"):
        visible_to("cuda:1", "1")


def test_auto_is_vggt_only_with_a_gpu_and_weights(two_gpus: Path, tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    options = {"weights": str(weights)}
    assert choose_engine("auto", options, two_gpus) == "classical"
    weights.touch()
    assert choose_engine("auto", options, two_gpus) == "classical", "an empty file is no weights"
    assert choose_engine("auto", {"weights": "seeded"}, two_gpus) == "vggt"
    assert choose_engine("auto", {"weights": "seeded"}, tmp_path / "none") == "classical"
    assert choose_engine("auto", {"max_depth": 5.0}, two_gpus) == "classical"


def test_named_engines_and_devices_are_taken_as_they_are(two_gpus: Path) -> None:
    assert choose_engine("mine:engine", {}, two_gpus) == "mine:engine"
    assert choose_devices(["cuda:1"], "vggt") == ("cuda:1",)
    assert choose_devices(["auto"], "classical") == ("cpu",)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("auto", ("auto",)),
        ("cpu", ("cpu",)),
        ("0,1", ("cuda:0", "cuda:1")),
        ("cuda:1, cpu", ("cuda:1", "cpu")),
        ("cpu:0,cpu:1", ("cpu:0", "cpu:1")),
        ("cpu,cpu,0", ("cpu:0", "cpu:1", "cuda:0")),
    ],
)
def test_devices_are_named_as_people_write_them(text: str, names: tuple[str, ...]) -> None:
    assert named(text) == names


@pytest.mark.parametrize("text", ["", "gpu", "0,0", "auto,cpu", "cpu,", "cuda:x"])
def test_devices_that_mean_nothing_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="auto"):
        named(text)


def test_an_engine_says_what_it_lacks(tmp_path: Path) -> None:
    assert engines.missing("classical") is None
    assert engines.missing("vggt", {"weights": "seeded"}) is None
    assert "neither a file" in (engines.missing("vggt", {"weights": str(tmp_path / "none.pt")}) or "")
    with pytest.raises(ValueError, match="no geometry engine"):
        engines.missing("nope")


def test_a_child_sees_the_gpu_that_its_parent_means() -> None:
    assert visible_to("cuda:1", None) == "1"
    assert visible_to("cuda:1", "2,3") == "3"
    assert visible_to("cuda", "GPU-a, GPU-b") == "GPU-a"
    assert visible_to("cpu", "2,3") == ""


def test_every_child_counts_gpus_as_the_driver_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    for order in ("FASTEST_FIRST", ""):
        monkeypatch.setenv("CUDA_DEVICE_ORDER", order)
        for environment in (perceiving("cuda:1", 1), generating("cuda:1", 1)):
            assert environment["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
            assert environment["CUDA_VISIBLE_DEVICES"] == "3"


async def test_one_device_that_is_up_makes_a_server_ready_and_the_others_say_what_is_wrong(tmp_path: Path) -> None:
    scenes, settings = await open_scenes(tmp_path), DeviceConfig(window_bytes=1 << 16, result_bytes=1 << 16)
    one, two = (Device(name, "toy", {}, settings, Quarantine()) for name in ("cuda:0", "cuda:1"))
    states = [one.stats(), replace(two.stats(), state="failing", detail="OSError: no more processes", restarts=3)]
    states[1] = replace(states[1], failed_share=0.5, last_failure="ValueError: not finite")
    scenes._pool = SimpleNamespace(stats=lambda: states)  # type: ignore[assignment]
    assert not scenes.readiness().is_ready
    states[0] = replace(states[0], state="ready", detail="")
    assert scenes.readiness().is_ready
    assert scenes.readiness().detail == {"cuda:0": "ok", "cuda:1": "failing: OSError: no more processes"}
    assert [d.num_restarts for d in scenes.devices()] == [0, 3]
    assert scenes.devices()[1].detail == "OSError: no more processes"
    assert [(d.failed_share, d.last_failure) for d in scenes.devices()] == [
        (None, None),
        (0.5, "ValueError: not finite"),
    ]
    for device in (one, two):
        await device.close()
    await scenes.close()
