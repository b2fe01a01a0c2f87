"""Who may do what: signed grants (JWT, HS256), and who needs none.

A grant names one scene (or all), a role and maybe the layers it may see. Tokens travel as `Authorization: Bearer` or in
the WebSocket's first message, never in a URL; in a join link they ride behind `#`, which browsers do not send.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from urllib.parse import urlsplit

import jwt
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from server.files import write_private
from server.protocol import LAYERS, Layer

ALGORITHM = "HS256"
AUDIENCE = "commonground"
ANY_SCENE = "*"
MIN_SECRET_BYTES = 32


class Config(BaseModel):
    """Who is let in."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    anonymous: bool = False
    """Let anybody on the network publish and subscribe without a token. This machine itself always may."""
    origins: tuple[str, ...] = ()
    """More web origins whose pages may connect, as `https://game.example`; our own pages always may."""
    secret: SecretStr | None = None
    """Signs the tokens; at least 32 bytes. Without it one is made and kept in data_dir."""
    join_ttl_s: int = Field(default=12 * 3600, gt=0)
    """Life of the token in the QR code."""


class Role(IntEnum):
    """Each role may do what the lower ones may."""

    SUBSCRIBE = 1
    PUBLISH = 2
    ADMIN = 3


@dataclass(frozen=True, slots=True)
class Grant:
    """What a caller may do."""

    scene: str
    """One scene, or `*`."""
    role: Role
    layers: frozenset[Layer] = frozenset(LAYERS)
    token_id: str = ""
    """`jti`: for limits and logs; empty for anonymous callers."""

    def allows(self, role: Role, scene: str | None = None) -> bool:
        """`scene` None = something that concerns all scenes."""
        return self.role >= role and (self.scene == ANY_SCENE or self.scene == scene)


class Denied(Exception):
    """The token is missing or no good (401), or good for other things (403)."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class Tokens:
    """Issues and reads grants."""

    def __init__(self, secret: bytes) -> None:
        """Raises: ValueError: the secret is shorter than 32 bytes."""
        if len(secret) < MIN_SECRET_BYTES:
            raise ValueError(f"auth.secret has {len(secret)} bytes; it needs at least {MIN_SECRET_BYTES}")
        self._secret = secret

    def derive(self, purpose: str) -> bytes:
        """A key for something else than tokens."""
        return hmac.new(self._secret, f"commonground {purpose}".encode(), hashlib.sha256).digest()

    def issue(self, grant: Grant, ttl_s: int, now_s: int) -> str:
        """A signed token; kept short, since it goes into QR codes."""
        claims: dict[str, object] = {
            "aud": AUDIENCE,
            "exp": now_s + ttl_s,
            "jti": grant.token_id or secrets.token_urlsafe(6),
            "scene": grant.scene,
            "role": grant.role.name.lower(),
        }
        if grant.layers != frozenset(LAYERS):
            claims["layers"] = sorted(grant.layers)
        return jwt.encode(claims, self._secret, ALGORITHM)

    def read(self, token: str) -> Grant:
        """Check a token and say what it grants.

        Raises:
            Denied: 401 with the reason.
        """
        try:
            required = ["exp", "jti", "scene", "role"]
            claims = jwt.decode(token, self._secret, [ALGORITHM], audience=AUDIENCE, options={"require": required})
            role = Role[str(claims["role"]).upper()]
            layers = frozenset(claims.get("layers", LAYERS)) & frozenset(LAYERS)
            return Grant(str(claims["scene"]), role, layers, str(claims["jti"]))
        except jwt.ExpiredSignatureError as error:
            raise Denied(401, "the token has expired; ask for a new one") from error
        except (jwt.InvalidTokenError, KeyError, TypeError, ValueError, UnicodeError) as error:
            raise Denied(
                401, "the token is not one of ours; `commonground token` makes one, with this server's own --data-dir"
            ) from error


def load_secret(config: Config, path: Path) -> bytes:
    """The configured secret, or the one kept at `path`, which is made when it is missing."""
    if config.secret is not None:
        return config.secret.get_secret_value().encode()
    try:
        return path.read_bytes()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(path, secrets.token_bytes(MIN_SECRET_BYTES))
        return path.read_bytes()


def is_loopback(host: str | None) -> bool:
    try:
        address = ipaddress.ip_address(host or "")
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool(address.is_loopback or (mapped is not None and mapped.is_loopback))


def is_allowed_origin(origin: str | None, host: str, names: frozenset[str], configured: tuple[str, ...]) -> bool:
    """Whether a page from `origin` may talk to us, who were addressed as `host` (the Host header).

    Programs send no Origin. Our own pages send our own address, which has to be one of ours by name as well, or a page
    that rebinds its DNS name to this machine would pass.
    """
    if origin is None or origin in configured:
        return True
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.netloc.lower() == host.lower() and (parts.hostname or "").lower() in names
