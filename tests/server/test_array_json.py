"""Large arrays as JSON: the same as at once, in pieces."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from server.api.array_json import to_json


@pytest.mark.parametrize("shape", [(0,), (3,), (0, 3), (5000, 3), (2, 90, 70), (1, 1, 9000), (4097,), (3, 5000)])
def test_says_what_the_array_holds(shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(1).normal(0, 1, shape).round(3)
    value: dict[str, Any] = {"a": array, "plain": [1, None, "x"], "in": {"b": array.astype(np.uint8), "none": {}}}
    found = json.loads(to_json(value))
    assert found == {
        "a": array.tolist(), "plain": [1, None, "x"], "in": {"b": array.astype(np.uint8).tolist(), "none": {}}
    }  # fmt: skip
    assert json.loads(to_json({})) == {}


def test_unknown_is_null() -> None:
    array = np.zeros((3, 3000))
    array[1, 2] = np.nan
    assert json.loads(to_json({"a": array}))["a"][1][:4] == [0, 0, None, 0]
