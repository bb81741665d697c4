"""Defines the table of how far each webhook is told of changes of the registry."""

from datetime import datetime

from sqlalchemy import BigInteger
from sqlalchemy.orm import Mapped, mapped_column

from tidemill.state.tables.declarative import Table

__all__ = ["WebhookCursor"]


class WebhookCursor(Table):
    """What a webhook has taken. All times are of the clock."""

    __tablename__ = "webhook_cursors"

    model: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger)
    """Number of the last entry of the audit log that it took, or was not to be told of."""
    attempts: Mapped[int]
    """How often the next one was refused."""
    due_at: Mapped[datetime]
    """When it is tried next."""
    taken_at: Mapped[datetime | None]
    problem: Mapped[str | None]
    """Why it did not take the next one."""
