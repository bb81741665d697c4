"""Defines the public facts of an API key."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

__all__ = ["KeyInfo", "key_info"]


@dataclass(frozen=True)
class KeyInfo:
    """The facts of a key that are not secret."""

    id: str
    name: str
    scopes: tuple[str, ...]
    """What it may do at the prediction API."""
    roles: Mapping[str, Sequence[str]]
    """Project (or ``*``) → its roles there, at the dashboard."""
    owner: str | None
    """Id of the user that it belongs to."""
    status: Literal["active", "expired", "revoked"]
    rate: float | None
    """Requests a second; None for no limit."""
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    rotated_at: datetime | None
    overlap_until: datetime | None
    """Wall-clock time until which the secret before the last rotation is valid too."""
    revoked_at: datetime | None
    last_used_at: datetime | None
    """Accurate to ten minutes."""


def key_info(row: Any, now: datetime) -> KeyInfo:
    """Return the public facts of a key's record."""
    expired = row.expires_at is not None and row.expires_at <= now
    overlap = row.previous_until if row.previous_until is not None and row.previous_until > now else None
    return KeyInfo(
        id=row.id,
        name=row.name,
        scopes=tuple(row.scopes),
        roles=row.roles or {},
        owner=row.owner,
        status="revoked" if row.revoked_at else "expired" if expired else "active",
        rate=row.rate,
        created_at=row.created_at,
        created_by=row.created_by,
        expires_at=row.expires_at,
        rotated_at=row.rotated_at,
        overlap_until=overlap,
        revoked_at=row.revoked_at,
        last_used_at=row.last_used_at,
    )
