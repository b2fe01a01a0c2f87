"""What the tests of VGGT cannot do without."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import pytest

GOLDENS = Path(__file__).parents[3] / "goldens" / "vggt"


def needs_torch() -> None:
    """Skip the module where PyTorch is not installed; on CI that is a failure."""
    if os.environ.get("CI"):
        importlib.import_module("torch")
    pytest.importorskip("torch", reason="needs PyTorch: pip install commonground[vggt]")
