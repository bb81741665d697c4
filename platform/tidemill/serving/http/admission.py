"""Decide in memory, within microseconds, which requests are admitted, before their bodies are read.

What a key is, `tidemill.accounts.key_format` says. `tidemill.serving.http.keyring` polls the records for
keys; this module reads nothing itself.

Whether keys are needed follows from where the service listens, never from the peer: behind HAProxy every
peer is this machine. A service that needs none (on loopback) answers only to names of this machine, and no
page of another site: else any page in a browser here could send it labels.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from tidemill.accounts.key_format import (
    ADMIN,
    ALERTS,
    FEEDBACK,
    KEY_PREFIX,
    METRICS,
    PREDICT,
    Key,
    matches,
    parse_key,
)
from tidemill.serving.http.request_bodies import too_large
from tidemill.serving.inference.calls import Failure, Headers

__all__ = ["Admission", "Admitted", "Bucket", "scope_of"]

_ANY = "any"
_OPEN = frozenset({"/", "/healthz", "/readyz", "/ping", "/health", "/v2/health/live", "/v2/health/ready"})
_BY_PATH = {
    "/predict": PREDICT,
    "/invocations": PREDICT,
    "/model": PREDICT,
    "/version": PREDICT,
    "/v2": PREDICT,
    "/jobs": PREDICT,
    "/feedback": FEEDBACK,
    "/metrics": METRICS,
    "/alerts": ALERTS,
    "/docs": _ANY,
    "/openapi.json": _ANY,
}
_BYKEY_PREFIX = (
    ("/v2/repository/", ADMIN),
    ("/v2/", PREDICT),
    ("/jobs/", PREDICT),
    ("/predict/", PREDICT),
    ("/docs/", _ANY),
)
_LOCAL = frozenset({b"localhost", b"127.0.0.1", b"[::1]"})


@dataclass(frozen=True, slots=True)
class Admitted:
    """An admitted request."""

    caller: str | None = None
    """Id of the key; None where no key is needed and none was sent."""
    admin: bool = False
    """Whether the key may do everything, also with what belongs to others."""


@dataclass(slots=True)
class Bucket:
    """Tokens that flow in at ``rate`` a second, up to one second's worth and at least one.

    >>> bucket = Bucket(rate=2.0, at=0.0)
    >>> [bucket.take(0.0), bucket.take(0.0), bucket.take(0.0), bucket.take(0.5)]
    [0.0, 0.0, 0.5, 0.0]
    """

    rate: float
    at: float
    tokens: float = field(init=False)

    def __post_init__(self) -> None:
        self.tokens = max(self.rate, 1.0)

    def take(self, now: float) -> float:
        """Take a token: 0 if there was one, else the seconds until there will be."""
        passed = max(now - self.at, 0.0)  # a clock that is set back takes no token away
        self.tokens = min(max(self.rate, 1.0), self.tokens + passed * self.rate)
        self.at = now
        if self.tokens >= 1.0:
            self.tokens -= 1.0
            return 0.0
        return (1.0 - self.tokens) / self.rate


def scope_of(method: str, path: str) -> str | None:
    """Return the scope that a path requires: None where it is open, ``any`` where every key is enough.

    Unlisted routes require ``admin``: a new route is closed until it is listed here.

    >>> scope_of("POST", "/predict"), scope_of("GET", "/healthz"), scope_of("GET", "/surprise")
    ('predict', None, 'admin')
    """
    if path in _OPEN and method in ("GET", "HEAD"):
        return None
    found = _BY_PATH.get(path)
    if found is None:
        found = next((scope for prefix, scope in _BYKEY_PREFIX if path.startswith(prefix)), ADMIN)
    return found


class Admission:
    """Admits or refuses requests. One thread calls `admit`; any thread may replace the keys by `use`."""

    def __init__(
        self,
        required: bool,
        body_bytes: int,
        now: Callable[[], float] = time.time,
        larger: Mapping[str, int] | None = None,
    ) -> None:
        """Set what does not change.

        Args:
            required: whether a request needs a key.
            body_bytes: the largest body; a longer one that says so is refused unread.
            now: wall-clock time, seconds since 1970.
            larger: path → the largest body there, where it may be a larger one.
        """
        self.required = required
        self._body_bytes = body_bytes
        self._larger = dict(larger or {})
        self.used: dict[str, float] = {}
        """Key id → the last time it was admitted, seconds since 1970; cleared once it is recorded."""
        self._now = now
        self._keys: dict[str, Key] | None = None
        self._admitted: dict[str, Admitted] = {}
        self._buckets: dict[str, Bucket] = {}

    def use(self, keys: Iterable[Key], replicas: int = 1) -> None:
        """Replace the keys.

        Args:
            keys: those that are neither revoked nor expired.
            replicas: how many share the traffic: each grants its part of a key's rate.
        """
        known = {key.id: key for key in keys}
        buckets = {}
        for key in known.values():
            if key.rate is not None:
                rate = key.rate / max(replicas, 1)
                old = self._buckets.get(key.id)
                buckets[key.id] = old if old is not None and old.rate == rate else Bucket(rate, self._now())
        self._admitted = {name: Admitted(name, ADMIN in key.scopes) for name, key in known.items()}
        self._buckets = buckets
        self._keys = known

    def admit(self, method: str, path: str, headers: Headers) -> Admitted | Failure:
        """Admit or refuse one request by its head.

        Args:
            method: in capitals.
            path: without the query.
            headers: all of them.
        """
        decided: Admitted | Failure = self._who(method, path, headers)
        if type(decided) is Failure:
            return decided
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length[:20]) > self._body_bytes:
            limit = self.body_limit(path)
            if int(length[:20]) > limit:
                return too_large(limit)
        return decided

    def body_limit(self, path: str) -> int:
        """Return the largest body of a request at ``path``, in bytes."""
        return self._larger.get(path, self._body_bytes)

    def _who(self, method: str, path: str, headers: Headers) -> Admitted | Failure:
        sent = _sent(headers)
        if not self.required:
            refused = _foreign(headers)
            if refused is not None:
                return refused
            if sent is None or not sent.startswith(KEY_PREFIX) or not self._keys:
                return _NOBODY  # credentials of another kind, which the client sends everywhere
        scope = scope_of(method, path)
        if scope is None:
            return _NOBODY
        if sent is None:
            return Failure(
                "unauthenticated", "the request needs an API key: send it as `Authorization: Bearer …`"
            )
        if self._keys is None:
            return Failure("keys_unknown", "the API keys are not loaded yet: try again")
        return self._check(scope, sent, self._keys)

    def _check(self, scope: str, sent: bytes, keys: Mapping[str, Key]) -> Admitted | Failure:
        now = self._now()
        parsed = parse_key(sent)
        key = keys.get(parsed[0]) if parsed else None
        if parsed is None or key is None or not matches(key, parsed[1], now):
            # Unknown ids are refused without hashing: ids are not secret, logs contain them.
            return Failure("unauthenticated", "the API key is unknown, expired or revoked")
        if scope not in key.scopes and ADMIN not in key.scopes and scope != _ANY:
            return Failure("forbidden", f"the API key {key.id} lacks the scope {scope!r}")
        bucket = self._buckets.get(key.id)
        if bucket is not None:
            wait = bucket.take(now)
            if wait:
                return Failure(
                    "over_rate", f"the API key {key.id} is over its rate", retry_after=int(wait) + 1
                )
        self.used[key.id] = now
        return self._admitted.get(key.id) or Admitted(key.id, ADMIN in key.scopes)


_NOBODY = Admitted()


def _sent(headers: Headers) -> bytes | None:
    bearer = headers.get(b"authorization")
    if bearer is None:
        return headers.get(b"x-api-key")
    token = bearer[7:].strip() if bearer[:7].lower() == b"bearer " else b""
    # Other credentials may be meant for a proxy in between.
    return token if token.startswith(KEY_PREFIX) else headers.get(b"x-api-key", token)


def _foreign(headers: Headers) -> Failure | None:
    """Refuse requests from pages of other sites, and to host names of other machines (DNS rebinding)."""
    host = headers.get(b"host", b"localhost")
    name = host.rpartition(b":")[0] if not host.endswith(b"]") and b":" in host else host
    # A name without a dot belongs to no domain that a stranger could point here.
    if name not in _LOCAL and (b"." in name or b":" in name):
        return Failure(
            "misdirected", "without API keys this answers only to names of its own machine, such as localhost"
        )
    origin = headers.get(b"origin")
    if origin is not None and origin.partition(b"://")[2] != host:
        return Failure("forbidden", "without API keys requests from other sites' pages are refused")
    return None
