"""Checkpoints: every form loads the same, and every fault is one error that names the tensor."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.mapping.engines.vggt.needs import needs_torch

needs_torch()

import torch  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from mapping.engines.vggt.checkpoints import hub  # noqa: E402
from mapping.engines.vggt.checkpoints.checkpoint import CheckpointError, digest, find, load  # noqa: E402

State = dict[str, Tensor]


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))


@pytest.fixture
def state() -> State:
    torch.manual_seed(3)
    return {**{key: value.clone() for key, value in network().state_dict().items()}, "track_head.x": torch.zeros(5)}


def whole(folder: Path, state: State) -> Path:
    save_file(state, folder / "model.safetensors")
    return folder


def sharded(folder: Path, state: State) -> Path:
    by_key = {key: f"model-0000{n % 2 + 1}-of-00002.safetensors" for n, key in enumerate(state)}
    for name in set(by_key.values()):
        save_file({key: value for key, value in state.items() if by_key[key] == name}, folder / name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": by_key}))
    return folder


def pickled(folder: Path, state: State) -> Path:
    torch.save(state, folder / "model.pt")
    return folder


def commercial(folder: Path, state: State) -> Path:
    torch.save(state, folder / "vggt_1B_commercial.pt")
    return folder


def nested(folder: Path, state: State) -> Path:
    torch.save({"model": state, "epoch": 3}, folder / "model.pt")
    return folder


@pytest.mark.parametrize("write", [whole, sharded, pickled, commercial, nested])
def test_every_form_loads_the_same(tmp_path: Path, state: State, write: Callable[[Path, State], Path]) -> None:
    fresh = network()
    load(fresh, find(write(tmp_path, state)))
    for key, value in fresh.state_dict().items():
        torch.testing.assert_close(value, state[key], rtol=0, atol=0)


def test_values_are_cast_to_what_the_network_holds(tmp_path: Path, state: State) -> None:
    fresh = network().to(torch.bfloat16)
    load(fresh, find(whole(tmp_path, state)))
    torch.testing.assert_close(fresh.state_dict()["0.weight"], state["0.weight"].to(torch.bfloat16))


@pytest.mark.parametrize("write", [whole, sharded, pickled])
def test_a_missing_tensor_is_named(tmp_path: Path, state: State, write: Callable[[Path, State], Path]) -> None:
    del state["1.weight"], state["1.bias"]
    with pytest.raises(CheckpointError, match=r"1\.weight is missing, and 1 more"):
        load(network(), find(write(tmp_path, state)))


@pytest.mark.parametrize("write", [whole, sharded, pickled])
def test_a_wrong_shape_is_named(tmp_path: Path, state: State, write: Callable[[Path, State], Path]) -> None:
    state["1.bias"] = torch.zeros(7)
    with pytest.raises(CheckpointError, match=r"1\.bias has shape \(7,\) where the network has \(2,\)"):
        load(network(), find(write(tmp_path, state)))


def test_a_network_is_untouched_by_a_checkpoint_that_does_not_fit(tmp_path: Path, state: State) -> None:
    fresh = network()
    before = fresh.state_dict()["0.weight"].clone()
    state["1.bias"] = torch.zeros(7)
    with pytest.raises(CheckpointError):
        load(fresh, find(whole(tmp_path, state)))
    torch.testing.assert_close(fresh.state_dict()["0.weight"], before)


def test_a_truncated_safetensors_file_names_what_is_cut(tmp_path: Path, state: State) -> None:
    path = whole(tmp_path, state) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(CheckpointError, match=r"truncated: \S+ ends beyond it"):
        load(network(), find(tmp_path))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_truncated_model_pt_is_one_clear_error(tmp_path: Path, state: State, share: float) -> None:
    path = pickled(tmp_path, state) / "model.pt"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match=r"model\.pt: truncated.*0\.weight cannot be read"):
        load(network(), find(tmp_path))


@pytest.mark.parametrize("content", [b"", b"\xff" * 8, b"\x10" + b"\0" * 7 + b"{]" * 8, b"\x02" + b"\0" * 7 + b"[]"])
def test_a_file_that_is_no_safetensors_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        load(network(), find(tmp_path))


class _Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, ("1 / 0",)


def test_nothing_in_a_pickle_is_executed(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(pickle.dumps({"0.weight": _Harmful()}))
    with pytest.raises(CheckpointError, match="weights only"):
        load(network(), find(tmp_path))


def test_a_lost_shard_is_named_with_what_it_should_hold(tmp_path: Path, state: State) -> None:
    sharded(tmp_path, state)
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"00002-of-00002\.safetensors does not exist; it should hold 0\.bias"):
        find(tmp_path)


@pytest.mark.parametrize("index", ["", "[]", '{"weight_map": 3}', '{"weight_map": {"a": "../../etc/passwd"}}'])
def test_a_hostile_index_is_refused(tmp_path: Path, index: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(index)
    with pytest.raises(CheckpointError):
        find(tmp_path)


def test_nowhere_and_empty_folders_say_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"holds none of model\.safetensors"):
        find(tmp_path)
    with pytest.raises(CheckpointError, match=r"neither a file"):
        hub.locate(str(tmp_path / "model.pt"))


def test_the_digest_is_that_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    assert digest((path,)) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert digest((path, path)) != digest((path,))


def test_offline_without_a_cached_copy_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match="give its path as `weights`"):
        hub.locate("VGGT-1B")
