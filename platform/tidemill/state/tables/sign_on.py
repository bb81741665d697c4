"""Defines the tables of logins by a provider of identities (OpenID Connect)."""

from datetime import datetime

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from tidemill.state.tables.declarative import Table

__all__ = ["LinkedAccount", "SignOnAttempt"]


class LinkedAccount(Table):
    """Who a provider's subject is here. Names and mail addresses are not compared: others can take them."""

    __tablename__ = "linked_accounts"

    issuer: Mapped[str] = mapped_column(primary_key=True)
    subject: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    linked_at: Mapped[datetime]
    """Wall-clock time."""


class SignOnAttempt(Table):
    """A login that a browser has begun and not finished; it can be finished once, by that browser."""

    __tablename__ = "sign_on_attempts"

    state: Mapped[str] = mapped_column(primary_key=True)
    """SHA-256 of the value that comes back, in hexadecimal."""
    browser: Mapped[str]
    """SHA-256 of the browser's cookie."""
    provider: Mapped[str]
    nonce: Mapped[str]
    verifier: Mapped[str]
    """Of PKCE: useless without the provider's code, which comes back to this browser alone."""
    target: Mapped[str]
    """The page that is shown afterwards."""
    expires_at: Mapped[datetime] = mapped_column(index=True)
    """Wall-clock time."""
