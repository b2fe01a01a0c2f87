"""A GPU that was asked for is used, or its lack is told; nothing falls back to the CPU in silence."""

from __future__ import annotations

import pytest

from mapping import engines
from tests.mapping.engines.vggt.needs import needs_torch

needs_torch()

import torch  # noqa: E402

from mapping.engines.vggt.devices import chosen, unusable  # noqa: E402


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A PyTorch with CUDA that sees two."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: torch.cuda.device_count() > 0)
    return monkeypatch


def test_auto_is_a_gpu_where_there_is_one(gpus: pytest.MonkeyPatch) -> None:
    assert chosen("auto").type == "cuda"
    gpus.setattr(torch.cuda, "device_count", lambda: 0)
    assert chosen("auto").type == "cpu"


@pytest.mark.parametrize("visible", ["", "-1"])
def test_a_worker_of_the_cpu_stays_there(gpus: pytest.MonkeyPatch, visible: str) -> None:
    gpus.setenv("CUDA_VISIBLE_DEVICES", visible)
    gpus.setattr(torch.cuda, "device_count", lambda: 0)
    assert chosen("auto").type == "cpu"


def test_a_worker_of_a_gpu_that_is_not_there_fails(gpus: pytest.MonkeyPatch) -> None:
    gpus.setenv("CUDA_VISIBLE_DEVICES", "3")
    gpus.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ValueError, match=r"CUDA_VISIBLE_DEVICES=3\) cannot be used: PyTorch sees no GPU"):
        chosen("auto")
    gpus.setattr(torch.backends.cuda, "is_built", lambda: False)
    with pytest.raises(ValueError, match="built for the CPU only; install"):
        engines.create("vggt", {"weights": "seeded", "architecture": "tiny"})


def test_each_lack_is_told(gpus: pytest.MonkeyPatch) -> None:
    assert unusable("cuda:1") is None
    assert unusable("cpu:1") is None
    assert "sees only 2 GPUs" in str(unusable("cuda:3"))
    assert "no device of PyTorch" in str(unusable("gpu"))


def test_the_doctor_asks_for_the_workers_device(gpus: pytest.MonkeyPatch) -> None:
    seeded = {"weights": "seeded", "architecture": "tiny"}
    assert engines.unfit("vggt", seeded, "cuda:0") is None
    assert "cuda:3 cannot be used" in str(engines.unfit("vggt", seeded, "cuda:3"))
    assert "cuda:7 cannot be used" in str(engines.unfit("vggt", seeded | {"device": "cuda:7"}, "cuda:0"))
    assert engines.unfit("classical", None, "cpu") == engines.missing("classical")
