"""From a server's address to those of its sockets and pages."""

from __future__ import annotations

import pytest

from clients.address import events_url, page_url, socket_url


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://localhost:8443", "wss://localhost:8443/v1/map"),
        ("http://host/base/", "ws://host/base/v1/map"),
        ("wss://host/v1/map", "wss://host/v1/map"),
    ],
)
def test_socket_url(url: str, expected: str) -> None:
    assert socket_url(url) == expected


def test_pages_and_events_lie_beside_the_map() -> None:
    for url in ("https://host:1/base", "wss://host:1/base/v1/map"):
        assert page_url(url) == "https://host:1/base/"
        assert events_url(url) == "wss://host:1/base/v1/assets/events"


@pytest.mark.parametrize("url", ["localhost:8443", "ftp://host", "", "https://"])
def test_socket_url_refuses_what_is_no_address(url: str) -> None:
    with pytest.raises(ValueError, match="not a server's address"):
        socket_url(url)
