"""Defines the table of API keys, which are the tokens of the dashboard, too."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from tidemill.state.tables.declarative import Table

__all__ = ["ApiKey"]


class ApiKey(Table):
    """A key of the prediction API and the dashboard: its purpose, and the digests of its secrets."""

    __tablename__ = "api_keys"
    __table_args__ = (
        Index(
            "uq_api_keys_one_name_in_use",
            "name",
            unique=True,
            sqlite_where=text("revoked_at IS NULL"),
            postgresql_where=text("revoked_at IS NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    """Public id, which appears in logs; the table does not contain the secret."""
    name: Mapped[str]
    scopes: Mapped[list[str]]
    """What it may do at the prediction API."""
    roles: Mapped[dict[str, Any] | None]
    """Project (or ``*``) → its roles there; none for a key of the prediction API alone."""
    owner: Mapped[str | None] = mapped_column(ForeignKey("users.id"), index=True)
    """Id of the user that it belongs to: it may no more than they, and ends with them."""
    digest: Mapped[str]
    """SHA-256 of the secret, in hexadecimal."""
    previous_digest: Mapped[str | None]
    """Digest of the secret before the last rotation."""
    previous_until: Mapped[datetime | None]
    """Wall-clock time until which that secret is valid."""
    rate: Mapped[float | None]
    """Requests a second, over all replicas."""
    created_at: Mapped[datetime]
    """Wall-clock time, as are all moments here."""
    created_by: Mapped[str]
    expires_at: Mapped[datetime | None]
    rotated_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    """Accurate to ten minutes, as replicas report it only now and then."""
