"""Defines what an API key looks like, what it may be for, and how one that is sent is compared.

A key is 256 random bits, so its SHA-256 digest cannot be turned back. A slow hash (argon2, scrypt) protects
passwords that people choose; here it would only slow every request down. Digests are compared in constant
time.
"""

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Final

__all__ = [
    "ADMIN",
    "ALERTS",
    "FEEDBACK",
    "KEY_PREFIX",
    "METRICS",
    "PREDICT",
    "SCOPES",
    "Key",
    "matches",
    "parse_key",
]

PREDICT, FEEDBACK, METRICS, ALERTS, ADMIN = "predict", "feedback", "metrics", "alerts", "admin"
SCOPES: Final = (PREDICT, FEEDBACK, METRICS, ALERTS, ADMIN)
"""The scopes of keys at the prediction API; ``admin`` allows everything there."""
KEY_PREFIX: Final = b"tmk_"


@dataclass(frozen=True, slots=True)
class Key:
    """The record of a key, without its secret."""

    id: str
    scopes: frozenset[str]
    digests: tuple[tuple[bytes, float | None], ...] = field(repr=False)
    """SHA-256 of each secret that is valid, and until when (seconds since 1970; None: as long as the key)."""
    expires: float | None = None
    """Seconds since 1970."""
    rate: float | None = None
    """Requests a second, over all replicas; None for no limit."""


def parse_key(sent: bytes) -> tuple[str, bytes] | None:
    """Return the id and the secret of ``tmk_<id>_<secret>``; None if it is not a key.

    >>> parse_key(b"tmk_0a1b_c2VjcmV0")
    ('0a1b', b'c2VjcmV0')
    >>> parse_key(b"hello") is None
    True
    """
    if not sent.startswith(KEY_PREFIX) or len(sent) > 128:
        return None
    name, _, secret = sent[len(KEY_PREFIX) :].partition(b"_")
    return (name.decode("latin-1"), secret) if name.isalnum() and secret else None


def matches(key: Key, secret: bytes, now: float) -> bool:
    """Return whether a secret is one of a key's, and valid now (seconds since 1970)."""
    digest = hashlib.sha256(secret).digest()
    valid = False
    for known, until in key.digests:
        valid |= hmac.compare_digest(digest, known) and (until is None or now < until)
    return valid and (key.expires is None or now < key.expires)
