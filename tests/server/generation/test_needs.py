"""What an environment lacks, told from its files; and `providers install`, with a real venv and a wheel of our own."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from server.generation import install as installing
from server.generation.install import install
from server.generation.needs import NOTHING, Checkout, Extension, Needs, Package, Weights, lacking
from server.generation.registry import Config, Known, Registry, python_in


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """Of an environment that has `here`, a folder, `there.py`, and a compiled `built`."""
    site = tmp_path / "env" / "lib" / "python3.11" / "site-packages"
    (site / "here" / "deep").mkdir(parents=True)
    (site / "there.py").touch()
    (site / "built.cpython-311-x86_64-linux-gnu.so").touch()
    python = tmp_path / "env" / "bin" / "python"
    python.parent.mkdir()
    python.touch()
    return python


def test_packages_are_found_by_their_files(python: Path, tmp_path: Path) -> None:
    names = ("here", "there", "built", "here.deep", "here.nowhere", "her", "absent")
    needs = Needs(tuple(Package(f"{name}==1", name) for name in names))
    lacks = lacking(needs, "x", python)
    assert [lack.what for lack in lacks] == ["here.nowhere==1", "her==1", "absent==1"]
    assert all(str(lack).endswith("commonground providers install x") for lack in lacks)
    (python.parent.parent / "lib" / "python3.11" / "site-packages" / "absent.py").touch()
    assert "absent==1" not in [lack.what for lack in lacking(needs, "x", python)]
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").touch()
    assert lacking(needs, "x", tmp_path / "bin" / "python") == [], "it is in no environment: nobody knows"
    elsewhere = python.parent / "nobody" / "bin" / "python"
    assert [lack.kind for lack in lacking(needs, "x", elsewhere)] == ["environment"]


def test_code_extensions_and_weights_are_named_with_their_terms(
    python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    needs = Needs(
        checkouts=(Checkout("https://example.org/code.git", "a/b.py", "MIT"),),
        extensions=(Extension("rasteriser", "git+https://example.org/r.git", "no commercial use"),),
        weights=(
            Weights("me/model", "pipeline.json", "MIT"),
            Weights("you/model", "model.safetensors", "theirs", gated=True),
            Weights("net", "net.pth", "MIT", fetch="fetch()"),
            Weights(str(tmp_path / "own"), "w.bin", "MIT"),
        ),
    )
    lacks = lacking(needs, "x", python)
    assert [lack.kind for lack in lacks] == ["code", "extension", *4 * ["weights"]]
    code, extension, open_, gated, fetched, own = (lack.todo for lack in lacks)
    assert code.startswith("git clone --recurse-submodules https://example.org/code.git")
    assert (
        extension == f"{python} -m pip install --no-build-isolation git+https://example.org/r.git (no commercial use)"
    )
    assert open_ == f"{python.parent / 'hf'} download me/model (MIT)"
    assert gated.startswith("gated: agree to its terms")
    assert fetched == f"{python} -c 'fetch()' (MIT)"
    assert "w.bin" in own
    for file in (
        "env/code/a/b.py", "hub/models--me--model/snapshots/1/pipeline.json", "torch/hub/checkpoints/net.pth",
        "hub/models--you--model/snapshots/1/model.safetensors", "own/w.bin",
    ):  # fmt: skip
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    assert [lack.kind for lack in lacking(needs, "x", python)] == ["extension"]


def test_the_registry_uses_the_environment_that_was_made(tmp_path: Path) -> None:
    registry = Registry(Config(environments=tmp_path))
    assert registry.get("shap-e").python == sys.executable
    assert registry.get("trellis").python == str(tmp_path / "trellis" / "bin" / "python")
    assert next(lack.kind for lack in registry.get("trellis").lacks) == "environment"
    assert registry.get("prims").missing is None
    made = python_in(tmp_path / "shap-e")
    made.parent.mkdir(parents=True)
    made.touch()
    assert registry.get("shap-e").python == str(made)


def test_an_environment_gets_all_that_our_own_code_imports_there() -> None:
    code = (
        "import sys\n"
        "from server.generation import handing, sources, flows\n"
        "from mapping.objects import dressing, finishing, formats, glb, judging\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    makers = metadata.packages_distributions()
    imported = {maker.lower().replace("_", "-") for name in ran.stdout.split() for maker in makers.get(name, ())}
    allowed, grown = {"commonground", "setuptools"}, set(installing.FINISHING)
    while grown:
        allowed |= grown
        lines = [line for one in grown for line in _requires(one)]
        grown = {installing._name(line).replace("_", "-") for line in lines} - allowed
    optional = {"networkx", "pyyaml", "cascadio", "charset-normalizer"}  # trimesh takes them where they are
    assert imported <= allowed | optional


def _requires(distribution: str) -> list[str]:
    try:
        return [line for line in metadata.requires(distribution) or [] if "extra ==" not in line]
    except metadata.PackageNotFoundError:  # for another platform
        return []


@pytest.mark.slow
def test_install_makes_an_environment_and_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installing, "FINISHING", ())
    wheel = _wheel(tmp_path)
    rasteriser = Extension("rasteriser", "git+https://example.org/r.git", "MIT")

    def known(requirement: str) -> Known:
        needs = Needs((Package(requirement, "tiny_part"),), extensions=(rasteriser,))
        about = Registry(Config()).get("prims").description
        return Known(about, "", "", {}, (), needs)

    folder = tmp_path / "env"
    broken = list(install(known(str(tmp_path / "nothing.whl")), folder))
    assert [(one.subject, one.is_ok) for one in broken] == [("venv", True), ("package", False)]
    assert "install.log" in broken[1].detail
    done = list(install(known(str(wheel)), folder))
    assert [(one.subject, one.is_ok) for one in done] == [("package", True), ("extension", False)]
    assert "yours to bring" in done[1].detail
    again = list(install(known(str(wheel)), folder))
    assert [one.subject for one in again] == ["extension"]
    assert [one.is_ok for one in install(Known(known("").description, "", "", {}, (), NOTHING), folder)] == [True]


def test_a_step_that_fails_tells_its_own_error(tmp_path: Path) -> None:
    with (tmp_path / "install.log").open("a") as log:
        run = [sys.executable, "-c"]
        said = installing._call([*run, "print('ERROR: no such thing', flush=True); raise SystemExit(2)"], log)
        assert "ERROR: no such thing" in str(said)
        assert "it ended with 3" in str(installing._call([*run, "raise SystemExit(3)"], log))


def _wheel(folder: Path) -> Path:
    path = folder / "tiny_part-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny_part.py", "")
        archive.writestr("tiny_part-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-part\nVersion: 1.0\n")
        archive.writestr(
            "tiny_part-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("tiny_part-1.0.dist-info/RECORD", "")
    return path
