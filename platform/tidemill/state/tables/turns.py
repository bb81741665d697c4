"""Turns of the loop."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from tidemill.state.tables.declarative import Table

__all__ = ["Turn"]


class Turn(Table):
    """One turn of the loop (a training or a retraining) and how far it has come."""

    __tablename__ = "turns"
    __table_args__ = (
        Index(
            "uq_turns_one_running_a_model",
            "model",
            unique=True,
            sqlite_where=text("status = 'running'"),
            postgresql_where=text("status = 'running'"),
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str]
    trigger: Mapped[str]
    """``manual``, or the kind of alert that set it off."""
    policy: Mapped[str | None]
    reason: Mapped[str]
    alert_id: Mapped[str | None] = mapped_column(ForeignKey("alerts.id"))
    actor: Mapped[str]
    promote: Mapped[bool]
    """Whether the candidate is to go through the gate and be promoted, or only registered."""
    overrides: Mapped[dict[str, Any]]
    """Values of params.yaml that this turn sets, by dotted name."""
    as_of: Mapped[datetime]
    """Nothing known later than this moment may enter the turn."""
    status: Mapped[str]
    """``running``, then ``registered``, ``promoted``, ``refused`` or ``failed``."""
    step: Mapped[str]
    """The step under way: ``data``, ``train``, ``register``, ``gate``, ``promote`` or ``end``."""
    data_revision: Mapped[str | None]
    run_id: Mapped[str | None]
    version: Mapped[str | None]
    decision_id: Mapped[str | None] = mapped_column(ForeignKey("gate_decisions.id"))
    error: Mapped[str | None]
    seconds: Mapped[dict[str, Any]]
    """Wall-clock seconds by step."""
    requested_at: Mapped[datetime]
    """Wall-clock time of the record."""
    finished_at: Mapped[datetime | None]
    """Wall-clock time of the end."""
