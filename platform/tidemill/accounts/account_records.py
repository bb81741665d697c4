"""Reads who is who from the records, without a lock: sessions and tokens."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from tidemill.accounts.api_keys import key_of
from tidemill.accounts.identities import Identity
from tidemill.accounts.key_format import matches, parse_key
from tidemill.accounts.login_sessions import GRAIN, IDLE, SessionInfo, digest_of, session_info
from tidemill.accounts.roles import ROLES, Role
from tidemill.accounts.user_facts import among, identity_of, user_by_id
from tidemill.state.key_facts import KeyInfo, key_info
from tidemill.state.record_reader import Records

__all__ = [
    "FoundSession",
    "FoundToken",
    "find_session",
    "find_token",
    "names_of",
    "own_sessions",
    "own_tokens",
]


@dataclass(frozen=True)
class FoundSession:
    """A session that has not ended, and whose it is."""

    identity: Identity
    id: str
    digest: str
    csrf: str
    stale: bool
    """Whether its last use should be recorded anew."""


@dataclass(frozen=True)
class FoundToken:
    """A token that is valid, and what it may."""

    identity: Identity
    id: str
    stale: bool
    """Whether its last use should be recorded anew."""


def find_session(records: Records, secret: str, now: datetime) -> FoundSession | None:
    """Return the session of a cookie; None if it has ended, or its user is kept out.

    Raises:
        TidemillError: the records cannot be read.
    """
    rows = records.select("login_sessions", "digest = ?", digest_of(secret), limit=1)
    row = rows[0] if rows else None
    if row is None or row.expires_at <= now or now - row.seen_at >= IDLE:
        return None
    user = user_by_id(records, row.user_id)
    if user is None or user.status != "active":
        return None
    return FoundSession(identity_of(user), row.id, row.digest, row.csrf, now - row.seen_at >= GRAIN)


def find_token(records: Records, sent: bytes, now: datetime) -> FoundToken | None:
    """Return what a token may; None if it is unknown, expired or revoked, or its owner is kept out.

    Raises:
        TidemillError: the records cannot be read.
    """
    parsed = parse_key(sent)
    rows = records.select("api_keys", "id = ? AND revoked_at IS NULL", parsed[0], limit=1) if parsed else []
    if parsed is None or not rows:
        return None
    [row] = rows
    if not matches(key_of(row, row.scopes), parsed[1], now.timestamp()):
        return None
    owner = None
    if row.owner is not None:
        user = user_by_id(records, row.owner, lapsing=now)
        if user is None or user.status != "active":
            return None
        owner = identity_of(user)
    roles = {project: frozenset(_known(some)) for project, some in (row.roles or {}).items()}
    stale = row.last_used_at is None or now - row.last_used_at >= GRAIN * 2
    return FoundToken(Identity("token", f"token:{row.name}", roles, row.owner, owner), row.id, stale)


def names_of(records: Records, ids: Collection[str]) -> Mapping[str, str]:
    """Return the names of users, by id."""
    return {row.id: row.name for row in records.select("users", among("id", ids), *ids)}


def own_sessions(records: Records, user_id: str, now: datetime) -> Sequence[SessionInfo]:
    """Return a user's sessions that have not ended, the latest first."""
    rows = records.select("login_sessions", "user_id = ?", user_id, order="created_at DESC, id DESC")
    return [session_info(row) for row in rows if row.expires_at > now and now - row.seen_at < IDLE]


def own_tokens(records: Records, user_id: str, now: datetime) -> Sequence[KeyInfo]:
    """Return a user's tokens that are not revoked, the latest first."""
    rows = records.select("api_keys", "owner = ? AND revoked_at IS NULL", user_id, order="created_at DESC")
    return [key_info(row, now) for row in rows]


def _known(roles: Iterable[str]) -> list[Role]:
    given = set(roles)
    return [role for role in ROLES if role in given]
