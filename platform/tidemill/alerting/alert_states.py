"""Raises alerts, marks them as seen again while the cause lasts, resolves them, and reopens them.

There is at most one unresolved alert for each (monitor, model, version, kind). A run resolves only kinds that
it judged: too few labels do not prove that the quality has recovered. When another version serves, the alerts
about the version before are resolved, because they need no action.

An alert is pending until its cause was found in ``persistence`` runs in a row, then it fires. One that comes
back less than ``reopen_within`` after it was resolved is reopened: an alert that flaps stays one alert.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from tidemill.clock import Clock, SystemClock
from tidemill.ids import new_id
from tidemill.monitoring.findings import NO_RUN, Finding, Findings
from tidemill.monitoring.monitor_config import Monitor
from tidemill.state.tables import Alert, AlertStep, MonitorRun

__all__ = ["AlertChanges", "KnownAlert", "decide_changes", "record_alerts", "record_step"]

_WALL = SystemClock()


@dataclass(frozen=True)
class KnownAlert:
    """The facts of an alert of a run's monitor and model that the decision needs."""

    id: str
    version: str
    kind: str
    last_seen_at: datetime
    status: str = "firing"
    found_in: int = 1
    """In how many runs in a row it was found."""
    resolved_at: datetime | None = None


class AlertChanges(NamedTuple):
    """The changes of a run to the alerts of its monitor and model."""

    raised: tuple[Finding, ...]
    seen: tuple[tuple[str, Finding], ...]
    """Ids of alerts whose cause was found again."""
    resolved: tuple[str, ...]
    """Ids of alerts that the run resolves."""
    fired: tuple[str, ...] = ()
    """Ids of those in ``seen`` that were pending and now fire."""
    reopened: tuple[tuple[str, Finding], ...] = ()
    """Ids of alerts that were resolved lately and whose cause is back."""


def decide_changes(
    known: Sequence[KnownAlert],
    findings: Findings,
    version: str,
    at: datetime,
    monitor: Monitor,
    present: datetime | None = None,
) -> AlertChanges:
    """Decide which alerts a run raises, sees again, resolves and reopens.

    Args:
        known: the unresolved alerts of the run's monitor and model, and those that fired and were resolved.
        findings: the results of the run.
        version: the version that the run evaluated.
        at: event time of the run. An alert that was seen later than this is not changed, because a run about
            the past says nothing about the present.
        monitor: has ``persistence`` and ``reopen_within``.
        present: wall-clock time. What was seen later than this was recorded before the clock went back, and
            is changed all the same.

    >>> from datetime import UTC
    >>> weekly = Monitor.model_validate({"name": "weekly", "window": "14d", "every": "7d", "quality": {}})
    >>> day = datetime(2013, 4, 15, tzinfo=UTC)
    >>> old = KnownAlert("alert_1", "3", "quality", datetime(2013, 4, 8, tzinfo=UTC))
    >>> fallen = Findings((Finding("quality", "AUC fell"),), frozenset({"quality"}), {})
    >>> decide_changes([], fallen, "3", day, weekly).raised[0].message
    'AUC fell'
    >>> decide_changes([old], fallen, "3", day, weekly).seen[0][0]
    'alert_1'
    >>> decide_changes([old], Findings((), frozenset({"quality"}), {}), "3", day, weekly).resolved
    ('alert_1',)
    """
    found = {finding.kind: finding for finding in findings.found}
    unresolved = [alert for alert in known if alert.status != "resolved"]
    kinds = {alert.kind for alert in unresolved if alert.version == version}
    seen: list[tuple[str, Finding]] = []
    fired: list[str] = []
    resolved: list[str] = []
    for alert in unresolved:
        ahead = present is not None and alert.last_seen_at > present
        if alert.kind == NO_RUN and alert.kind not in found:
            if alert.version != version or ahead or at > alert.last_seen_at - monitor.every:
                resolved.append(alert.id)  # a late run is about an earlier moment than the alert
            continue
        if alert.last_seen_at > at and not ahead:
            continue
        if alert.version != version:
            resolved.append(alert.id)
        elif alert.kind in found:
            seen.append((alert.id, found[alert.kind]))
            again = alert.found_in + (at > alert.last_seen_at)
            if alert.status == "pending" and again >= monitor.persistence:
                fired.append(alert.id)
        elif alert.kind in findings.judged:
            resolved.append(alert.id)
    back = {alert.kind: alert.id for alert in _lately(known, version, at, monitor)}
    missing = [finding for finding in found.values() if finding.kind not in kinds]
    raised = tuple(each for each in missing if each.kind not in back)
    reopened = tuple((back[each.kind], each) for each in missing if each.kind in back)
    return AlertChanges(raised, tuple(seen), tuple(resolved), tuple(fired), reopened)


def _lately(known: Sequence[KnownAlert], version: str, at: datetime, monitor: Monitor) -> list[KnownAlert]:
    """Return the alerts about a version that were resolved lately, the latest last.

    Lately is also later than ``at``: a person may resolve an alert while the run that finds it again goes on.
    """
    done = [each for each in known if each.version == version and each.resolved_at is not None]
    lately = [
        each
        for each in done
        if each.resolved_at is not None
        and each.last_seen_at <= at < each.resolved_at + monitor.reopens_within
    ]
    return sorted(lately, key=lambda each: (each.last_seen_at, each.id))


def record_alerts(
    session: Session, run: MonitorRun, findings: Findings, monitor: Monitor, clock: Clock = _WALL
) -> AlertChanges:
    """Raise, see again, resolve and reopen alerts in the transaction that records ``run``.

    A run about an earlier moment than one that has judged since raises and reopens none.
    """
    alerts = {
        alert.id: alert
        for alert in session.scalars(
            select(Alert).where(
                Alert.monitor == run.monitor,
                Alert.model == run.model,
                or_(
                    Alert.status != "resolved",
                    (Alert.resolved_at > run.at - monitor.reopens_within) & Alert.fired_at.is_not(None),
                ),
            )
        )
    }
    present = clock.now()
    changes = decide_changes(
        [_known(each) for each in alerts.values()], findings, run.version, run.at, monitor, present
    )
    if _is_about_the_past(session, run, present):
        changes = changes._replace(raised=(), reopened=())
    by = f"monitor:{run.monitor}"
    for finding in changes.raised:
        _raise(session, run, finding, monitor)
    for alert_id, finding in (*changes.seen, *changes.reopened):
        _see(alerts[alert_id], run, finding, monitor)
    for alert_id in changes.fired:
        alerts[alert_id].status, alerts[alert_id].fired_at = "firing", run.at
        record_step(session, alert_id, "firing", run.at, by)
    for alert_id, _ in changes.reopened:
        until = alerts[alert_id].resolved_at or run.at
        at = run.at if until <= run.at else max(present, until)
        _reopen(alerts[alert_id], at)
        record_step(session, alert_id, "reopened", at, by)
    for alert_id in changes.resolved:
        at = max(run.at, min(alerts[alert_id].last_seen_at, present))
        alerts[alert_id].status, alerts[alert_id].resolved_at = "resolved", at
        other = alerts[alert_id].version != run.version
        record_step(session, alert_id, "resolved", at, by, f"version {run.version} serves" if other else None)
    return changes


def _is_about_the_past(session: Session, run: MonitorRun, present: datetime) -> bool:
    """Return whether a later window of its monitor was judged, as where a person looks at an earlier one."""
    of = MonitorRun.model == run.model, MonitorRun.monitor == run.monitor, MonitorRun.at > run.at
    judged = MonitorRun.verdict.in_(("ok", "alert")), MonitorRun.at <= present
    return session.scalar(select(MonitorRun.id).where(*of, *judged).limit(1)) is not None


def record_step(
    session: Session, alert_id: str, step: str, at: datetime, person: str, comment: str | None = None
) -> None:
    """Record a step of an alert in a transaction."""
    session.add(
        AlertStep(id=new_id("step"), alert_id=alert_id, step=step, at=at, person=person, comment=comment)
    )


def _known(alert: Alert) -> KnownAlert:
    return KnownAlert(
        alert.id,
        alert.version,
        alert.kind,
        alert.last_seen_at,
        alert.status,
        alert.found_in,
        alert.resolved_at,
    )


def _raise(session: Session, run: MonitorRun, finding: Finding, monitor: Monitor) -> None:
    fires = monitor.persistence == 1
    alert = Alert(
        id=new_id("alert"),
        monitor=run.monitor,
        model=run.model,
        version=run.version,
        kind=finding.kind,
        severity=monitor.severity,
        message=finding.message,
        details=dict(finding.details),
        monitor_run_id=run.id,
        status="firing" if fires else "pending",
        raised_at=run.at,
        last_seen_at=run.at,
        found_in=1,
        occurrence=1,
        fired_at=run.at if fires else None,
    )
    session.add(alert)
    session.flush()
    record_step(session, alert.id, alert.status, run.at, f"monitor:{run.monitor}")


def _see(alert: Alert, run: MonitorRun, finding: Finding, monitor: Monitor) -> None:
    alert.message, alert.details, alert.severity = finding.message, dict(finding.details), monitor.severity
    alert.found_in += run.at > alert.last_seen_at
    alert.last_seen_at = run.at
    if alert.fired_at is not None and alert.fired_at > run.at:
        alert.fired_at = run.at  # the clock went back, and escalations count from here


def _reopen(alert: Alert, at: datetime) -> None:
    alert.status, alert.resolved_at, alert.fired_at = "firing", None, at
    alert.acknowledged_by, alert.acknowledged_at = None, None
    alert.found_in, alert.occurrence = 1, alert.occurrence + 1
