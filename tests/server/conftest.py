"""One film for all tests of the server that need one."""

from __future__ import annotations

import pytest

from streams.frame import Frame
from tests.server.filming import make_film


@pytest.fixture(scope="session")
def film() -> list[Frame]:
    """See `make_film`; look, do not touch."""
    return make_film()
