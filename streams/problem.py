"""A request that cannot be served, said in the words of HTTP; who speaks HTTP turns it into problem+json (RFC 9457)."""

from __future__ import annotations


class RequestRefused(Exception):
    """What to answer instead: `status`, a short fixed `title`, and a `detail` that says what to do next."""

    def __init__(self, status: int, title: str, detail: str) -> None:
        super().__init__(f"{status} {title}: {detail}")
        self.status, self.title, self.detail = status, title, detail
