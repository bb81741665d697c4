"""Defines the tables of alerts: their steps, silences, and what was sent about them or withheld."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from tidemill.state.tables.declarative import Table

__all__ = ["Alert", "AlertStep", "Notification", "Silence"]


class Alert(Table):
    """A finding that a person or a policy should act on."""

    __tablename__ = "alerts"
    __table_args__ = (
        Index("ix_alerts_model_raised_at", "model", "raised_at"),
        Index("ix_alerts_model_status_raised_at", "model", "status", "raised_at"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    monitor: Mapped[str]
    model: Mapped[str]
    version: Mapped[str]
    kind: Mapped[str]
    """One of `tidemill.monitoring.findings.KINDS`, or what an alert from elsewhere is called."""
    severity: Mapped[str]
    message: Mapped[str]
    details: Mapped[dict[str, Any]]
    monitor_run_id: Mapped[str] = mapped_column(ForeignKey("monitor_runs.id"))
    """The run that found it first."""
    status: Mapped[str]
    """``pending``, ``firing``, ``acknowledged`` or ``resolved``."""
    raised_at: Mapped[datetime]
    """When it was found first."""
    last_seen_at: Mapped[datetime]
    """The last monitor run that found it: a firing alert is marked as seen again, not raised again."""
    acknowledged_by: Mapped[str | None]
    acknowledged_at: Mapped[datetime | None]
    resolved_at: Mapped[datetime | None]
    found_in: Mapped[int] = mapped_column(default=1)
    """In how many runs in a row it was found."""
    occurrence: Mapped[int] = mapped_column(default=1)
    """1, and 1 more each time it was reopened."""
    fired_at: Mapped[datetime | None]
    """When it began to fire, or was last reopened; None while it was only ever pending."""


class AlertStep(Table):
    """A change of an alert's state, or a comment on it, and whose it is."""

    __tablename__ = "alert_steps"
    __table_args__ = (
        Index("ix_alert_steps_alert_id", "alert_id"),
        Index("ix_alert_steps_step_at", "step", "at"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    alert_id: Mapped[str] = mapped_column(ForeignKey("alerts.id"))
    step: Mapped[str]
    """``pending``, ``firing``, ``acknowledged``, ``resolved``, ``reopened``, ``comment`` or ``noise`` (it was
    nothing to act on; resolved by that, unless it was before)."""
    at: Mapped[datetime]
    person: Mapped[str]
    """Who did it: a name, or ``monitor:<name>``."""
    comment: Mapped[str | None]


class Silence(Table):
    """Alerts with certain labels about which nothing is sent for a while."""

    __tablename__ = "silences"

    id: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str]
    matchers: Mapped[dict[str, Any]]
    """Label → pattern; all must match."""
    author: Mapped[str]
    reason: Mapped[str]
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]


class Notification(Table):
    """A message about an alert to a receiver: due, sent, given up, or withheld with its reason."""

    __tablename__ = "notifications"
    __table_args__ = (
        Index("ix_notifications_model_at_id", "model", "at", "id"),
        Index("ix_notifications_alert_id", "alert_id"),
        Index("ix_notifications_model_status", "model", "status"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    alert_id: Mapped[str] = mapped_column(ForeignKey("alerts.id"))
    model: Mapped[str]
    occurrence: Mapped[int]
    """Of the alert."""
    receiver: Mapped[str]
    """Its name in ``monitoring/routes.yaml``; empty where no route leads anywhere."""
    step: Mapped[str]
    """``firing``, ``repeat``, ``escalation`` or ``resolved``."""
    group_key: Mapped[str]
    """Messages of one group that are due at once are sent as one."""
    status: Mapped[str]
    """``due``, then ``sent`` or ``failed``; or ``withheld``."""
    reason: Mapped[str | None]
    """Why it was withheld."""
    at: Mapped[datetime]
    attempts: Mapped[int]
    next_at: Mapped[datetime]
    """When it is tried, or tried again; written before each attempt."""
    error: Mapped[str | None]
    """The last error, without addresses."""
    sent_at: Mapped[datetime | None]
