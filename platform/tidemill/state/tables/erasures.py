"""Erasures of subjects."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from tidemill.state.tables.declarative import Table

__all__ = ["Erasure"]


class Erasure(Table):
    """The erasure of one subject: that it was asked for, and what was done. It names nobody."""

    __tablename__ = "erasures"
    __table_args__ = (Index("ix_erasures_pseudonym", "pseudonym"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    entity: Mapped[str]
    """The column of the key; several, in order, with `` + `` between them."""
    pseudonym: Mapped[str]
    """The pseudonym of its value; several likewise. Never the value itself."""
    actor: Mapped[str]
    reason: Mapped[str]
    history: Mapped[bool]
    """Whether earlier data versions were to be purged too."""
    status: Mapped[str]
    """``running``, then ``done``, or ``incomplete``: something still holds the subject (see ``steps``)."""
    steps: Mapped[dict[str, Any]]
    """By step: its ``status``, what was ``found`` before anything was changed, and what was ``removed``."""
    error: Mapped[str | None]
    """Why the last attempt stopped."""
    requested_at: Mapped[datetime]
    """Wall-clock time of the record."""
    finished_at: Mapped[datetime | None]
    """Wall-clock time of the end."""
