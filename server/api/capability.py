"""Unguessable names: who has one may act on the stream behind it; the stream's public name follows from it.

Everybody in a scene sees the names of its streams. Only the camera itself knows the secret its stream was named after:
it is in the URL the camera was given, is never stored, and still proves ownership when the stream has long ended.
"""

from __future__ import annotations

import base64
import hashlib
import secrets

from streams.frame import StreamId

SECRET_BYTES = 18


def new_secret() -> str:
    return secrets.token_urlsafe(SECRET_BYTES)


def stream_of(secret: str) -> StreamId:
    """The public name of the stream that belongs to a secret."""
    digest = hashlib.sha256(f"commonground stream {secret}".encode()).digest()
    return StreamId(base64.urlsafe_b64encode(digest[:9]).decode())
