"""Defines the tables of gate decisions, promotions, moves of stages, and versions seen in the registry."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from tidemill.state.tables.declarative import Table

__all__ = ["GateDecision", "Promotion", "SeenVersions", "StageMove"]


class GateDecision(Table):
    """A gate's comparison of two versions, and its decision."""

    __tablename__ = "gate_decisions"
    __table_args__ = (
        Index("ix_gate_decisions_model_decided_at_id", "model", "decided_at", "id"),
        Index("ix_gate_decisions_model_candidate", "model", "candidate"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str]
    candidate: Mapped[str]
    """Version number of the candidate."""
    champion: Mapped[str | None]
    """Version number of the champion it was compared with; None for the first version."""
    mode: Mapped[str]
    """``enforce``, ``dry_run`` or ``off``."""
    passed: Mapped[bool]
    reasons: Mapped[list[str]]
    """One sentence for each check, with its numbers."""
    numbers: Mapped[dict[str, Any]]
    decided_at: Mapped[datetime]
    actor: Mapped[str | None]
    """Who asked the gate, where that was no turn; decisions of earlier releases have none."""

    def __repr__(self) -> str:
        """Say the decision in one line, as a notebook shows it.

        >>> GateDecision(model="sales", candidate="2", mode="enforce", passed=False, reasons=["worse", "old"])
        <gate: version 2 of sales is refused: worse; old>
        """
        found = "passes" if self.passed else "is refused" if self.mode == "enforce" else "would be refused"
        return f"<gate: version {self.candidate} of {self.model} {found}: {'; '.join(self.reasons)}>"


class Promotion(Table):
    """One move of an alias: ``pending`` before the registry is changed, ``done`` after."""

    __tablename__ = "promotions"
    __table_args__ = (
        Index("ix_promotions_model_requested_at", "model", "requested_at"),
        Index("ix_promotions_model_requested_at_id", "model", "requested_at", "id"),
        Index("ix_promotions_model_at_id", "model", "at", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str]
    alias: Mapped[str]
    from_version: Mapped[str | None]
    to_version: Mapped[str]
    kind: Mapped[str]
    """``promotion``, ``rollback``, or ``outside``: the alias was moved in the registry, past Tidemill."""
    status: Mapped[str]
    """``pending``, ``done`` or ``superseded`` (the alias was moved again before this move took effect)."""
    actor: Mapped[str]
    reason: Mapped[str]
    decision_id: Mapped[str | None] = mapped_column(ForeignKey("gate_decisions.id"))
    turn_id: Mapped[str | None] = mapped_column(ForeignKey("turns.id"), unique=True)
    """The turn that promoted: unique, so that no turn can promote twice."""
    at: Mapped[datetime]
    requested_at: Mapped[datetime]
    """Wall-clock time of the record."""

    def __repr__(self) -> str:
        """Say the move in one line, as a notebook shows it.

        >>> Promotion(kind="rollback", status="done", alias="champion", model="sales", from_version="3",
        ...           to_version="1")
        <rollback done: champion of sales from version 3 to version 1>
        """
        before = f"from version {self.from_version} " if self.from_version else ""
        return (
            f"<{self.kind} {self.status}: {self.alias} of {self.model} {before}to version {self.to_version}>"
        )


class StageMove(Table):
    """A version that was to get into a stage before production, or left it, with what its gates said."""

    __tablename__ = "stage_moves"
    __table_args__ = (Index("ix_stage_moves_model_requested_at_id", "model", "requested_at", "id"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str]
    stage: Mapped[str]
    """The alias."""
    from_version: Mapped[str | None]
    """The version that had it before."""
    to_version: Mapped[str | None]
    """The version that gets it; None: no version has it any more."""
    kind: Mapped[str]
    """``promotion``, ``rollback``, or ``outside``: the alias was moved in the registry, past Tidemill."""
    status: Mapped[str]
    """``refused`` by the gates, ``asked`` (a second person must approve it), ``pending`` before the registry
    is changed and ``done`` after, or ``superseded`` (the alias was moved again before)."""
    champion: Mapped[str | None]
    """The version that the gates compared it with."""
    mode: Mapped[str | None]
    """Of the gates: ``enforce``, ``dry_run`` or ``off``; None where they were not asked."""
    passed: Mapped[bool | None]
    reasons: Mapped[list[str]]
    numbers: Mapped[dict[str, Any]]
    digest: Mapped[str | None]
    """Of the version's file, SHA-256: what has passed is this file."""
    actor: Mapped[str]
    reason: Mapped[str]
    at: Mapped[datetime]
    requested_at: Mapped[datetime]
    """Wall-clock time of the record."""

    @property
    def version(self) -> str:
        """The version that it is about: the one that gets there, or that is taken back.

        >>> StageMove(kind="rollback", from_version="3", to_version="2").version
        '3'
        """
        found = self.from_version if self.kind == "rollback" else self.to_version or self.from_version
        return found or "none"


class SeenVersions(Table):
    """Which versions a registry had when it was last looked at: others may register and delete some."""

    __tablename__ = "seen_versions"

    model: Mapped[str] = mapped_column(primary_key=True)
    versions: Mapped[dict[str, Any]]
    """Number → when it was registered, in milliseconds since 1970, as MLflow says."""
