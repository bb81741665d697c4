"""Raises alerts once, marks them as seen again while the cause lasts, and resolves them when it has ended.

There is at most one unresolved alert for each (monitor, model, version, kind). A run resolves only kinds that
it judged: too few labels do not prove that the quality has recovered. When another version serves, the alerts
about the version before are resolved, because they need no action any more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from tidemill.errors import AlertNotFound, MonitoringError
from tidemill.ids import new_id
from tidemill.monitoring.findings import Finding, Findings
from tidemill.state import State
from tidemill.state.tables import Alert, MonitorRun

__all__ = ["AlertChanges", "UnresolvedAlert", "acknowledge", "decide_changes", "record_alerts"]


@dataclass(frozen=True)
class UnresolvedAlert:
    """The facts of an unresolved alert that the decision needs."""

    id: str
    version: str
    kind: str
    last_seen_at: datetime


class AlertChanges(NamedTuple):
    """The changes of a run to the alerts of its monitor and model."""

    raised: tuple[Finding, ...]
    seen: tuple[tuple[str, Finding], ...]
    """Ids of alerts whose cause was found again."""
    resolved: tuple[str, ...]
    """Ids of alerts that the run resolves."""


def decide_changes(
    unresolved: Sequence[UnresolvedAlert], findings: Findings, version: str, at: datetime
) -> AlertChanges:
    """Decide which alerts a run raises, sees again and resolves.

    Args:
        unresolved: the open and acknowledged alerts of the run's monitor and model.
        findings: the results of the run.
        version: the version that the run evaluated.
        at: event time of the run. An alert that was seen later than this is not changed, because a run about
            the past says nothing about the present.

    >>> from datetime import UTC
    >>> day = datetime(2013, 4, 15, tzinfo=UTC)
    >>> old = UnresolvedAlert("alert_1", "3", "quality", datetime(2013, 4, 8, tzinfo=UTC))
    >>> fallen = Findings((Finding("quality", "AUC fell"),), frozenset({"quality"}), {})
    >>> decide_changes([], fallen, "3", day).raised[0].message
    'AUC fell'
    >>> decide_changes([old], fallen, "3", day).seen[0][0]
    'alert_1'
    >>> decide_changes([old], Findings((), frozenset({"quality"}), {}), "3", day).resolved
    ('alert_1',)
    """
    found = {finding.kind: finding for finding in findings.found}
    known = {alert.kind for alert in unresolved if alert.version == version}
    seen: list[tuple[str, Finding]] = []
    resolved: list[str] = []
    for alert in unresolved:
        if alert.last_seen_at > at:
            continue
        if alert.version != version:
            resolved.append(alert.id)
        elif alert.kind in found:
            seen.append((alert.id, found[alert.kind]))
        elif alert.kind in findings.judged:
            resolved.append(alert.id)
    raised = tuple(finding for finding in found.values() if finding.kind not in known)
    return AlertChanges(raised, tuple(seen), tuple(resolved))


def record_alerts(session: Session, run: MonitorRun, findings: Findings, severity: str) -> AlertChanges:
    """Raise, see again and resolve alerts in the transaction that records ``run``."""
    alerts = {
        alert.id: alert
        for alert in session.scalars(
            select(Alert).where(
                Alert.monitor == run.monitor, Alert.model == run.model, Alert.status != "resolved"
            )
        )
    }
    unresolved = [
        UnresolvedAlert(each.id, each.version, each.kind, each.last_seen_at) for each in alerts.values()
    ]
    changes = decide_changes(unresolved, findings, run.version, run.at)
    for finding in changes.raised:
        session.add(_new(run, finding, severity))
    for alert_id, finding in changes.seen:
        alert = alerts[alert_id]
        alert.message, alert.details = finding.message, dict(finding.details)
        alert.severity, alert.last_seen_at = severity, run.at
    for alert_id in changes.resolved:
        alerts[alert_id].status, alerts[alert_id].resolved_at = "resolved", run.at
    return changes


def _new(run: MonitorRun, finding: Finding, severity: str) -> Alert:
    return Alert(
        id=new_id("alert"),
        monitor=run.monitor,
        model=run.model,
        version=run.version,
        kind=finding.kind,
        severity=severity,
        message=finding.message,
        details=dict(finding.details),
        monitor_run_id=run.id,
        status="open",
        raised_at=run.at,
        last_seen_at=run.at,
    )


def acknowledge(state: State, alert_id: str, by: str, now: datetime) -> Alert:
    """Record who looks after an alert. If several acknowledge it, the first stays on record.

    Args:
        state: the records.
        alert_id: id of the alert.
        by: name of the person.
        now: event time.

    Raises:
        AlertNotFound: there is no such alert.
        MonitoringError: it is already resolved.
    """
    with state.transaction() as session:
        alert = session.get(Alert, alert_id)
        if alert is None:
            raise AlertNotFound(
                f"there is no alert {alert_id!r}", hint="`tidemill alerts list --all` shows their ids"
            )
        if alert.status == "resolved":
            raise MonitoringError(
                f"alert {alert_id} was resolved at {alert.resolved_at:%Y-%m-%d %H:%M} UTC",
                hint="`tidemill alerts list` shows the ones that are not",
            )
        if alert.status == "open":
            alert.status, alert.acknowledged_by, alert.acknowledged_at = "acknowledged", by, now
        return alert
