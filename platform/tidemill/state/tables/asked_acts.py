"""Defines the table of acts that people asked for by a form, each done in a process of its own."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column

from tidemill.state.tables.declarative import Table

__all__ = ["AskedAct"]


class AskedAct(Table):
    """An act that takes long, and what came of it. Wall-clock time."""

    __tablename__ = "asked_acts"
    __table_args__ = (
        Index("ix_asked_acts_model_asked_at", "model", "asked_at"),
        Index(
            "uq_asked_acts_one_running",
            "model",
            "act",
            "subject",
            unique=True,
            sqlite_where=text("status = 'running'"),
            postgresql_where=text("status = 'running'"),
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str]
    act: Mapped[str]
    """One of `tidemill.retraining.by_hand.acts_by_hand.ACTS`."""
    subject: Mapped[str]
    """What it is done to, as JSON: the same thing is done once at a time, whoever asks."""
    reason: Mapped[str]
    actor: Mapped[str]
    status: Mapped[str]
    """``running``, ``done``, ``refused``, ``failed`` (its process ended without an answer) or ``lost``: its
    process is gone, and nobody heard how it ended."""
    result: Mapped[dict[str, Any] | None]
    """What was done; of what was refused or failed ``kind``, ``message``, ``hint`` and ``decision``."""
    asked_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
