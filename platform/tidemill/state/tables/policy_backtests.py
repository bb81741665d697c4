"""Defines the table of backtests: what policies would have been worth in the past."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Index
from sqlalchemy.orm import Mapped, mapped_column

from tidemill.state.tables.declarative import Table

__all__ = ["PolicyBacktest"]


class PolicyBacktest(Table):
    """A backtest of a project's policies; only the latest few of a model are kept."""

    __tablename__ = "policy_backtests"
    __table_args__ = (Index("ix_policy_backtests_model_made_at", "model", "made_at"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str]
    actor: Mapped[str]
    """Who asked for it."""
    results: Mapped[dict[str, Any]] = mapped_column(JSON)
    """As `tidemill.retraining.backtest.backtest.Backtest.as_dict` gives them, with moments in ISO 8601."""
    made_at: Mapped[datetime]
    """When it ended, by the clock of the machine."""
