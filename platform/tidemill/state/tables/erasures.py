"""Defines the table of erasures of subjects."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from tidemill.state.tables.declarative import Table

__all__ = ["Erasure"]


class Erasure(Table):
    """The erasure of one subject: the request and what was done. It does not contain the subject's value."""

    __tablename__ = "erasures"
    __table_args__ = (Index("ix_erasures_pseudonym", "pseudonym"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    entity: Mapped[str]
    """The column of the key; several are joined with `` + ``, in order."""
    pseudonym: Mapped[str]
    """The pseudonym of its value; several are joined likewise. Never the value itself."""
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
