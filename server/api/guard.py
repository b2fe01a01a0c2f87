"""Who may do this: token, address, origin and rate of one request, HTTP or WebSocket."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from starlette.requests import HTTPConnection

from server.api.contract import Refused
from server.auth import ANY_SCENE, Config, Denied, Grant, Role, Tokens, is_allowed_origin, is_loopback
from server.ratelimit import Config as RateConfig
from server.ratelimit import RateLimiter

MOST_COST = 256
"""Whatever the rate, a batch of questions is not too dear to be asked at all."""
_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")


class TooMany(Refused):
    """Asked too often."""

    status = 429


class Guard:
    """Knows the tokens, our own names and the rates; `clock` is monotonic seconds."""

    def __init__(
        self, tokens: Tokens, auth: Config, rate: RateConfig, names: Iterable[str], clock: Callable[[], float]
    ) -> None:
        self._tokens = tokens
        self._auth = auth
        self._clock = clock
        self._requests = RateLimiter(rate.per_s, rate.burst, rate.max_clients)
        self._frames = RateLimiter(rate.frames_per_s, int(2 * rate.frames_per_s), rate.max_clients)
        most_cost = max(MOST_COST, int(2 * rate.queries_per_s))
        self._queries = RateLimiter(rate.queries_per_s, most_cost, rate.max_clients)
        self.names = frozenset(name.lower() for name in names)

    def grant(self, connection: HTTPConnection, token: str | None) -> Grant:
        """What the caller may do.

        Raises:
            Denied: 401: no token where one is needed, or a bad one.
        """
        if token is not None:
            return self._tokens.read(token)
        if self._is_local(connection):
            return Grant(ANY_SCENE, Role.ADMIN)
        if self._auth.anonymous:
            return Grant(ANY_SCENE, Role.PUBLISH)
        raise Denied(401, "a token is needed; `commonground token` makes one")

    def require(self, connection: HTTPConnection, role: Role, scene: str | None) -> Grant:
        """The caller's grant, if it covers this role in this scene (None = all scenes).

        Raises:
            Denied: 401 or 403.
        """
        grant = self.grant(connection, bearer(connection))
        if not grant.allows(role, scene):
            of = f"scene {scene!r}" if scene is not None else "all scenes"
            raise Denied(403, f"this needs the role {role.name.lower()} in {of}; the token grants something else")
        return grant

    def require_somewhere(self, connection: HTTPConnection, role: Role) -> Grant:
        """The caller's grant, if it covers this role in any scene: for things that have unguessable names.

        Raises:
            Denied: 401 or 403.
        """
        grant = self.grant(connection, bearer(connection))
        if grant.role < role:
            raise Denied(403, f"this needs the role {role.name.lower()}; the token grants {grant.role.name.lower()}")
        return grant

    def allows_origin(self, connection: HTTPConnection) -> bool:
        host = connection.headers.get("host", "")
        return is_allowed_origin(connection.headers.get("origin"), host, self.names, self._auth.origins)

    def is_cross_origin(self, origin: str) -> bool:
        """Whether this is a page of somebody else's that the configuration lets in."""
        return origin in self._auth.origins

    def throttle(self, connection: HTTPConnection, grant: Grant | None = None, *, is_frame: bool = False) -> None:
        """Count a request against its address, or its token once that is known.

        Raises:
            TooMany: come back later.
        """
        wait_s = (self._frames if is_frame else self._requests).take(_payer(connection, grant), self._clock())
        if wait_s > 0:
            raise TooMany("too many requests; slow down", retry_after_s=wait_s)

    def charge(self, connection: HTTPConnection, grant: Grant, cost: int) -> None:
        """Count questions about a map by what they cost.

        Raises:
            TooMany: come back later.
        """
        wait_s = self._queries.take(_payer(connection, grant), self._clock(), cost)
        if wait_s > 0:
            raise TooMany("too many queries; slow down, or ask less in one batch", retry_after_s=wait_s)

    def _is_local(self, connection: HTTPConnection) -> bool:
        """From this machine itself and addressed to it by a name of ours: neither a proxy nor a rebound DNS name."""
        if not is_loopback(connection.client.host if connection.client else None):
            return False
        if any(header in connection.headers for header in _FORWARDED):
            return False
        return host_name(connection.headers.get("host", "")) in self.names


def _payer(connection: HTTPConnection, grant: Grant | None) -> str:
    if grant is not None and grant.token_id:
        return f"token {grant.token_id}"
    return f"host {connection.client.host if connection.client else '-'}"


def bearer(connection: HTTPConnection) -> str | None:
    """The token of the Authorization header.

    Raises:
        Denied: the header holds something else.
    """
    header = connection.headers.get("authorization")
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Denied(401, "Authorization must be `Bearer <token>`")
    return token.strip()


def host_name(host: str) -> str:
    """`[::1]:8443` -> `::1`, `Localhost:8443` -> `localhost`."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()
