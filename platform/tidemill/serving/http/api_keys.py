"""Create, list, rotate and revoke API keys; only digests are stored, which cannot be turned into keys.

A key is ``tmk_<id>_<secret>``: the id is looked up and stands in logs, the secret is 256 random bits of which
only the SHA-256 digest is kept. It is shown once, when it is made.
"""

import hashlib
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from tidemill.errors import UsageError
from tidemill.serving.http.admission import SCOPES, Key
from tidemill.settings import Secret
from tidemill.state import State
from tidemill.state.key_facts import KeyInfo, key_info
from tidemill.state.tables import ApiKey

__all__ = [
    "NewKey",
    "active_keys",
    "create_key",
    "parse_rate",
    "record_use",
    "revoke_key",
    "rotate_key",
]

_ID_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_ID_LENGTH = 12
_GRAIN = timedelta(minutes=10)
_NAME = r"[A-Za-z0-9][\w.@ -]{0,63}"


@dataclass(frozen=True)
class NewKey:
    """A new key: the only value that holds its secret."""

    info: KeyInfo
    secret: Secret
    """The whole key, as clients send it."""


def create_key(
    state: State,
    *,
    name: str,
    scopes: Sequence[str],
    actor: str,
    now: datetime,
    lifetime: timedelta | None = None,
    rate: float | None = None,
) -> NewKey:
    """Make a key and record it.

    Args:
        state: the records.
        name: what people call it; no two keys in use share one.
        scopes: what it may be used for, of `tidemill.serving.http.admission.SCOPES`.
        actor: who makes it.
        now: wall-clock time.
        lifetime: after which it expires; None for never.
        rate: requests a second, over all replicas; None for no limit.

    Raises:
        UsageError: the name is taken or not valid, or there is no such scope.
    """
    _check_name_and_scopes(name, scopes)
    identity = "".join(secrets.choice(_ID_ALPHABET) for _ in range(_ID_LENGTH))
    secret = secrets.token_urlsafe(32)
    row = ApiKey(
        id=identity,
        name=name,
        scopes=[scope for scope in SCOPES if scope in scopes],
        digest=_digest(secret),
        rate=rate,
        created_at=now,
        created_by=actor,
        expires_at=now + lifetime if lifetime else None,
    )
    try:
        with state.transaction() as session:
            session.add(row)
    except IntegrityError as error:
        raise UsageError(
            f"there is a key named {name!r} in use",
            hint="take another name, or `tidemill keys rotate` or `tidemill keys revoke` that one",
        ) from error
    return NewKey(key_info(row, now), _whole(identity, secret))


def _check_name_and_scopes(name: str, scopes: Sequence[str]) -> None:
    if re.fullmatch(_NAME, name) is None:
        raise UsageError(
            f"{name!r} cannot be the name of a key",
            hint="take up to 64 letters, digits, spaces and any of . @ _ -",
        )
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown or not scopes:
        raise UsageError(
            f"there is no scope {', '.join(unknown)}" if unknown else "a key needs a scope",
            hint=f"scopes are: {', '.join(SCOPES)}",
        )


def rotate_key(
    state: State, key: str, *, overlap: timedelta, now: datetime, lifetime: timedelta | None = None
) -> NewKey:
    """Give a key a new secret; the old one stays valid for ``overlap``, unless it has expired.

    Args:
        state: the records.
        key: its id or its name.
        overlap: how long both are valid; nothing for not at all.
        now: wall-clock time.
        lifetime: after which the key expires from now on; None: as before.

    Raises:
        UsageError: there is no such key in use, or it has expired and ``lifetime`` is none.
    """
    secret = secrets.token_urlsafe(32)
    with state.transaction() as session:
        row = _find(session, key)
        expired = row.expires_at is not None and row.expires_at <= now
        if expired and lifetime is None:
            raise UsageError(
                f"the key {row.name!r} expired {row.expires_at:%Y-%m-%d %H:%M} UTC, and a new secret "
                "would expire with it",
                hint="give it a new lifetime: --expires 90d",
            )
        # What has expired stays so: the key's new life is for its new secret alone.
        row.previous_digest = None if expired else row.digest
        row.previous_until = None if expired else now + overlap
        row.digest, row.rotated_at = _digest(secret), now
        if lifetime is not None:
            row.expires_at = now + lifetime
    return NewKey(key_info(row, now), _whole(row.id, secret))


def revoke_key(state: State, key: str, *, now: datetime) -> KeyInfo:
    """Revoke a key and all its secrets for good.

    Raises:
        UsageError: there is no such key in use.
    """
    with state.transaction() as session:
        row = _find(session, key)
        row.revoked_at = now
        row.previous_digest = row.previous_until = None
    return key_info(row, now)


def active_keys(state: State, now: datetime) -> list[Key]:
    """Return the keys that are neither revoked nor expired, in the form that requests are checked by."""
    with state.transaction() as session:
        rows = session.scalars(select(ApiKey).where(ApiKey.revoked_at.is_(None))).all()
    return [_active(row) for row in rows if row.expires_at is None or row.expires_at > now]


def record_use(state: State, used: Mapping[str, datetime]) -> None:
    """Record when keys were last used, to ten minutes: enough to find unused ones."""
    with state.transaction() as session:
        for row in session.scalars(select(ApiKey).where(ApiKey.id.in_(used))):
            at = used[row.id]
            coarse = at - timedelta(seconds=at.timestamp() % _GRAIN.total_seconds())
            if row.last_used_at is None or row.last_used_at < coarse:
                row.last_used_at = coarse


def parse_rate(text: str) -> float:
    """Read a rate such as ``100/s`` or ``600/m``: requests a second.

    Raises:
        ValueError: it is not a rate.

    >>> parse_rate("100/s"), parse_rate("600/m")
    (100.0, 10.0)
    """
    match = re.fullmatch(r"([1-9][0-9]{0,6})/([smh])", text)
    if match is None:
        raise ValueError(f"{text!r} is not a rate: write a whole number, a slash and s, m or h, as in 100/s")
    return int(match[1]) / {"s": 1, "m": 60, "h": 3600}[match[2]]


def _find(session: Session, key: str) -> ApiKey:
    in_use = select(ApiKey).where(ApiKey.revoked_at.is_(None))
    row = session.scalar(in_use.where(ApiKey.id == key)) or session.scalar(in_use.where(ApiKey.name == key))
    if row is None:
        there = ", ".join(session.scalars(select(ApiKey.name).where(ApiKey.revoked_at.is_(None))))
        # A whole key may have been pasted: it must not go into a message.
        named = "such" if key.startswith("tmk_") else f"{key!r}"
        raise UsageError(
            f"no key in use has the id or name {named}",
            hint=f"there are: {there}" if there else "there is none yet: `tidemill keys create`",
        )
    return row


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _whole(identity: str, secret: str) -> Secret:
    return Secret(f"tmk_{identity}_{secret}")


def _active(row: ApiKey) -> Key:
    digests: list[tuple[bytes, float | None]] = [(bytes.fromhex(row.digest), None)]
    if row.previous_digest is not None and row.previous_until is not None:
        digests.append((bytes.fromhex(row.previous_digest), row.previous_until.timestamp()))
    return Key(
        id=row.id,
        scopes=frozenset(row.scopes),
        digests=tuple(digests),
        expires=row.expires_at.timestamp() if row.expires_at else None,
        rate=row.rate,
    )
