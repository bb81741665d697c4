"""Defines the table of what policies decided."""

from datetime import datetime

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from tidemill.state.tables.declarative import Table

__all__ = ["PolicyDecision"]


class PolicyDecision(Table):
    """A turn that a policy asked for or held: one record for each cause and reason, not for each round."""

    __tablename__ = "policy_decisions"
    __table_args__ = (
        Index("uq_policy_decisions_episode", "model", "policy", "episode", unique=True),
        Index("ix_policy_decisions_model_last_at", "model", "last_at"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str]
    policy: Mapped[str]
    verdict: Mapped[str]
    """``retrain`` or ``hold``."""
    episode: Mapped[str]
    """Digest of cause, rule and the last turn: the same as long as nothing of that changes."""
    cause: Mapped[str]
    """Identifies what asked for the turn."""
    cause_message: Mapped[str]
    rule: Mapped[str | None]
    """The rule that held the turn: one of `tidemill.retraining.policy_rules.RULES`."""
    reason: Mapped[str]
    alert_id: Mapped[str | None]
    turn_id: Mapped[str | None]
    """The turn that was made, once it has ended."""
    first_at: Mapped[datetime]
    last_at: Mapped[datetime]
    rounds: Mapped[int]
    """How many rounds came to it."""
