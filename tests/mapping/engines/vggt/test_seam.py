"""The engine is found by its name, and nobody pays for PyTorch who does not ask for it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError

from mapping import engines

WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
from mapping import engines
assert "vggt" in engines.available()
try:
    engines.create("vggt", {"weights": "seeded"})
except ImportError as error:
    assert "pip install 'commonground[vggt]'" in str(error), error
else:
    raise AssertionError("it was made without PyTorch")
"""


def test_without_torch_the_engine_is_listed_and_says_what_to_install() -> None:
    subprocess.run([sys.executable, "-c", WITHOUT_TORCH], check=True, timeout=120)


@pytest.mark.parametrize("config", [{"weigths": "x"}, {"long_side_px": 500}, {"dtype": "int8"}, {"max_views": 0}])
def test_a_config_that_means_nothing_is_refused(config: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        engines.create("vggt", config)
