"""Create, rotate and revoke API keys; only digests are stored, which cannot be turned into keys.

One kind serves for the prediction API (by scopes), and for the dashboard and MLflow behind it (by roles). A
key is ``tmk_<id>_<secret>``: the id is looked up and stands in logs, the secret is 256 random bits of which
only the SHA-256 digest is kept. It is shown once, when it is made.
"""

import hashlib
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from tidemill.accounts import audit
from tidemill.accounts.key_format import SCOPES, Key
from tidemill.accounts.key_owners import owned_scopes
from tidemill.accounts.roles import ROLES
from tidemill.errors import UsageError
from tidemill.settings import Secret
from tidemill.state import State
from tidemill.state.key_facts import KeyInfo, key_info
from tidemill.state.tables import ApiKey, User

__all__ = [
    "NewKey",
    "active_keys",
    "create_key",
    "key_of",
    "parse_rate",
    "record_use",
    "revoke_key",
    "rotate_key",
]

_ID_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_ID_LENGTH = 12
_GRAIN = timedelta(minutes=10)
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9_.@ -]{0,62}[A-Za-z0-9_.@-])?"


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
    roles: Mapping[str, Sequence[str]] | None = None,
    owner: str | None = None,
) -> NewKey:
    """Make a key and record it.

    Args:
        state: the records.
        name: what people call it; no two keys in use share one.
        scopes: what it may be used for, of `tidemill.accounts.key_format.SCOPES`.
        actor: who makes it.
        now: wall-clock time.
        lifetime: after which it expires; None for never.
        rate: requests a second, over all replicas; None for no limit.
        roles: project (or ``*``) → what it may be there, at the dashboard.
        owner: id of the user that it belongs to: it may no more than they, and ends with them.

    Raises:
        UsageError: the name is taken or not valid, or there is no such scope, role or user.
    """
    given = {project: list(some) for project, some in (roles or {}).items() if some}
    _check_name(name)
    _check_purpose(scopes, given)
    identity = "".join(secrets.choice(_ID_ALPHABET) for _ in range(_ID_LENGTH))
    secret = secrets.token_urlsafe(32)
    row = ApiKey(
        id=identity,
        name=name,
        scopes=[scope for scope in SCOPES if scope in scopes],
        roles=given or None,
        owner=owner,
        digest=_digest(secret),
        rate=rate,
        created_at=now,
        created_by=actor,
        expires_at=now + lifetime if lifetime else None,
    )
    try:
        with state.transaction() as session:
            if owner is not None and session.get(User, owner) is None:
                raise UsageError("the user whose key it would be is gone", hint="add them again first")
            session.add(row)
            audit.append(session, _act(row, "create", actor))
    except IntegrityError as error:
        raise UsageError(
            f"there is a key named {name!r} in use",
            hint="take another name, or `tidemill keys rotate` or `tidemill keys revoke` that one",
        ) from error
    return NewKey(key_info(row, now), _whole(identity, secret))


def _check_name(name: str) -> None:
    if re.fullmatch(_NAME, name) is None:
        raise UsageError(
            f"{name!r} cannot be the name of a key",
            hint="take up to 64 letters of a to z, digits, spaces in between and any of . @ _ -",
        )


def _check_purpose(scopes: Sequence[str], roles: Mapping[str, Sequence[str]]) -> None:
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown:
        raise UsageError(f"there is no scope {', '.join(unknown)}", hint=f"scopes are: {', '.join(SCOPES)}")
    strange = sorted({role for some in roles.values() for role in some} - set(ROLES))
    if strange:
        raise UsageError(f"there is no role {', '.join(strange)}", hint=f"roles are: {', '.join(ROLES)}")
    if not scopes and not roles:
        raise UsageError(
            "a key needs a scope or a role",
            hint=f"scopes are for the prediction API: {', '.join(SCOPES)}; roles for the dashboard: "
            f"{', '.join(ROLES)}",
        )


def rotate_key(
    state: State,
    key: str,
    *,
    actor: str,
    overlap: timedelta,
    now: datetime,
    lifetime: timedelta | None = None,
    owner: str | None = None,
) -> NewKey:
    """Give a key a new secret; the old one stays valid for ``overlap``, unless it has expired.

    Args:
        state: the records.
        key: its id or its name.
        actor: who does it.
        overlap: how long both are valid; nothing for not at all.
        now: wall-clock time.
        lifetime: after which the key expires from now on; None: as before.
        owner: only a key of this user, by id.

    Raises:
        UsageError: there is no such key in use, or it has expired and ``lifetime`` is none.
    """
    secret = secrets.token_urlsafe(32)
    with state.transaction() as session:
        row = _find(session, key, owner)
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
        audit.append(session, _act(row, "rotate", actor))
    return NewKey(key_info(row, now), _whole(row.id, secret))


def revoke_key(state: State, key: str, *, actor: str, now: datetime, owner: str | None = None) -> KeyInfo:
    """Revoke a key and all its secrets for good; ``actor`` says who does.

    Raises:
        UsageError: there is no such key in use.
    """
    with state.transaction() as session:
        row = _find(session, key, owner)
        row.revoked_at = now
        row.previous_digest = row.previous_until = None
        audit.append(session, _act(row, "revoke", actor))
    return key_info(row, now)


def active_keys(state: State, now: datetime, model: str | None = None) -> list[Key]:
    """Return the keys that are neither revoked nor expired, in the form that requests are checked by.

    Args:
        state: the records.
        now: wall-clock time.
        model: at whose prediction API; a key that belongs to a user has there what their roles allow.
    """
    with state.transaction() as session:
        rows = session.scalars(select(ApiKey).where(ApiKey.revoked_at.is_(None))).all()
        scopes = owned_scopes(session, [row for row in rows if row.owner is not None], model, now)
    alive = [row for row in rows if row.expires_at is None or row.expires_at > now]
    keys = [key_of(row, scopes.get(row.id, row.scopes)) for row in alive]
    return [key for key in keys if key.scopes]


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


def _act(row: ApiKey, action: str, actor: str) -> audit.Act:
    """Return what the audit log says of a key: nothing of its secret."""
    until = row.expires_at.isoformat() if row.expires_at else None
    details = {
        "name": row.name,
        "scopes": list(row.scopes),
        "roles": row.roles,
        "owner": row.owner,
        "expires_at": until,
    }
    return audit.Act(actor, action, "token", row.id, details=details)


def _find(session: Session, key: str, owner: str | None = None) -> ApiKey:
    in_use = select(ApiKey).where(ApiKey.revoked_at.is_(None))
    names = select(ApiKey.name).where(ApiKey.revoked_at.is_(None))
    if owner is not None:
        in_use, names = in_use.where(ApiKey.owner == owner), names.where(ApiKey.owner == owner)
    row = session.scalar(in_use.where(ApiKey.id == key)) or session.scalar(in_use.where(ApiKey.name == key))
    if row is None:
        there = ", ".join(session.scalars(names))
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


def key_of(row: Any, scopes: Iterable[str]) -> Key:
    """Return the key of a record, in the form that requests are checked by."""
    digests: list[tuple[bytes, float | None]] = [(bytes.fromhex(row.digest), None)]
    if row.previous_digest is not None and row.previous_until is not None:
        digests.append((bytes.fromhex(row.previous_digest), row.previous_until.timestamp()))
    return Key(
        id=row.id,
        scopes=frozenset(scopes),
        digests=tuple(digests),
        expires=row.expires_at.timestamp() if row.expires_at else None,
        rate=row.rate,
    )
