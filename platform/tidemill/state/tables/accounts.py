"""Defines the tables of accounts: users, their roles, their sessions, and failed logins.

All moments here are wall-clock time.
"""

from datetime import datetime

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from tidemill.state.tables.declarative import Table

__all__ = ["FailedLogins", "LoginSession", "RoleGrant", "User"]


class User(Table):
    """A person who can log in."""

    __tablename__ = "users"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    """As it was given; never changed, as other records name the person by it."""
    name_folded: Mapped[str] = mapped_column(unique=True)
    """What names are compared by (`tidemill.accounts.user_names.folded`)."""
    display_name: Mapped[str]
    password: Mapped[str | None]
    """Argon2's digest; None for who logs in by another way alone."""
    password_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    created_by: Mapped[str]
    disabled_at: Mapped[datetime | None]


class RoleGrant(Table):
    """A role of a user in a project, or in every project (``*``)."""

    __tablename__ = "role_grants"

    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), primary_key=True)
    project: Mapped[str] = mapped_column(primary_key=True)
    role: Mapped[str] = mapped_column(primary_key=True)
    granted_at: Mapped[datetime]
    granted_by: Mapped[str]


class LoginSession(Table):
    """A login of a user that has not ended."""

    __tablename__ = "login_sessions"
    __table_args__ = (Index(None, "user_id", "created_at"),)

    digest: Mapped[str] = mapped_column(primary_key=True)
    """SHA-256 of the cookie's value, in hexadecimal."""
    id: Mapped[str] = mapped_column(unique=True)
    """Names it where it is listed; opens nothing."""
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    csrf: Mapped[str]
    """What forms of this session send back."""
    created_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    """Accurate to five minutes."""
    expires_at: Mapped[datetime]
    """At the latest; earlier if it is not used."""
    address: Mapped[str]
    """Of who logged in."""
    agent: Mapped[str]
    """The browser, as it calls itself."""


class FailedLogins(Table):
    """How often logins failed for a name, an address, or both."""

    __tablename__ = "failed_logins"

    subject: Mapped[str] = mapped_column(primary_key=True)
    """What is counted, as `tidemill.accounts.login_limits` writes it."""
    failures: Mapped[int]
    last_at: Mapped[datetime] = mapped_column(index=True)
    blocked_until: Mapped[datetime | None]
