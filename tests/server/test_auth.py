"""Grants, tokens and origins."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.auth import Config, Denied, Grant, Role, Tokens, is_allowed_origin, is_loopback, load_secret
from server.protocol import LAYERS

TOKENS = Tokens(b"s" * 32)
FAR = 2_000_000_000
grants = st.builds(
    Grant,
    scene=st.text(max_size=20),
    role=st.sampled_from(Role),
    layers=st.frozensets(st.sampled_from(LAYERS), min_size=1),
    token_id=st.text("abc", min_size=1, max_size=8),
)


@given(grants)
def test_a_token_says_what_was_granted(grant: Grant) -> None:
    assert TOKENS.read(TOKENS.issue(grant, 60, FAR)) == grant


def test_a_role_includes_the_lower_ones_in_its_own_scene_only() -> None:
    grant = Grant("a", Role.PUBLISH)
    assert grant.allows(Role.SUBSCRIBE, "a")
    assert grant.allows(Role.PUBLISH, "a")
    assert not grant.allows(Role.ADMIN, "a")
    assert not grant.allows(Role.SUBSCRIBE, "b")
    assert not grant.allows(Role.SUBSCRIBE)
    assert Grant("*", Role.ADMIN).allows(Role.ADMIN)


def test_expired_forged_and_unsigned_tokens_are_denied() -> None:
    good = TOKENS.issue(Grant("*", Role.ADMIN), 60, FAR)
    head, body, signature = good.split(".")
    none = base64.urlsafe_b64encode(json.dumps({"alg": "none"}).encode()).rstrip(b"=").decode()
    claims = {"exp": FAR, "jti": "x", "scene": "*", "role": "admin"}
    bad = [
        TOKENS.issue(Grant("*", Role.ADMIN), 60, 1),
        Tokens(b"t" * 32).issue(Grant("*", Role.ADMIN), 60, FAR),
        f"{none}.{body}.",
        f"{head}.{body}.{signature[:-2]}",
        jwt.encode({**claims, "aud": "other"}, b"s" * 32),
        jwt.encode({**claims, "aud": "commonground", "role": "root"}, b"s" * 32),
        jwt.encode({**claims, "aud": "commonground", "layers": 7}, b"s" * 32),
        jwt.encode({"aud": "commonground", "exp": FAR}, b"s" * 32),
        "",
    ]
    for token in bad:
        with pytest.raises(Denied) as denied:
            TOKENS.read(token)
        assert denied.value.status == 401


@given(st.one_of(st.text(max_size=200), st.text("abc.=-_{}", max_size=200)))
def test_whatever_comes_as_a_token_is_denied_and_nothing_worse(token: str) -> None:
    with pytest.raises(Denied):
        TOKENS.read(token)


def test_the_secret_is_made_once_and_nobody_elses(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "secret"
    secret = load_secret(Config(), path)
    assert load_secret(Config(), path) == secret
    assert len(secret) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_secret(Config(secret="x" * 40), path) == b"x" * 40  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 32"):
        Tokens(b"short")


def test_loopback() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1")))
    assert not any(map(is_loopback, ("192.168.0.1", "::ffff:10.0.0.1", "localhost", "", None)))


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        (None, "anything", True),
        ("https://localhost:8443", "localhost:8443", True),
        ("https://LOCALHOST:8443", "localhost:8443", True),
        ("https://game.example", "localhost:8443", True),
        ("https://evil.example", "localhost:8443", False),
        ("https://evil.example:8443", "evil.example:8443", False),
        ("https://localhost:1", "localhost:8443", False),
        ("null", "localhost:8443", False),
        ("http://[", "localhost:8443", False),
        ("", "", False),
    ],
)
def test_origins(origin: str | None, host: str, allowed: bool) -> None:
    assert is_allowed_origin(origin, host, frozenset({"localhost"}), ("https://game.example",)) is allowed
