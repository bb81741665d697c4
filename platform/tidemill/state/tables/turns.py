"""Defines the table of turns of the loop."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from tidemill.state.tables.declarative import Table

__all__ = ["Turn"]


class Turn(Table):
    """One turn of the loop (a training or a retraining) and its progress."""

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
    """``manual``, or the kind of alert that started it."""
    policy: Mapped[str | None]
    reason: Mapped[str]
    alert_id: Mapped[str | None] = mapped_column(ForeignKey("alerts.id"))
    actor: Mapped[str]
    promote: Mapped[bool]
    """Whether to send the candidate through the gate and promote it, or only to register it."""
    overrides: Mapped[dict[str, Any]]
    """Values of params.yaml that this turn sets, by dotted name."""
    as_of: Mapped[datetime]
    """The turn uses only data that was known by this moment."""
    status: Mapped[str]
    """``running``, then ``registered``, ``promoted``, ``refused``, ``unchanged`` or ``failed``."""
    step: Mapped[str]
    """The current step: ``data``, ``train``, ``register``, ``gate``, ``promote`` or ``end``."""
    data_revision: Mapped[str | None]
    run_id: Mapped[str | None]
    version: Mapped[str | None]
    decision_id: Mapped[str | None] = mapped_column(ForeignKey("gate_decisions.id"))
    error: Mapped[str | None]
    seconds: Mapped[dict[str, Any]]
    """Wall-clock seconds by step."""
    cause: Mapped[str | None]
    """Identifies what a policy made it for (`tidemill.retraining.policy_facts.Cause.key`)."""
    inputs: Mapped[dict[str, Any] | None]
    """Digests of what it read: ``sources`` and ``data`` (`tidemill.retraining.turn_inputs`)."""
    requested_at: Mapped[datetime]
    """Wall-clock time of the record."""
    finished_at: Mapped[datetime | None]
    """Wall-clock time of the end."""
