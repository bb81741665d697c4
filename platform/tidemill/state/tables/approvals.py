"""Defines the table of what waits for a second person."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from tidemill.state.tables.declarative import Table

__all__ = ["Approval"]


class Approval(Table):
    """A promotion or a rollout that one person asked for, and what a second one said. Wall-clock time."""

    __tablename__ = "approvals"
    __table_args__ = (Index(None, "model", "asked_at", "id"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str]
    action: Mapped[str]
    """``promote``, ``rollout`` or ``deploy``."""
    version: Mapped[str]
    reason: Mapped[str]
    terms: Mapped[dict[str, Any] | None]
    """What it is bound to: ``champion``, the version that is replaced, and of a rollout its ``plan`` and
    ``since``, from when on answers count. None in records of earlier versions, which count for nothing."""
    asked_by: Mapped[str]
    person: Mapped[str]
    """Who that is, whatever the name looked like: what the second person is compared with."""
    asked_at: Mapped[datetime]
    status: Mapped[str]
    """``waiting``, ``approved``, ``refused``, ``used`` or ``expired``: nobody answered in time, or used
    the approval."""
    decided_by: Mapped[str | None]
    decided_at: Mapped[datetime | None]
    comment: Mapped[str | None]
