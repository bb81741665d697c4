"""What people do about alerts: acknowledge them, resolve them, comment on them. Each is on record."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from tidemill.accounts import audit
from tidemill.alerting.alert_states import record_step
from tidemill.errors import AlertNotFound, MonitoringError, UsageError
from tidemill.monitoring.noise_feedback import NOISE, WITHDRAWN
from tidemill.state import State
from tidemill.state.tables import Alert, AlertStep

__all__ = ["acknowledge", "comment_on", "mark_as_noise", "resolve", "withdraw_noise"]


def acknowledge(state: State, alert_id: str, by: str, now: datetime, comment: str | None = None) -> Alert:
    """Record who looks after an alert. If several acknowledge it, the first stays on record.

    Args:
        state: the records.
        alert_id: id of the alert.
        by: name of the person.
        now: event time.
        comment: what the person wants to say about it.

    Raises:
        AlertNotFound: there is no such alert.
        MonitoringError: it is resolved, or does not fire yet.
    """
    with state.transaction() as session:
        alert = _unresolved(session, alert_id)
        if alert.status == "pending":
            raise MonitoringError(
                f"alert {alert_id} is pending: it does not fire yet",
                hint="comment on it with `tidemill alerts comment`, or wait for the next run of its monitor",
            )
        if alert.status == "firing":
            alert.status, alert.acknowledged_by, alert.acknowledged_at = "acknowledged", by, now
            record_step(session, alert_id, "acknowledged", now, by, comment)
            audit.append(session, _act(alert, "acknowledge", by))
        elif comment:
            record_step(session, alert_id, "comment", now, by, comment)
            audit.append(session, _act(alert, "comment", by))
        return alert


def resolve(state: State, alert_id: str, by: str, now: datetime, comment: str | None = None) -> Alert:
    """Resolve an alert by hand. If the cause is found again soon, its monitor reopens it.

    Raises:
        AlertNotFound: there is no such alert.
        MonitoringError: it is resolved.
    """
    with state.transaction() as session:
        alert = _unresolved(session, alert_id)
        alert.status, alert.resolved_at = "resolved", now
        record_step(session, alert_id, "resolved", now, by, comment)
        audit.append(session, _act(alert, "resolve", by))
        return alert


def mark_as_noise(state: State, alert_id: str, by: str, now: datetime, comment: str | None) -> Alert:
    """Say that an alert was noise, and resolve it unless it is resolved already.

    What is marked makes proposals for thresholds (`tidemill.monitoring.noise_feedback`).

    Args:
        state: the records.
        alert_id: id of the alert.
        by: name of the person.
        now: event time.
        comment: why nothing was to be done about it.

    Raises:
        AlertNotFound: there is no such alert.
        UsageError: there is no comment.
        MonitoringError: it has been marked since it fired last.
    """
    if not (comment or "").strip():
        raise UsageError("noise needs a reason", hint="--comment says why nothing was to be done about it")
    with state.transaction() as session:
        alert = _known(session, alert_id)
        marks = select(AlertStep).where(AlertStep.alert_id == alert_id, AlertStep.step == NOISE)
        since = alert.fired_at or alert.raised_at
        if any(mark.at >= since for mark in session.scalars(marks)):
            raise MonitoringError(
                f"alert {alert_id} is marked as noise already",
                hint="add a comment: `tidemill alerts comment`",
            )
        if alert.status != "resolved":
            alert.status, alert.resolved_at = "resolved", now
        record_step(session, alert_id, NOISE, now, by, comment)
        audit.append(session, _act(alert, "mark-noise", by))
        return alert


def withdraw_noise(state: State, alert_id: str, by: str, now: datetime, comment: str | None) -> Alert:
    """Take back that an alert was noise: its marks count no more, and thresholds that they raised fall.

    Args:
        state: the records.
        alert_id: id of the alert, whose state stays as it is.
        by: name of the person.
        now: event time.
        comment: why something was to be done about it after all.

    Raises:
        AlertNotFound: there is no such alert.
        UsageError: there is no comment.
        MonitoringError: it is not marked as noise.
    """
    if not (comment or "").strip():
        raise UsageError("to take a mark back needs a reason", hint="--comment says why it was no noise")
    with state.transaction() as session:
        alert = _known(session, alert_id)
        of = AlertStep.alert_id == alert_id, AlertStep.step == NOISE
        marks = session.scalars(select(AlertStep).where(*of)).all()
        if not marks:
            raise MonitoringError(
                f"alert {alert_id} is not marked as noise",
                hint="`tidemill alerts show` has the steps of an alert",
            )
        for mark in marks:
            mark.step = WITHDRAWN
        record_step(session, alert_id, "withdrawn", now, by, comment)
        audit.append(session, _act(alert, "withdraw-noise", by))
        return alert


def comment_on(state: State, alert_id: str, by: str, now: datetime, comment: str) -> Alert:
    """Add a comment to an alert, whatever its state.

    Raises:
        AlertNotFound: there is no such alert.
        UsageError: the comment is empty.
    """
    if not comment.strip():
        raise UsageError("the comment is empty", hint="say what others should know about the alert")
    with state.transaction() as session:
        alert = _known(session, alert_id)
        record_step(session, alert_id, "comment", now, by, comment)
        audit.append(session, _act(alert, "comment", by))
        return alert


def _act(alert: Alert, action: str, by: str) -> audit.Act:
    """Return what the audit log says: not the comment, which may name somebody and stays with the alert."""
    details = {"monitor": alert.monitor, "kind": alert.kind, "version": alert.version}
    return audit.Act(by, action, "alert", alert.id, alert.model, details=details)


def _known(session: Session, alert_id: str) -> Alert:
    alert = session.get(Alert, alert_id)
    if alert is None:
        raise AlertNotFound(
            f"there is no alert {alert_id!r}", hint="`tidemill alerts list --all` shows their ids"
        )
    return alert


def _unresolved(session: Session, alert_id: str) -> Alert:
    alert = _known(session, alert_id)
    if alert.status == "resolved":
        raise MonitoringError(
            f"alert {alert_id} was resolved at {alert.resolved_at:%Y-%m-%d %H:%M} UTC",
            hint="`tidemill alerts list` shows the ones that are not",
        )
    return alert
