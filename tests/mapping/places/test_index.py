"""The index in this process."""

from __future__ import annotations

import pytest

from mapping.places.index import LocalIndex
from tests.mapping.places.index_contract import IndexContract, MakeIndex


class TestLocalIndex(IndexContract):
    @pytest.fixture
    def make(self) -> MakeIndex:
        return LocalIndex
