"""Records alerts that something else raises, such as Prometheus by way of Alertmanager's webhook.

There is one unresolved alert for each fingerprint, however often and by whom it is told. Each has a run of
its own on record, with the verdict ``external``, in place of the monitor run that finds an alert of ours.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from tidemill.ids import new_id
from tidemill.state.alert_queries import EXTERNAL
from tidemill.state.store import State
from tidemill.state.tables import Alert, AlertStep, MonitorRun, Promotion

__all__ = ["ALERTMANAGER", "ExternalAlert", "record_external", "take_external"]

ALERTMANAGER = "alertmanager"
"""The source of what Alertmanager's webhook tells."""
_NO_VERSION = "none"


@dataclass(frozen=True)
class ExternalAlert:
    """An alert as somebody else tells it."""

    source: str
    """Who tells it, such as ``alertmanager``."""
    name: str
    fingerprint: str
    """Identifies the alert with its labels."""
    firing: bool
    severity: str
    message: str
    labels: Mapping[str, str]
    starts_at: datetime
    ends_at: datetime | None = None
    url: str | None = None


def record_external(
    state: State, model: str, alerts: Sequence[ExternalAlert], now: datetime
) -> dict[str, int]:
    """Raise, see again, reopen or resolve alerts; return how many of each, and how many changed nothing.

    What is told late, about an alert that is over or an earlier time that it fired, changes nothing. One that
    a person has resolved, and that still fires, is reopened.

    Args:
        state: the records.
        model: whose alerts these become.
        alerts: as they were told.
        now: wall-clock time.
    """
    with state.transaction() as session:
        return take_external(session, model, alerts, now)


def take_external(
    session: Session, model: str, alerts: Sequence[ExternalAlert], now: datetime
) -> dict[str, int]:
    """Do what `record_external` does, in a transaction of which it is a part."""
    done = Counter({"raised": 0, "seen": 0, "reopened": 0, "resolved": 0, "unchanged": 0})
    known = _known(session, model, {_monitor(told) for told in alerts})
    for told in alerts:
        same = known.setdefault((_monitor(told), told.fingerprint), [])
        done[_take(session, model, told, now, same)] += 1
    session.flush()
    return dict(done)


def _known(session: Session, model: str, monitors: Collection[str]) -> dict[tuple[str, str], list[Alert]]:
    """Return what is on record about each fingerprint, the latest first."""
    of = Alert.model == model, Alert.kind == EXTERNAL, Alert.monitor.in_(monitors)
    known: dict[tuple[str, str], list[Alert]] = {}
    for alert in session.scalars(select(Alert).where(*of).order_by(Alert.raised_at.desc(), Alert.id.desc())):
        known.setdefault((alert.monitor, str(alert.details.get("fingerprint"))), []).append(alert)
    return known


def _take(session: Session, model: str, told: ExternalAlert, now: datetime, same: list[Alert]) -> str:
    alert = next((each for each in same if each.status != "resolved"), None)
    if alert is not None and told.starts_at < _start(alert) and not _ends_later(told, _start(alert)):
        return "unchanged"  # told late: it is about an earlier time that the alert fired
    alert = alert or next((each for each in same if _start(each) == told.starts_at), None)
    if alert is None:
        if not told.firing:
            return "unchanged"
        same.insert(0, _raise(session, model, told, now))
        return "raised"
    is_open = alert.status != "resolved"
    if not told.firing:
        return _resolve(session, alert, told, now) if is_open else "unchanged"
    if not is_open and alert.details.get("ended_at") is not None:
        return "unchanged"  # told late: it is over by the same source's word
    alert.message, alert.severity, alert.last_seen_at = told.message, told.severity, now
    if is_open:
        alert.found_in += 1
        alert.details = {**alert.details, "starts_at": told.starts_at.isoformat()}
        return "seen"
    alert.status, alert.resolved_at, alert.fired_at = "firing", None, now
    alert.acknowledged_by = alert.acknowledged_at = None
    alert.occurrence += 1
    _step(session, alert, "reopened", told, now)
    return "reopened"


def _ends_later(told: ExternalAlert, start: datetime) -> bool:
    """Return whether what was told ended after ``start``, so that it is about the time that began then.

    Of several that raise one alert, Alertmanager tells the earliest start, which it may learn later.
    """
    return not told.firing and told.ends_at is not None and told.ends_at > start


def _start(alert: Alert) -> datetime:
    return datetime.fromisoformat(alert.details["starts_at"])


def _raise(session: Session, model: str, told: ExternalAlert, now: datetime) -> Alert:
    version = told.labels.get("version") or _champion(session, model) or _NO_VERSION
    run = MonitorRun(
        id=new_id("mon"),
        monitor=_monitor(told),
        model=model,
        version=version,
        window_start=min(told.starts_at, now),
        window_end=now,
        rows=0,
        labelled=0,
        verdict=EXTERNAL,
        results={},
        report_path=None,
        at=now,
    )
    session.add(run)
    session.flush()
    alert = Alert(
        id=new_id("alert"),
        monitor=run.monitor,
        model=model,
        version=version,
        kind=EXTERNAL,
        severity=told.severity,
        message=told.message,
        details={
            "fingerprint": told.fingerprint,
            "starts_at": told.starts_at.isoformat(),
            "labels": dict(told.labels),
            "url": told.url,
        },
        monitor_run_id=run.id,
        status="firing",
        raised_at=now,
        last_seen_at=now,
        found_in=1,
        occurrence=1,
        fired_at=now,
    )
    session.add(alert)
    session.flush()
    _step(session, alert, "firing", told, now)
    return alert


def _resolve(session: Session, alert: Alert, told: ExternalAlert, now: datetime) -> str:
    ended = told.ends_at or now
    alert.status, alert.resolved_at = "resolved", now
    starts = {"starts_at": min(told.starts_at, _start(alert)).isoformat()}
    alert.details = {**alert.details, **starts, "ended_at": ended.isoformat()}
    _step(session, alert, "resolved", told, now)
    return "resolved"


def _step(session: Session, alert: Alert, step: str, told: ExternalAlert, now: datetime) -> None:
    session.add(AlertStep(id=new_id("step"), alert_id=alert.id, step=step, at=now, person=told.source))


def _monitor(told: ExternalAlert) -> str:
    return f"{told.source}/{told.name}"


def _champion(session: Session, model: str) -> str | None:
    of = Promotion.model == model, Promotion.status == "done"
    found = select(Promotion.to_version).where(*of)
    return session.scalar(found.order_by(Promotion.requested_at.desc(), Promotion.id.desc()).limit(1))
