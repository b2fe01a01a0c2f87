"""The Khronos glTF validator in Node: the judge of every GLB that we publish.

The npm package is one of the engines' packages, which `scripts/setup.sh test` installs; it is no part of the product.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_PACKAGES = Path(__file__).parents[2] / "clients" / "engines" / "web" / "node_modules"
Report = dict[str, Any]


class ValidatorMissing(RuntimeError):
    """Node or the npm package is not here."""


def validate(files: Mapping[str, bytes], timeout_s: float = 60.0) -> dict[str, Report]:
    """The validator's own report on each GLB: `issues.numErrors`, `issues.messages`, `info`.

    Raises:
        ValidatorMissing: Node or the package is not here; `scripts/setup.sh test` installs it.
        RuntimeError: the validator itself failed.
    """
    node = shutil.which("node")
    if node is None or not (_PACKAGES / "gltf-validator").is_dir():
        raise ValidatorMissing("run scripts/setup.sh test: it installs Node's packages, gltf-validator among them")
    script = Path(__file__).with_name("validate.cjs")
    job = json.dumps({name: data.hex() for name, data in files.items()})
    done = subprocess.run(
        [node, str(script), str(_PACKAGES / "gltf-validator")],
        input=job, capture_output=True, text=True, timeout=timeout_s,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"the validator failed: {done.stderr.strip()[-2000:]}")
    reports: dict[str, Report] = json.loads(done.stdout)
    return reports


def errors(files: Mapping[str, bytes]) -> list[str]:
    """Every error in every file, as `file: CODE at pointer: message`; see `validate`.

    Left out is exactly what is none: the validator is older than KHR_gaussian_splatting, whose attributes it refuses.
    """
    return [
        f"{name}: {issue['code']} at {issue.get('pointer', '?')}: {issue['message']}"
        for name, report in validate(files).items()
        for issue in report["issues"]["messages"]
        if issue["severity"] == 0 and not _is_of_gaussians(issue)
    ]


def _is_of_gaussians(issue: Report) -> bool:
    pointer = str(issue.get("pointer", ""))
    return issue["code"] == "MESH_PRIMITIVE_INVALID_ATTRIBUTE" and "/attributes/KHR_gaussian_splatting:" in pointer
