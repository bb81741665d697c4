"""Defines the table of turns of the loop."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from tidemill.state.tables.declarative import Table

__all__ = ["Turn"]


class Turn(Table):
    """One turn of the loop (a training or a retraining) and its progress."""

    __tablename__ = "turns"
    __table_args__ = (
        Index("ix_turns_model_requested_at_id", "model", "requested_at", "id"),
        Index("ix_turns_model_version_requested_at", "model", "version", "requested_at"),
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
    """``running``, then ``registered``, ``promoted``, ``rollout`` (of its version has begun), ``asked`` (a
    person is to decide), ``refused``, ``unchanged``, ``failed`` or ``cancelled``."""
    step: Mapped[str]
    """The current step: ``data``, ``train``, ``register``, ``gate``, ``promote`` or ``end``."""
    data_revision: Mapped[str | None]
    run_id: Mapped[str | None]
    version: Mapped[str | None]
    decision_id: Mapped[str | None] = mapped_column(ForeignKey("gate_decisions.id"))
    error: Mapped[str | None]
    seconds: Mapped[dict[str, Any]]
    """Wall-clock seconds by step."""
    cpu_seconds: Mapped[float | None]
    """CPU time of its steps, with the processes that they started and those of the search."""
    gpu_seconds: Mapped[float | None]
    """Time of GPUs that its search and its last fit held; None in records of earlier versions."""
    recipe: Mapped[dict[str, Any] | None]
    """How its model is sought (`tidemill.retraining.recipes.Recipe`); None: by a full search on all rows."""
    windows: Mapped[list[dict[str, Any]] | None] = mapped_column(JSON)
    """The candidate windows and how each did (`tidemill.training.fitting.window_choice`); None: one only."""
    action: Mapped[str | None]
    """What a version that passes the gate is for: ``record``, ``ask``, ``promote`` or ``rollout``; None in
    records of earlier versions."""
    question: Mapped[dict[str, Any] | None]
    """Of ``ask``: until when it waits, what happens then, and who answered what."""
    cause: Mapped[str | None]
    """Identifies what a policy made it for (`tidemill.retraining.policy_facts.Cause.key`)."""
    inputs: Mapped[dict[str, Any] | None]
    """Digests of what it read: ``sources`` and ``data`` (`tidemill.retraining.turns.turn_inputs`);
    ``labels``: how many it knew."""
    requested_at: Mapped[datetime]
    """Wall-clock time of the record."""
    finished_at: Mapped[datetime | None]
    """Wall-clock time of the end."""
