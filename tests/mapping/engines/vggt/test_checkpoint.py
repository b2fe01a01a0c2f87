"""Checkpoints: every form loads the same, and every fault is one error that names the tensor."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.mapping.engines.vggt.needs import needs_torch

needs_torch()

import torch  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from mapping.engines.vggt.checkpoints import hub  # noqa: E402
from mapping.engines.vggt.checkpoints.checkpoint import check, load  # noqa: E402
from mapping.engines.vggt.checkpoints.files import CheckpointError, digest, find  # noqa: E402

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


@pytest.mark.parametrize("share", [0.01, 0.3, 0.9])
def test_a_truncated_model_pt_is_one_clear_error(tmp_path: Path, state: State, share: float) -> None:
    path = pickled(tmp_path, state) / "model.pt"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match=r"model\.pt: truncated"):
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
    with pytest.raises(CheckpointError, match="weights only") as caught:
        load(network(), find(tmp_path))
    assert "weights_only" not in str(caught.value)
    assert caught.value.__suppress_context__  # nor does a traceback pass on PyTorch's advice to execute it


@pytest.mark.parametrize("bad", [torch.full((2,), torch.nan), torch.tensor([1.0, -torch.inf])])
@pytest.mark.parametrize("write", [whole, pickled])
def test_numbers_that_are_not_finite_are_named(
    tmp_path: Path, state: State, write: Callable[[Path, State], Path], bad: Tensor
) -> None:
    state["1.bias"] = bad
    with pytest.raises(CheckpointError, match=r"1\.bias holds numbers that are not finite"):
        load(network(), find(write(tmp_path, state)))


@pytest.mark.parametrize(
    ("odd", "what"),
    [
        (torch.ones(2, dtype=torch.int8), "int8"),
        (torch.ones(2, dtype=torch.complex64), "complex64"),
        (torch.ones(2).to_sparse(), "not a plain tensor"),
        (torch.ones(2, device="meta"), "not a plain tensor"),
    ],
)
def test_tensors_without_plain_numbers_are_named(tmp_path: Path, state: State, odd: Tensor, what: str) -> None:
    state["1.bias"] = odd
    with pytest.raises(CheckpointError, match=rf"model\.pt: 1\.bias .*{what}"):
        load(network(), find(pickled(tmp_path, state)))


@pytest.mark.parametrize(
    "program", [b"\x80\x02h\x05.", b"\x80\x02K\x01K\x02R.", b"\x80\x02\x85.", b"\x80\x02ctorch\nTensor\n."]
)
def test_whatever_a_crafted_pickle_breaks_is_one_error(tmp_path: Path, program: bytes) -> None:
    with zipfile.ZipFile(tmp_path / "model.pt", "w") as archive:
        archive.writestr("a/data.pkl", program)
        archive.writestr("a/version", "3\n")
    with pytest.raises(CheckpointError, match=r"model\.pt"):
        load(network(), find(tmp_path))


def test_the_old_format_says_how_to_convert(tmp_path: Path, state: State) -> None:
    torch.save(state, tmp_path / "model.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match=r"old format of torch\.save; convert it"):
        load(network(), find(tmp_path))


@pytest.mark.parametrize("name", ["model.pt", "model.safetensors"])
@pytest.mark.parametrize(
    ("content", "what"), [(b"", "is empty"), (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull")]
)
def test_stand_ins_are_told_apart(tmp_path: Path, name: str, content: bytes, what: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=what):
        find(tmp_path)


def test_a_folder_in_a_files_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").mkdir()
    with pytest.raises(CheckpointError, match="is not a file"):
        find(tmp_path)


@pytest.mark.parametrize("write", [whole, pickled])
def test_a_check_reads_shapes_only(tmp_path: Path, state: State, write: Callable[[Path, State], Path]) -> None:
    check(network().to("meta"), find(write(tmp_path, state | {"1.bias": torch.full((2,), torch.nan)})))
    with pytest.raises(CheckpointError, match=rf"{tmp_path}.*1\.bias has shape"):
        check(network().to("meta"), find(write(tmp_path, state | {"1.bias": torch.zeros(7)})))


def test_a_lost_shard_is_named_with_what_it_should_hold(tmp_path: Path, state: State) -> None:
    sharded(tmp_path, state)
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"00002-of-00002\.safetensors does not exist; it should hold 0\.bias"):
        find(tmp_path)


@pytest.mark.parametrize(
    "index",
    [
        *("", "[]", '{"weight_map": 3}', '{"weight_map": {}}', '{"weight_map": {"a": ""}}'),
        *('{"weight_map": {"a": "b.bin"}}', '{"weight_map": {"a": "../../etc/passwd"}}', "[" * 50_000),
    ],
    ids=range(8),
)
def test_a_hostile_index_is_refused(tmp_path: Path, index: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(index)
    with pytest.raises(CheckpointError):
        find(tmp_path)


def test_nowhere_and_empty_folders_say_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"holds none of model\.safetensors"):
        find(tmp_path)
    with pytest.raises(CheckpointError, match=r"neither a file"):
        hub.locate(str(tmp_path / "model.pt"))


@pytest.mark.parametrize(("stated", "told"), [("", "unknown: read the model card"), ("MIT", "MIT (as configured)")])
def test_the_licence_of_a_local_file_is_the_stated_one(tmp_path: Path, state: State, stated: str, told: str) -> None:
    assert hub.locate(str(whole(tmp_path, state)), stated_licence=stated)[1] == told


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
