"""Defines the table of monitor runs."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from tidemill.state.tables.declarative import Table

__all__ = ["MonitorRun"]


class MonitorRun(Table):
    """One evaluation of a monitor over one window."""

    __tablename__ = "monitor_runs"
    __table_args__ = (
        Index("ix_monitor_runs_monitor_at", "monitor", "at"),
        Index("ix_monitor_runs_model_at_id", "model", "at", "id"),
        Index("ix_monitor_runs_model_monitor_at_id", "model", "monitor", "at", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    monitor: Mapped[str]
    model: Mapped[str]
    version: Mapped[str]
    window_start: Mapped[datetime]
    window_end: Mapped[datetime]
    rows: Mapped[int]
    labelled: Mapped[int]
    verdict: Mapped[str]
    """``ok``, ``alert``, ``too_few``; or ``failed`` or ``missed``, then ``results`` has ``error``."""
    results: Mapped[dict[str, Any]]
    report_path: Mapped[str | None]
    """The HTML report, relative to the project's folder, if one was made; the JSON is beside it."""
    at: Mapped[datetime]
