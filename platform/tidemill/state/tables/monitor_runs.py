"""Defines the tables of monitor runs and of the alerts they raise."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from tidemill.state.tables.declarative import Table

__all__ = ["Alert", "MonitorRun"]


class MonitorRun(Table):
    """One evaluation of a monitor over one window."""

    __tablename__ = "monitor_runs"
    __table_args__ = (Index("ix_monitor_runs_monitor_at", "monitor", "at"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    monitor: Mapped[str]
    model: Mapped[str]
    version: Mapped[str]
    window_start: Mapped[datetime]
    window_end: Mapped[datetime]
    rows: Mapped[int]
    labelled: Mapped[int]
    verdict: Mapped[str]
    """``ok``, ``alert``, ``too_few`` or ``failed``; then ``results`` has ``error`` and ``hint``."""
    results: Mapped[dict[str, Any]]
    report_path: Mapped[str | None]
    """The HTML report, relative to the project's folder, if one was made; the JSON is beside it."""
    at: Mapped[datetime]


class Alert(Table):
    """A finding that a person or a policy should act on."""

    __tablename__ = "alerts"
    __table_args__ = (Index("ix_alerts_model_raised_at", "model", "raised_at"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    monitor: Mapped[str]
    model: Mapped[str]
    version: Mapped[str]
    kind: Mapped[str]
    """One of `tidemill.monitoring.findings.KINDS`."""
    severity: Mapped[str]
    message: Mapped[str]
    details: Mapped[dict[str, Any]]
    monitor_run_id: Mapped[str] = mapped_column(ForeignKey("monitor_runs.id"))
    status: Mapped[str]
    """``open``, ``acknowledged`` or ``resolved``."""
    raised_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
    """The last monitor run that found it: an open alert is marked as seen again, not raised again."""
    acknowledged_by: Mapped[str | None]
    acknowledged_at: Mapped[datetime | None]
    resolved_at: Mapped[datetime | None]
